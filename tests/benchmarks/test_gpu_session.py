"""A session on a GPU does every stage in its time, whatever becomes of the others, and brings home what is finished."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import gpu_session
import pytest
from gpu_session import REPORT, Stage, chosen, session, with_more

ENDS = "import pathlib, sys; pathlib.Path(sys.argv[1], 'weights').write_bytes(b'x' * 10)"
FAILS = "import sys; print('no such GPU', file=sys.stderr); sys.exit(3)"
STAYS = """
import pathlib, signal, subprocess, sys, time
def asked(*_):
    pathlib.Path(sys.argv[1], "so-far").write_text(sys.argv[2])
signal.signal(signal.SIGTERM, asked)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1], "child").write_text(str(child.pid))
time.sleep(600)
"""


def python(name: str, program: str, share: float = 1.0) -> Stage:
    def command(work: Path, seconds: int) -> Sequence[str]:
        return "-c", program, str(work), str(seconds)

    return Stage(name, share, command)


def test_a_stage_that_fails_stops_no_other(tmp_path: Path) -> None:
    told = session([python("bad", FAILS), python("good", ENDS)], 60, tmp_path / "work", tmp_path / "out")
    assert [(one["stage"], one["ended"], one["exit code"]) for one in told] == [
        ("bad", "failed", 3),
        ("good", "done", 0),
    ]
    assert (tmp_path / "out/bad/stderr.txt").read_text() == "no such GPU\n"
    assert (tmp_path / "out/good/weights").read_bytes() == b"x" * 10
    assert json.loads((tmp_path / "out" / REPORT).read_text()) == told


def test_a_stage_over_its_time_is_asked_to_end_and_then_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_session, "GRACE_SHARE", 0.4)
    begun = time.monotonic()
    told = session([python("long", STAYS), python("next", ENDS)], 16, tmp_path / "work", tmp_path / "out")
    assert time.monotonic() - begun < 16
    assert [one["ended"] for one in told] == ["time up", "done"]
    assert (tmp_path / "out/long/so-far").read_text() == "7"
    assert is_gone(int((tmp_path / "out/long/child").read_text()))
    # What is left when the first has ended is the second's.
    assert told[1]["seconds given"] >= 6


def is_gone(process: int) -> bool:
    """Whether a process has ended, whoever has yet to ask how."""
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_files_that_are_too_large_are_named_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_session, "LARGEST", 9)
    (told,) = session([python("one", ENDS)], 60, tmp_path / "work", tmp_path / "out")
    assert list(told["left out"]) == ["weights"]
    assert told["files"] == ["stderr.txt", "stdout.txt"]
    assert not (tmp_path / "out/one/weights").exists()
    assert (tmp_path / "work/one/weights").exists()


def test_stages_are_those_whose_folders_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["gpu_session.py", str(tmp_path / "out"), "--seconds", "100", "--photos", "p", "--scenes", "s", "--dry-run"]
    monkeypatch.setattr(sys, "argv", asked)
    gpu_session.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["speed", "bench", "teacher", "students"]
    assert lines[-1] == "students: 50 s"
    assert not (tmp_path / "out").exists()


def test_some_stages_can_be_asked_for_in_another_order_and_for_longer() -> None:
    known = [python("speed", ENDS), python("bench", ENDS)]
    assert [(stage.name, stage.share) for stage in chosen(known, ["bench=3", "speed"])] == [("bench", 3), ("speed", 1)]
    with pytest.raises(SystemExit, match="--stage sidd: there are speed, bench, with the folders that are given"):
        chosen(known, ["sidd"])


def test_options_can_be_added_to_a_command(tmp_path: Path) -> None:
    says = python("says", "import sys; print(sys.argv[3:])")
    stages = with_more([says, python("good", ENDS)], ["says=--name 'two words' --fast"])
    (told, _) = session(stages, 60, tmp_path / "work", tmp_path / "out")
    assert told["ended"] == "done"
    assert (tmp_path / "out/says/stdout.txt").read_text() == "['--name', 'two words', '--fast']\n"
    with pytest.raises(SystemExit, match="--with bench: there are says, with the folders that are given"):
        with_more([says], ["bench=--json"])
