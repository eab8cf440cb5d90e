"""`nsp status`, of runs at work, interrupted, killed and over: real processes."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_runs import hashes, save_photo, start
from noisy_photos import save_archive
from run_nsp import Finished, finish
from tiny import tiny_fields, tiny_weights

from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.status.next_run import FITS_NOW
from nsp_pipeline.frames.metadata.camera_names import read_aliases
from nsp_pipeline.profiles import choose
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, write_profile


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in range(8):
        save_photo(tmp_path / "in" / f"{number}.png", number, size=(200, 100))
    for name in ("x.png", "y.png"):
        (tmp_path / "in" / name).write_bytes(b"")
    return tmp_path / "in"


def status(out: Path) -> dict[str, Any]:
    ended = finish(start("status", out, "--json"))
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    if run := document["run"]:
        parts = ("done", "skipped", "failed", "remaining", "unchecked")
        assert run["total"] == sum(run[part] for part in parts), run
    return document


def wait_until_done(process: "subprocess.Popen[str]", out: Path, count: int, shard: int = 0) -> None:
    """Wait for a run to have made so many photos."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            now = json.loads((out / ".nsp" / f"activity-{shard}.json").read_text())
            if now["done"] >= count and now["in_work"]:
                return
        time.sleep(0.02)
    raise AssertionError(finish(process))


