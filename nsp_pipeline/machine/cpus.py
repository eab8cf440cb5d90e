"""How many processors this process may keep busy."""

import math
import os
import platform
import re
from pathlib import Path

from nsp_pipeline.machine.cgroup import SYSTEM, first_number, group_folders

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What libraries that share work between threads read, in this process when they are loaded, and in those it starts."""

TELLING_FEATURES = (
    *("avx2", "fma", "avx_vnni", "avx_ne_convert"),
    *("avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
)
"""Instructions by which networks run several times as fast; virtual machines hide them behind one name."""


def usable_cpus(root: Path = SYSTEM) -> int:
    """Processors that this process may run on (its affinity), or fewer where a container's quota grants fewer.

    A quota of one and a half counts as two. At least 1.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for version, folder in group_folders("cpu", root) if (quota := _quota(version, folder))]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def default_threads() -> int | None:
    """Threads to compute with where nobody says how many; None leaves it to libraries, which know a whole machine best.

    Of themselves, they take no notice of quotas, and not all of them of affinity.
    """
    usable = usable_cpus()
    return usable if usable < (os.cpu_count() or 1) else None


def limit_libraries(threads: int | None, *, over_environment: bool = False) -> None:
    """Let libraries that are loaded from now on, and processes that are started, use so many threads; None: their own.

    Args:
        over_environment: whether it counts for more than what the user's environment says.
    """
    for name in THREAD_VARIABLES if threads else ():
        if over_environment or name not in os.environ:
            os.environ[name] = str(threads)


def _quota(version: int, folder: Path) -> float | None:
    """Processors that a group grants, or a share of one; None for no limit."""
    if version == 2:
        try:
            quota, period = (float(word) for word in (folder / "cpu.max").read_text(encoding="utf-8").split())
        except (OSError, ValueError):  # no such file, or "max"
            return None
    else:
        quota, period = (float(first_number(folder / f"cpu.cfs_{name}_us") or 0) for name in ("quota", "period"))
    return quota / period if quota > 0 and period > 0 else None


def cpu_name() -> str:
    """The processor's name, as Linux knows it; elsewhere what Python does."""
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """What a processor has of TELLING_FEATURES, as Linux calls it; nothing where the system does not say."""
    flags = set(_cpu_fact("flags").split())
    return tuple(name for name in TELLING_FEATURES if name in flags)


def _cpu_fact(name: str) -> str:
    """What Linux says of the first processor; "" elsewhere."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf"^{name}\s*:\s*(.+)$", facts, re.MULTILINE)
    return match[1].strip() if match else ""
