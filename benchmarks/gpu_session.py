"""Everything that wants a GPU, one after the other in a given time, what is finished copied out after each.

    python benchmarks/gpu_session.py OUT --seconds 840 [--scenes DIR --photos DIR [--taken DIR] [--base DIR]]
        [--shots DIR] [--sidd DIR] [--stage NAME[=SHARE] ...] [--with STAGE=OPTIONS ...] [--device cuda] [--work DIR]

speed: all engines side by side, with parity (gpu_speed.py). bench: `nsp bench`. base: the blind-spot network that
calibrations start from, on --shots (a folder of `cli.estimator shots`). teacher: a blind-spot network on --photos.
students: all networks that ship, on --scenes and --photos. sidd: the paper's recipe on --sidd. Stages whose folders are
not given are left out; --stage names those wanted, in their order; --with adds options to the command of one, such as
--with 'students=--workers 8'. With --dry-run only the shares of the time are printed.

Each is a process of its own. The time that is left is shared by the stages that are left; what one does not use is the
others'. One that is over its time is asked to end, then killed; one that fails stops no other. Files of OUT/STAGE are
at most 16 MiB each; what is larger is named in OUT/session.json, and stays in --work if that is given. The exit code is
1 if a stage failed.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nsp_pipeline.cli.shared.training_folder import CACHE

LARGEST = 16 << 20

GRACE, GRACE_SHARE = 20.0, 0.1
"""Seconds, and at most which part of its time, a stage has to write what it has when it is asked to end."""

TOLD = 0.9
"""Part of its time that is told to a stage which keeps time by itself: starting and writing come on top."""

STREAMS = "stdout.txt", "stderr.txt"
REPORT = "session.json"

Command = Callable[[Path, int], Sequence[str]]
"""The command of a stage, given the folder that it may write to and the seconds that it may take."""


@dataclass(frozen=True)
class Stage:
    """Something to be done, and how much of the time it should have beside the others."""

    name: str
    share: float
    command: Command
    more: tuple[str, ...] = ()
    """Options that come after the command's own."""


def all_stages(asked: argparse.Namespace) -> list[Stage]:
    """The stages for which there is what they need."""
    here = Path(__file__).parent
    nsp, together = ("-m", "nsp_pipeline"), ("-m", "nsp_pipeline.cli.together", "all")
    device = "--device", asked.device

    def given(*names: str) -> list[str]:
        return [word for name in names if (value := getattr(asked, name)) for word in (f"--{name}", str(value))]

    def calibrate(photos: Path, *options: str) -> Command:
        asked_for = *nsp, "calibrate", str(photos), *options, *device
        return lambda work, seconds: (*asked_for, "--max-time", f"{seconds}s", "--out", str(work / "made.nsp"))

    def base(work: Path, seconds: int) -> Sequence[str]:
        # Its log and checkpoint come to lie beside the shots, whose folder may belong to somebody else.
        for entry in asked.shots.iterdir():
            (work / entry.name).symlink_to(entry.resolve())
        made = str(work), str(work / "dbsn.nsp")
        return "-m", "nsp_pipeline.cli.estimator", "base", *made, *device, "--max-time", f"{seconds}s"

    def students(work: Path, seconds: int) -> Sequence[str]:
        options = *given("photos", "taken", "base"), "--seconds", str(seconds)
        return *together, str(asked.scenes), str(work), *options, *device

    number = asked.device.partition(":")[2] or "0"
    stages = [
        Stage("speed", 2, lambda work, seconds: (str(here / "gpu_speed.py"), "--gpu", number)),
        Stage("bench", 2, lambda work, seconds: (*nsp, "bench", *device, "--json")),
    ]
    if asked.shots:
        stages.append(Stage("base", 3, base))
    if asked.photos:
        stages.append(Stage("teacher", 2, calibrate(asked.photos, "--stop-at", "teacher")))
    if asked.scenes and asked.photos:
        stages.append(Stage("students", 6, students))
    if asked.sidd:
        stages.append(Stage("sidd", 3, calibrate(asked.sidd, "--recipe", "paper-sidd-dbsn")))
    return stages


def chosen(stages: Sequence[Stage], wanted: Sequence[str] | None) -> list[Stage]:
    """Those that are named, as "NAME" or "NAME=SHARE", in this order; all where none is."""
    if not wanted:
        return list(stages)
    found = []
    for word in wanted:
        name, _, share = word.partition("=")
        stage = _named(name, stages, "--stage")
        found.append(replace(stage, share=float(share or stage.share)))
    return found


