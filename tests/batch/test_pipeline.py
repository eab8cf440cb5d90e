import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
import pytest
from batch_runs import hashes, save_photo
from PIL import Image
from run_nsp import Finished

import nsp_pipeline.batch.photo
import nsp_pipeline.batch.pipeline
from nsp_pipeline.batch import headroom
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import EnginePool
from nsp_pipeline.batch.headroom import Headroom, photo_memory
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.record import Stamp
from nsp_pipeline.batch.photo import Made
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.denoise import trusted
from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.windows import FEW, MOST

Nsp = Callable[..., Finished]


@pytest.fixture
def dozen(tmp_path: Path) -> Path:
    for number in range(12):
        save_photo(tmp_path / "in" / f"{number:02}.png", number)
    return tmp_path / "in"


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_runs_ahead_by_no_more_than_its_workers(
    nsp: Nsp, dozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    read, infer = nsp_pipeline.batch.photo.read_frame, trusted.denoise_frame
    started, inferred, ahead = 0, 0, []

    def counting_read(path: Path, **options: Any) -> Any:
        nonlocal started
        started += 1
        ahead.append(started - inferred)
        return read(path, **options)

    def counting_infer(*args: Any) -> Any:
        nonlocal inferred
        inferred += 1
        time.sleep(0.02)
        return infer(*args)

    monkeypatch.setattr(nsp_pipeline.batch.photo, "read_frame", counting_read)
    monkeypatch.setattr(trusted, "denoise_frame", counting_infer)
    assert nsp("denoise", dozen, tmp_path / "out", "--workers", str(workers)).code == 0
    assert started == 12
    # One more may have begun between the queue and the count.
    assert max(ahead) <= workers + 1


def test_a_small_memory_still_gets_every_photo_done(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    assert nsp("denoise", dozen, tmp_path / "out", "--memory", "16MiB", "--workers", "4").code == 0
    assert len(hashes(tmp_path / "out")) == 12


def test_results_do_not_depend_on_workers(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    nsp("denoise", dozen, tmp_path / "one")
    nsp("denoise", dozen, tmp_path / "four", "--workers", "4", "--memory", "1GiB")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "four")


def test_memory_admits_photos_up_to_its_limit_and_a_large_one_alone() -> None:
    headroom = Headroom(ahead=10, limit=100)
    assert headroom.admit(60, lambda: False)
    assert not headroom.admit(60, lambda: True), "a run that ends lets nobody wait"
    assert headroom.admit(40, lambda: False)
    headroom.release(60)
    headroom.release(40)
    assert headroom.admit(1000, lambda: False)
    waiting = threading.Thread(target=headroom.admit, args=(1, lambda: False))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    headroom.release(1000)
    waiting.join(5)
    assert not waiting.is_alive()


def test_an_engine_is_opened_once_for_each_profile_and_two_stay_open() -> None:
    opened: list[fake_engine.FakeEngine] = []

    def opener(profile: Any) -> fake_engine.FakeEngine:
        opened.append(fake_engine.FakeEngine(profile, "denoise"))
        return opened[-1]

    profiles = [fake_engine.fake_profile(str(number), str(number) * 64) for number in range(3)]
    with EnginePool(opener) as pool:
        first = pool.get(profiles[0])
        pool.get(profiles[1])
        assert pool.get(profiles[0]) is first
        pool.get(profiles[2])
        assert [engine.closed for engine in opened] == [False, True, False]
    assert all(engine.closed for engine in opened)


def test_photos_of_one_profile_are_done_together(nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        save_photo(tmp_path / "in" / f"{number}.jpg", number, model="Other" if number % 2 else "Usual")
    result = nsp("denoise", tmp_path / "in", tmp_path / "out", "--json")
    assert [photo["profile"] for photo in json.loads(result.out)["photos"]] == ["fake"] * 3 + ["other"] * 3
    assert result.err.count("profile other (made for Other)") == 1


@pytest.mark.parametrize(("error", "code"), [(MissingCapabilityError, 3), (ProfileError, 2)])
def test_what_the_engine_refuses_is_refused_before_any_work(
    nsp: Nsp, dozen: Path, tmp_path: Path, error: type[Exception], code: int
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise error("not here")

    result = nsp("denoise", dozen, tmp_path / "out", open_engine=refuse)
    assert (result.code, result.err, (tmp_path / "out").exists()) == (code, "nsp: not here\n", False)


def test_threads_reach_every_engine_and_what_it_starts(
    nsp: Nsp, dozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nsp_pipeline.machine.cpus import THREAD_VARIABLES

    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "5")
    asked = []

    def open_engine(profile: Any, *, mode: str, threads: int | None, **options: Any) -> fake_engine.FakeEngine:
        asked.append(threads)
        return fake_engine.FakeEngine(profile, mode)

    assert nsp("denoise", dozen, tmp_path / "a", "--threads", "2", open_engine=open_engine).code == 0
    assert [os.environ[name] for name in THREAD_VARIABLES] == ["2", "2", "2"]
    assert nsp("denoise", dozen, tmp_path / "b", open_engine=open_engine).code == 0
    assert asked == [2, None]
    assert nsp("denoise", dozen, tmp_path / "c", "--threads", "0").code == 2


def test_photos_in_memory_take_no_more_than_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, asked, granted in ((1000, 800, 500), (1000, 200, 200), (1000, None, 500), (None, 800, 800)):
        monkeypatch.setattr(headroom, "available_memory", lambda free=free: free)
        assert photo_memory(asked) == granted


def test_require_gpu_does_not_run_on_the_cpu(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    result = nsp("denoise", dozen, tmp_path / "out", "--require-gpu")
    assert result.code == 3
    assert "--require-gpu: fake would run on FakeCPUProvider" in result.err
    assert not (tmp_path / "out").exists()


def test_a_bug_outside_the_photos_keeps_its_traceback(
    nsp: Nsp, dozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(nsp_pipeline.batch.photo.PhotoSteps, "fail", broken)
    monkeypatch.setattr(nsp_pipeline.batch.photo.PhotoSteps, "read", broken)
    with pytest.raises(AssertionError, match="ours"):
        nsp("denoise", dozen, tmp_path / "out")


def test_not_enough_memory_for_one_photo_is_said_and_tried_again_next_time(
    nsp: Nsp, dozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = trusted.denoise_frame
    calls = 0

    def hungry(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError
        return infer(*args)

    monkeypatch.setattr(trusted, "denoise_frame", hungry)
    first = nsp("denoise", dozen, tmp_path / "out")
    assert (first.code, "not enough memory for this photo" in first.err) == (1, True)
    assert nsp("denoise", dozen, tmp_path / "out").code == 0


def test_json_is_one_document_and_messages_stay_on_stderr(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    (dozen / "bad.jpg").write_bytes(b"no photo")
    result = nsp("denoise", dozen, tmp_path / "out", "--json", "-v")
    document = json.loads(result.out)
    assert result.code == 1
    assert document["summary"]["done"] == 12
    assert document["summary"]["failed"] == 1
    assert document["summary"]["ended"] == "complete"
    (failed,) = [photo for photo in document["photos"] if photo["outcome"] == "failed"]
    assert failed["name"] == str(dozen / "bad.jpg")
    assert "[13/13]" in result.err
    assert " strength " in result.err


def test_the_log_has_one_line_of_json_for_each_event(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    nsp("denoise", dozen, tmp_path / "out", "--log-json", tmp_path / "log.jsonl")
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["begin", "engine", *["photo"] * 12, "end"]
    assert events[1]["provider"] == "FakeCPUProvider"
    assert events[-1]["done"] == 12


def test_a_log_that_is_a_photo_of_the_input_is_refused(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    before = hashes(dozen)
    result = nsp("denoise", dozen, tmp_path / "out", "--log-json", dozen / "00.png")
    assert (result.code, hashes(dozen)) == (2, before)


def test_a_log_that_cannot_be_written_stops_before_the_work(nsp: Nsp, dozen: Path, tmp_path: Path) -> None:
    result = nsp("denoise", dozen, tmp_path / "out", "--log-json", tmp_path / "no" / "log")
    assert (result.code, (tmp_path / "out").exists()) == (4, False)


@pytest.mark.parametrize("files", [[], ["notes.txt", "profile.icc"]])
def test_a_folder_without_photos_is_wrong_usage(nsp: Nsp, tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in files:
        (tmp_path / "in" / name).write_bytes(b"x")
    result = nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert result.code == 2
    assert f"no photos in {tmp_path / 'in'}" in result.err
    assert ("ignored 2 files that are no photos (.icc, .txt)" in result.err) == bool(files)
    assert not (tmp_path / "out").exists()
    assert json.loads(nsp("denoise", tmp_path / "in", tmp_path / "out", "--json").out)["summary"]["done"] == 0


def test_pictures_of_other_kinds_are_named_and_fail_the_run(nsp: Nsp, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.psd").write_bytes(b"x")
    result = nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert result.code == 1
    assert f"[1/1] {tmp_path / 'in' / 'a.psd'} failed: format not supported (.psd)" in result.err
    assert "format not supported" in nsp("status", tmp_path / "out").out
    assert nsp("denoise", tmp_path / "in", tmp_path / "out", "--exclude", "*.psd").code == 2


def test_names_with_odd_bytes_go_all_the_way(nsp: Nsp, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save_photo(folder / "a.png")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n\x1b[2J [bold].png"))
    try:
        (folder / "a.png").rename(odd)
    except OSError:
        pytest.skip("this disk takes no such names")
    long_name = save_photo(folder / ("n" * 251 + ".png"))
    result = nsp("denoise", folder, tmp_path / "out", "--json", "-v")
    assert result.code == 0, result.err
    assert (tmp_path / "out" / odd.name).exists()
    assert (tmp_path / "out" / long_name.name).exists()
    assert "\\xff\\n\\x1b[2J [bold].png" in result.err
    assert "2 skipped" in nsp("denoise", folder, tmp_path / "out").err


def test_a_name_too_long_for_the_disk_fails_alone(nsp: Nsp, tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / ("n" * 251 + ".png"))
    save_photo(tmp_path / "in" / "short.png")
    result = nsp("denoise", tmp_path / "in", tmp_path / "out", "--suffix", "_clean")
    assert result.code == 1
    assert "1 done, 1 failed" in result.err
    assert "its output cannot be written: File name too long" in result.err


def test_enlarging_doubles_the_sides(nsp: Nsp, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png", size=(31, 20))
    assert nsp("denoise", photo, tmp_path / "large.png", "--mode", "sr-direct").code == 0
    assert Image.open(tmp_path / "large.png").size == (62, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mode", "sr", "--pd", "on"], "--pd works with --mode denoise only"),
        (["--format", "jpeg", "--bit-depth", "16"], "--bit-depth 16 needs --format png or tiff"),
        (["--format", "png", "--bit-depth", "32"], "needs --format tiff"),
        (["--format", "tiff", "--quality", "90"], "--quality is of JPEG"),
        (["--suffix", "a/b"], "must not contain slashes"),
        (["--strength", "1.5"], "--strength"),
        (["--tile", "3"], "--tile"),
        (["--shard", "0/2"], "is no shard"),
        (["--shard", "3/2"], "is no shard"),
        (["--max-duration", "8"], "is no duration"),
        (["--memory", "lots"], "is no size"),
        (["--memory", "10"], "'10' has no unit: it is no size; write 10MB or 10GB"),
        (["--memory", "10KB"], "'10KB' is too little to work with; give at least 16MiB"),
        (["--strength", "nan"], "'nan' is no number from 0 to 1"),
        (["--strength", "inf"], "--strength"),
        (["--chroma", "NaN"], "'NaN' is no number from 0 to 1"),
        (["--detail", "nan"], "'nan' is no number from 0 to 1"),
        (["--detail", "-inf"], "--detail"),
        (["--profile", "builtin", "--format", "gif"], "--format"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    nsp: Nsp, photos: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = nsp("denoise", photos, tmp_path / "out", *options)
    assert (result.code, (tmp_path / "out").exists()) == (2, False)
    assert message in result.err


def test_input_that_is_not_there_is_wrong_usage(nsp: Nsp, tmp_path: Path) -> None:
    result = nsp("denoise", tmp_path / "no", tmp_path / "out")
    assert result.code == 2
    assert result.err == f"nsp: {tmp_path / 'no'}: there is no such file or folder\n"


def test_of_the_noise_that_is_left_a_rough_figure_is_made(tmp_path: Path) -> None:
    sigma = np.linspace(1, 20, 1200)[:, None, None]
    noisy = 128 + sigma * np.random.default_rng(0).standard_normal((1200, 1400, 3))
    frame = Frame(noisy.clip(0, 255).astype(np.uint8), None, Kind.PNG, Metadata(), Camera())
    task = Task(Job(Path("a.png"), tmp_path / "a.png", "a.png"), None, "")
    made = Made(task, Stamp(0, 0), frame, Provenance()).measured().made
    rough, whole = (estimate_noise(frame.pixels, most=most).sigma for most in (FEW, MOST))
    assert made.noise_after == rough != whole
