"""What a container, the shell or affinity grants: real limits, and trees as Docker, systemd and Kubernetes make."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from run_nsp import finish, start_python

from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.machine.cpus import default_threads, usable_cpus
from nsp_pipeline.machine.memory import available_memory
from nsp_pipeline.profiles.bundle import Profile

GIB = 1 << 30


def tree(root: Path, membership: str, mount: str, files: dict[str, str]) -> Path:
    """A file system with this group, mount and these files of groups; 16 GiB of memory are free."""
    files = {
        "proc/self/cgroup": membership,
        "proc/self/mountinfo": mount,
        "proc/meminfo": f"MemTotal: {20 << 20} kB\nMemAvailable: {16 << 20} kB\n",
        **files,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "33 24 0:29 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 24 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
)


def test_version_2_the_tightest_of_all_groups_around_counts(tmp_path: Path) -> None:
    groups = "sys/fs/cgroup/user.slice"
    root = tree(
        tmp_path,
        "0::/user.slice/run.scope",
        V2,
        {
            f"{groups}/memory.max": str(4 * GIB),
            f"{groups}/memory.current": str(3 * GIB),
            f"{groups}/memory.stat": f"anon 5\ninactive_file {GIB}",
            f"{groups}/cpu.max": "150000 100000",
            f"{groups}/run.scope/memory.max": "max",
            f"{groups}/run.scope/memory.high": str(5 * GIB),
            f"{groups}/run.scope/memory.current": str(GIB),
            f"{groups}/run.scope/cpu.max": "max 100000",
        },
    )
    assert available_memory(root) == 2 * GIB, "files that the system would let go count as free"
    assert usable_cpus(root) == min(2, usable_cpus(tmp_path / "nothing"))


@pytest.mark.parametrize("seen", ["the group alone, as in Docker", "the whole tree"])
def test_version_1_in_a_container_or_outside(tmp_path: Path, seen: str) -> None:
    own = "/docker/abc" if seen == "the whole tree" else ""
    root = tree(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/",
        V1.format(root="/" if own else "/docker/abc"),
        {
            f"sys/fs/cgroup/memory{own}/memory.limit_in_bytes": str(GIB),
            f"sys/fs/cgroup/memory{own}/memory.usage_in_bytes": str(GIB // 2),
            f"sys/fs/cgroup/memory{own}/memory.stat": f"total_inactive_file {GIB // 8}\ntotal_active_file {GIB // 8}",
            f"sys/fs/cgroup/cpu,cpuacct{own}/cpu.cfs_quota_us": "50000",
            f"sys/fs/cgroup/cpu,cpuacct{own}/cpu.cfs_period_us": "100000",
        },
    )
    assert available_memory(root) == GIB - GIB // 4
    assert usable_cpus(root) == 1, "half a processor is one thread"


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    root = tree(tmp_path, "4:memory:/\n3:cpu,cpuacct:/", V1.format(root="/"), files)
    assert available_memory(root) == 16 * GIB
    assert usable_cpus(root) == usable_cpus(tmp_path / "nothing")


def test_a_system_that_says_nothing_limits_nothing(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


def ask(program: str, limit: Callable[[], None]) -> str:
    """What a process prints that lives under a limit."""
    ended = finish(start_python("-c", program, limit=limit))
    assert ended.code == 0, ended.err
    return ended.out.strip()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_decides_how_many_threads_compute() -> None:
    program = "from nsp_pipeline.machine.cpus import *; print(usable_cpus(), default_threads())"
    several = (os.cpu_count() or 1) > 1
    assert (
        ask(program, lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) == f"1 {1 if several else None}"
    )


def test_a_limit_of_the_shell_bounds_memory() -> None:
    """As `ulimit -v` sets it."""
    limit = 2 * GIB
    program = "from nsp_pipeline.machine.memory import *; print(available_memory())"
    told = int(ask(program, lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))))
    assert 0 < told < limit


@pytest.mark.skipif(not Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists(), reason="no control groups of version 1")
def test_the_quota_of_a_real_group_decides_how_many_threads_compute() -> None:
    group = Path(f"/sys/fs/cgroup/cpu/nsp-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")

    def join() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        assert ask("from nsp_pipeline.machine.cpus import *; print(usable_cpus())", join) == "1"
    finally:
        group.rmdir()


def test_engines_know_how_much_memory_there_is_and_how_many_threads(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nsp_pipeline.engines import choose
    from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
    from nsp_pipeline.models.memory import MOST

    asked: list[int | None] = []

    class Watched(OnnxRuntimeEngine):
        def __init__(self, *args: object, threads: int | None = None, **kwargs: object) -> None:
            asked.append(threads)
            super().__init__(*args, threads=threads, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "OnnxRuntimeEngine", Watched)
    monkeypatch.setattr(choose, "available_memory", lambda: GIB)
    monkeypatch.setattr(choose, "default_threads", lambda: 3)
    engine = open_engine(tiny_profile, mode="denoise", engine="onnx", device="cpu")
    assert engine.info.room == GIB // 2 // MOST
    open_engine(tiny_profile, mode="denoise", engine="onnx", device="cpu", threads=7)
    choose.open_reference(tiny_profile, mode="denoise")
    assert asked == [3, 7, 3]


def test_a_whole_machine_is_left_to_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: usable_cpus())
    assert default_threads() is None