def with_more(stages: Sequence[Stage], more: Sequence[str]) -> list[Stage]:
    """The same, with options added to the commands of some, as "NAME=OPTIONS" says; they win."""
    added: dict[str, list[str]] = {stage.name: [] for stage in stages}
    for word in more:
        name, _, options = word.partition("=")
        added[_named(name, stages, "--with").name] += shlex.split(options)
    return [replace(stage, more=tuple(added[stage.name])) for stage in stages]


def _named(name: str, stages: Sequence[Stage], option: str) -> Stage:
    for stage in stages:
        if stage.name == name:
            return stage
    names = ", ".join(stage.name for stage in stages)
    raise SystemExit(f"{option} {name}: there are {names}, with the folders that are given")


def session(stages: Sequence[Stage], seconds: float, work: Path, out: Path) -> list[dict[str, Any]]:
    """Run stage after stage, and return what is said of each, as it stands in the report after each."""
    begun, told = time.monotonic(), []
    for place, stage in enumerate(stages):
        left = seconds - (time.monotonic() - begun)
        mine = left * stage.share / sum(later.share for later in stages[place:])
        try:
            said = run_stage(stage, mine, work / stage.name)
        finally:
            files = copied(work / stage.name, out / stage.name)
        told.append({"stage": stage.name, **said, **files})
        _write(out / REPORT, json.dumps(told, indent=1).encode())
        print(json.dumps(told[-1]), flush=True)
    return told


def run_stage(stage: Stage, seconds: float, work: Path) -> dict[str, Any]:
    """Run a stage to its end, or as long as it may; "ended" says how: done, failed, or time up."""
    work.mkdir(parents=True)
    began = time.monotonic()
    said: dict[str, Any] = {"seconds given": round(seconds)}
    grace = min(GRACE, GRACE_SHARE * seconds)
    try:
        command = [sys.executable, *stage.command(work, max(1, int(TOLD * seconds))), *stage.more]
        said["command"] = command
        with (work / STREAMS[0]).open("wb") as stdout, (work / STREAMS[1]).open("wb") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)
            try:
                said |= _awaited(process, seconds, grace)
            finally:
                _kill_group(process)
    except OSError as error:
        said |= {"ended": "failed", "reason": str(error)}
    return {**said, "seconds": round(time.monotonic() - began, 1)}


def _awaited(process: subprocess.Popen[bytes], seconds: float, grace: float) -> dict[str, Any]:
    """How a process ended, asked to so long before its time is up."""
    try:
        code = process.wait(max(0.0, seconds - grace))
        return {"ended": "failed" if code else "done", "exit code": code}
    except subprocess.TimeoutExpired:
        process.terminate()  # a calibration then writes what it has
    try:
        return {"ended": "time up", "exit code": process.wait(grace)}
    except subprocess.TimeoutExpired:
        return {"ended": "time up", "exit code": None}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process that leads a group, and all that it has started."""
    with suppress(ProcessLookupError):  # all have ended by themselves
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def copied(work: Path, out: Path) -> dict[str, Any]:
    """Copy a stage's files that are small enough; "files" says which, "left out" which are not, and their MiB.

    Photos that a calibration caches are none of its results.
    """
    files, left = [], {}
    for path in sorted(work.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.parent.name.startswith(CACHE):
            continue
        name = path.relative_to(work).as_posix()
        if path.stat().st_size > LARGEST:
            left[name] = round(path.stat().st_size / 2**20, 1)
            continue
        _write(out / name, path.read_bytes())
        files.append(name)
    return {"files": files, "left out": left}


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all: a session may be cut off any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def main() -> None:
    """Do it, or say what would be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for all stages together")
    for folder in ("scenes", "photos", "taken", "base", "shots", "sidd"):
        parser.add_argument(f"--{folder}", type=Path)
    parser.add_argument("--stage", action="append", metavar="NAME[=SHARE]", help="may be repeated")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--with", dest="more", action="append", default=[], metavar="STAGE=OPTIONS")
    parser.add_argument("--work", type=Path, help="folder for all that stages write; must not hold any yet")
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args()
    # Stages lead groups of their own, and would outlive what ends without a word.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    stages = with_more(chosen(all_stages(asked), asked.stage), asked.more)
    if asked.dry_run:
        whole = sum(stage.share for stage in stages)
        for stage in stages:
            print(f"{stage.name}: {asked.seconds * stage.share / whole:.0f} s")
        return
    work = asked.work or Path(tempfile.mkdtemp(prefix="gpu-session-"))
    told = session(stages, asked.seconds, work, asked.out)
    if not asked.work:
        shutil.rmtree(work, ignore_errors=True)
    raise SystemExit(any(one["ended"] == "failed" for one in told))


if __name__ == "__main__":
    main()