@contextlib.contextmanager
def standing_still(*processes: "subprocess.Popen[str]") -> Iterator[None]:
    """Stop runs for a while, so that however busy the machine is they are at work when somebody looks."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    yield
    for process in processes:
        process.send_signal(signal.SIGCONT)


def test_a_run_at_work_says_how_far_how_fast_and_how_long(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("denoise", archive, out, NSP_FAKE_SECONDS="1")
    wait_until_done(process, out, 2)
    with standing_still(process):
        document, text = status(out), finish(start("status", out)).out
    process.send_signal(signal.SIGINT)
    finish(process)
    assert document["running"] is True
    run, pace = document["run"], document["pace"]
    assert run["total"] == 10
    assert 2 <= run["done"] < 8
    assert 0 < pace["photos_per_hour"] < 3600
    assert pace["megapixels_per_hour"] == pytest.approx(0.02 * pace["photos_per_hour"], rel=0.01)
    assert pace["seconds_left"] == pytest.approx(run["remaining"] / pace["photos_per_hour"] * 3600, rel=0.01)
    assert {Path(name).parent for name in pace["in_work"]} == {archive}
    assert "a run is at work there now" in text
    assert "photos/h" in text
    assert " left" in text


def test_shards_at_work_are_added_up(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shards = [start("denoise", archive, out, "--shard", f"{n}/2", NSP_FAKE_SECONDS="2") for n in (1, 2)]
    for number, shard in enumerate(shards, 1):
        wait_until_done(shard, out, 1, number)
    with standing_still(*shards):
        document = status(out)
        notes = [json.loads((out / ".nsp" / f"activity-{number}.json").read_text()) for number in (1, 2)]
    for shard in shards:
        shard.send_signal(signal.SIGINT)
    assert [finish(shard).code for shard in shards] == [130, 130]
    assert document["run"]["total"] == 10
    assert len(document["pace"]["in_work"]) == sum(len(note["in_work"]) for note in notes) >= 2
    assert status(out)["run"]["total"] == 10


def test_after_an_interrupted_run_with_other_settings_the_numbers_agree(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert finish(start("denoise", archive, out)).code == 1
    process = start("denoise", archive, out, "--strength", "0.5", NSP_FAKE_SECONDS="1.5")
    wait_until_done(process, out, 1)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    document, text = status(out), finish(start("status", out)).out
    run = document["run"]
    assert 1 <= run["done"] < 8
    assert document["done"] == 8
    assert document["made_with_other_settings"] == 8 - run["done"]
    assert f"{8 - run['done']} of the done ones with other settings than the last run's" in text
    assert run["remaining"] == 10 - run["done"] - run["failed"]
    assert finish(start("denoise", archive, out, "--strength", "0.5")).code == 1
    assert status(out)["made_with_other_settings"] == 0


def test_what_a_short_run_did_not_look_at_again_is_not_left(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", archive, out))
    finish(start("denoise", archive, out, "--max-duration", "0.0001s"))
    run = status(out)["run"]
    assert (run["done"], run["remaining"], run["unchecked"] + run["skipped"]) == (0, 2 - run["failed"], 8)


def test_a_killed_run_says_how_far_it_came(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("denoise", archive, out, NSP_FAKE_SECONDS="1.5")
    wait_until_done(process, out, 2)
    process.kill()
    finish(process)
    document, text = status(out), finish(start("status", out)).out
    assert document["running"] is False
    assert document["pace"] is None
    assert document["run"]["total"] == 10
    assert 2 <= document["run"]["done"] < 8
    assert "was killed; the same command continues it" in text


def test_failures_are_grouped_by_their_reason(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", archive, out))
    document, text = status(out), finish(start("status", out)).out
    assert document["failures_by_reason"] == {"the file is empty (0 bytes)": 2}
    assert {failure["output"] for failure in document["failures"]} == {"x.png", "y.png"}
    assert f"  2 failed: the file is empty (0 bytes)\n    {archive / 'x.png'}\n    {archive / 'y.png'}\n" in text


def test_outputs_that_are_gone_are_named(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", archive, out))
    (out / "3.png").unlink()
    assert status(out)["gone"] == ["3.png"]
    text = finish(start("status", out)).out
    assert "1 of the done ones are gone; the same command makes them again\n    3.png\n" in text
    assert "1 done, 7 skipped" in finish(start("denoise", archive, out)).err
    assert status(out)["gone"] == []


def test_names_with_odd_bytes_are_found(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xe4.png")
    try:
        save_photo(tmp_path / "in" / "a.png").rename(tmp_path / "in" / odd)
    except OSError:
        pytest.skip("this disk takes no such names")
    out = tmp_path / "out"
    assert finish(start("denoise", tmp_path / "in", out)).code == 0
    assert status(out)["gone"] == []
    (out / odd).unlink()
    assert status(out)["gone"] == ["\\xff\\xe4.png"]


def bind_permissions() -> None:
    """Let permissions bind this process even where it runs as the administrator."""
    drop_bound, read_all, search_all = 24, 1, 2
    for capability in (read_all, search_all):
        ctypes.CDLL(None).prctl(drop_bound, capability, 0, 0, 0)


@pytest.mark.parametrize("closed", [".nsp", ".nsp/manifest.sqlite"])
def test_a_record_that_may_not_be_read_is_named(archive: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "out"
    finish(start("denoise", archive, out))
    (out / closed).chmod(0)
    try:
        ended = finish(start("status", out, limit=bind_permissions))
    finally:
        (out / closed).chmod(0o755)
    assert ended.code == 4, ended
    assert f"{out / '.nsp' / 'manifest.sqlite'}: the manifest cannot be read: Permission denied" in ended.err
    assert "Traceback" not in ended.err


def test_of_a_record_of_an_older_nsp_what_is_known_is_said(tmp_path: Path) -> None:
    with Manifest.open(tmp_path) as manifest:
        manifest.start_run("0.1.0", None, 9, [])
        manifest.published(Row("a.jpg", "/in/a.jpg", Status.DONE))
        manifest.published(Row("b.jpg", "/in/b.jpg", Status.DONE))
        manifest.record_unmade(Row("b.jpg", "/in/b.jpg", Status.FAILED, error="the file is empty"))
        manifest.record_unmade(Row("c.jpg", "/in/c.jpg", Status.LEFT_OUT))
    document = status(tmp_path)
    counts = {key: document[key] for key in ("done", "failed", "left-out", "running")}
    assert counts == {"done": 1, "failed": 1, "left-out": 1, "running": False}
    failure = {"input": "/in/b.jpg", "output": "b.jpg", "error": "the file is empty", "tried_again": True}
    assert document["failures"] == [failure]
    assert (document["run"], document["gone"]) == (None, ["a.jpg"])
    with Manifest.open(tmp_path) as manifest:
        manifest.start_run("0.1.0", None, 9, [])
        manifest.end_run("time up", {"done": 1, "skipped": 0, "failed": 1, "remaining": 7, "unchecked": 0})
    assert "time up\n  9 photos: 1 done, 1 failed, 7 left" in finish(start("status", tmp_path)).out
    assert hashes(tmp_path) == {}


def redo(out: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in status(out)["next_run"]:
        found.setdefault(entry["reason"], []).append(entry["output"])
    return found


def test_what_the_next_run_makes_again_is_named_with_its_reason_and_comes_true(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert finish(start("denoise", archive, out)).code == 1
    assert redo(out) == {}
    assert (
        "the next run does not try again what failed (2); with --retry-failed it does"
        in finish(start("status", out)).out
    )
    (out / "0.png").unlink()
    save_photo(archive / "1.png", 100, size=(200, 100))
    (archive / "2.png").unlink()
    os.utime(archive / "3.png")
    save_photo(archive / "x.png", 101)
    (archive / "a.heic").write_bytes(b"")
    with Manifest.open(out) as manifest:
        error = "not enough memory"
        manifest.record_unmade(Row("z.png", str(archive / "z.png"), Status.FAILED, error=error, why="the only one"))
        manifest.record_unmade(Row("a.heic", str(archive / "a.heic"), Status.FAILED, error="format not supported"))
    save_photo(archive / "z.png", 102)
    expected = {
        "its output is gone": ["0.png"],
        "the photo changed": ["1.png", "x.png"],
        "failed for a reason that may be gone by now": ["z.png"],
    }
    said = redo(out)
    text = finish(start("status", out)).out
    assert said == expected
    assert f"the next run makes 2 again: the photo changed\n    {archive / '1.png'}\n" in text
    again = finish(start("denoise", archive, out, "--json"))
    made = {Path(photo["output"]).name for photo in json.loads(again.out)["photos"] if photo["outcome"] == "done"}
    assert made == {name for names in said.values() for name in names}
    assert redo(out) == {}


def test_photos_made_with_settings_of_before_are_due(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", archive, out))
    finish(start("denoise", archive, out, "--strength", "0.5", "--max-duration", "0.0001s"))
    ((reason, names),) = redo(out).items()
    assert (reason, len(names)) == ("the last run had other settings or another profile", 10)
    assert "leaves" not in finish(start("status", out)).out, "what failed may not fail with other settings"


def test_photos_whose_camera_has_a_profile_since_are_due_and_are_made_with_it(
    nsp: Callable[..., Finished], user_profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, out = tmp_path / "cameras.toml", tmp_path / "out"
    monkeypatch.setattr(choose, "aliases_file", lambda: names)
    archive = save_archive(tmp_path / "photos", 2, iso=800, camera=("Other", "Other Two"))
    files = {**dict.fromkeys(MODEL_FILES.values(), b"words"), WEIGHTS_FILE: tiny_weights(), CARD_FILE: b"# tiny"}
    write_profile(user_profiles / "mine.nsp", tiny_fields(), files)
    made = nsp("denoise", archive, out, "--json", choose_profile=choose.choose_profile)
    assert {photo["profile"] for photo in json.loads(made.out)["photos"]} == {"standard"}
    assert json.loads(nsp("status", out, "--json").out)["next_run"] == []

    names.write_text('[aliases]\n"Other Two" = "Maker One"\n')
    read_aliases.cache_clear()
    assert json.loads(nsp("status", out, "--json").out)["next_run_by_reason"] == {FITS_NOW: 2}
    again = nsp("denoise", archive, out, "--json", choose_profile=choose.choose_profile)
    photos = json.loads(again.out)["photos"]
    assert [(photo["outcome"], photo["profile"]) for photo in photos] == [("done", "tiny")] * 2
    assert json.loads(nsp("status", out, "--json").out)["next_run"] == []

    assert (
        nsp("denoise", archive, tmp_path / "named", "--profile", "standard", find_profile=choose.find_profile).code == 0
    )
    assert json.loads(nsp("status", tmp_path / "named", "--json").out)["next_run"] == [], "as it was asked for"


def test_failed_names_every_failure_and_nothing_else(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(30):
        (archive / f"bad{number}.png").write_bytes(b"")
    finish(start("denoise", archive, out))
    lines = finish(start("status", out, "--failed")).out.splitlines()
    assert len(lines) == 32
    assert f"{archive / 'x.png'}: the file is empty (0 bytes)" in lines
    document = json.loads(finish(start("status", out, "--failed", "--json")).out)
    assert set(document) == {"failures", "failures_by_reason"}
    assert {failure["tried_again"] for failure in document["failures"]} == {False}
