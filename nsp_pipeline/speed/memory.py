"""Memory that this process has used: of the machine, and of the GPU."""

import shutil
import subprocess
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """The largest resident set of this process so far, in bytes; None where the system does not say."""
    # Linux: getrusage's figure starts with that of the process which started this one.
    if STATUS.exists():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gpu_memory(index: int = 0) -> int | None:
    """Bytes in use on a GPU, by whatever program; None where there is no NVIDIA driver to ask."""
    answer = _ask_driver("memory.used", index)
    return int(float(answer)) << 20 if answer else None


def gpu_name(index: int = 0) -> str | None:
    """What a GPU is called; None where there is no NVIDIA driver to ask."""
    return _ask_driver("name", index)


def _ask_driver(fact: str, index: int) -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--id={index}", f"--query-gpu={fact}", "--format=csv,noheader,nounits"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or None if ended.returncode == 0 else None
