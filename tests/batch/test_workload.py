"""How much a run has before it is known from headers, and guessed where these are silent."""

from pathlib import Path

import pytest
from batch_runs import save_photo
from fake_engine import fake_profile

from nsp_pipeline.batch.ahead.workload import RAW_RATIO, Workload, rough_megapixels
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.job import Job
from nsp_pipeline.frames.frame import Camera, Facts, Kind


def task(path: Path, facts: Facts | None = None) -> Task:
    return Task(Job(path, path, path.name), fake_profile(), "", facts=facts)


def test_headers_are_read_beside_the_work_and_what_they_say_is_kept(tmp_path: Path) -> None:
    tasks = [task(save_photo(tmp_path / f"{n}.jpg", n, (40 + n, 30), model="D800")) for n in range(3)]
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    tasks.append(task(tmp_path / "bad.jpg"))
    tasks.append(task(tmp_path / "gone.jpg"))

    with Workload(tasks, {each.job.key for each in tasks} - {"2.jpg"}) as work:
        work._thread.join()

    assert work.names == tuple(str(tmp_path / name) for name in ("0.jpg", "1.jpg", "bad.jpg", "gone.jpg"))
    assert work.megapixels(str(tmp_path / "1.jpg")) == 41 * 30 / 1e6
    facts = work.facts(str(tmp_path / "1.jpg"))
    assert facts is not None
    assert facts.camera.model == "D800"
    assert work.facts(str(tmp_path / "bad.jpg")) is None
    assert work.megapixels(str(tmp_path / "gone.jpg")) == 0


def test_raw_is_guessed_by_its_length_until_another_of_its_kind_says_better(tmp_path: Path) -> None:
    tasks = []
    for number, length in enumerate((3_000_000, 6_000_000)):
        path = tmp_path / f"{number}.CR3"
        path.write_bytes(bytes(length))
        tasks.append(task(path))
    with Workload(tasks, {each.job.key for each in tasks}) as work:
        first, second = work.names
        assert work.megapixels(second) == pytest.approx(6 * RAW_RATIO)
        work.learn(first, 2.0)

    assert work.megapixels(first) == 2.0
    assert work.megapixels(second) == pytest.approx(4.0)


def test_the_work_before_a_run_goes_by_headers_that_were_read_for_the_camera(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(1_000_000))
    known = task(path, Facts(Kind.JPEG, Camera(), size=(6000, 4000)))

    assert rough_megapixels([known], fake_profile(), again=True) == 24
    assert rough_megapixels([known], fake_profile()) == 0, "it has an output"


def test_a_megabyte_of_jpeg_holds_several_times_the_pixels_of_one_of_png(tmp_path: Path) -> None:
    sizes = {}
    for suffix in ("JPG", "png", "NEF"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(bytes(1_000_000))
        sizes[suffix] = rough_megapixels([task(path)], fake_profile(), again=True)

    assert sizes["png"] < sizes["NEF"] < sizes["JPG"]
    assert sizes["JPG"] >= 4 * sizes["png"]
