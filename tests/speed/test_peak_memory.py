"""What the driver is asked, and what it may answer."""

from pathlib import Path

import pytest

from nsp_pipeline.speed.memory import gpu_memory, gpu_name


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on the PATH besides the shell's own: nvidia-smi, which is to be written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_asked_gpu_answers(driver: Path) -> None:
    script(driver, 'case "$*" in *--id=1*memory.used*) echo 512;; *--id=1*name*) echo "Fast 9000";; *) exit 6;; esac')
    assert gpu_memory(1) == 512 << 20
    assert gpu_name(1) == "Fast 9000"
    assert gpu_name(0) is None


def test_no_driver_and_a_broken_one_are_no_gpu(driver: Path) -> None:
    assert gpu_memory() is None
    script(driver, 'echo "Failed to initialize NVML"; exit 9')
    assert gpu_memory() is None
