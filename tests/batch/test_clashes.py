"""Numbers for photos that would meet in the output, which stay whatever comes and goes."""

from dataclasses import replace
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import pytest

from nsp_pipeline.batch.clashes import OnClash, number_clashes
from nsp_pipeline.batch.job import Job, Shard
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.plan import PlanRules, make_plan
from nsp_pipeline.file_names import absolute_name

NUMBERED = PlanRules(on_clash=OnClash.NUMBER)


def archive(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def planned(folder: Path, rules: PlanRules = NUMBERED) -> dict[str, str]:
    """Output by the photo's own path below the folder, as the plan without any record has them."""
    plan = make_plan([folder], folder.parent / "out", rules)
    assert not plan.refused
    assert all(job.output == folder.parent / "out" / job.key for job in plan.jobs)
    return {job.input.relative_to(folder).as_posix(): job.key for job in plan.jobs}


def jobs_of(folder: Path) -> list[Job]:
    """The jobs before any are told apart."""
    return [
        Job(path, folder.parent / "out" / key, key)
        for path in sorted(folder.rglob("*.*"))
        for key in [path.relative_to(folder).with_suffix(".tif").as_posix()]
    ]


def made(job: Job, *, published: bool = True) -> Row:
    """The manifest's record of a job; its output exists if it is published."""
    if published:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.write_bytes(b"made")
    content = job.input.read_bytes()
    name = absolute_name(job.input)
    return Row(job.key, name, Status.DONE, input_size=len(content), input_sha256=sha256(content).hexdigest())


def numbered(folder: Path, rows: list[Row]) -> dict[str, str]:
    return {job.input.name: job.key for job in number_clashes(jobs_of(folder), folder.parent / "out", rows)}


def test_who_is_called_so_keeps_the_name_and_the_others_are_numbered(tmp_path: Path) -> None:
    archive(tmp_path / "in", "1.dng", "1.tif", "1.nef", "2.jpg", "sub/1.dng")
    assert planned(tmp_path / "in") == {
        "1.tif": "1.tif",
        "1.dng": "1-2.tif",
        "1.nef": "1-3.tif",
        "2.jpg": "2.jpg",
        "sub/1.dng": "sub/1.tif",
    }


def test_capitals_and_accents_alone_keep_no_names_apart(tmp_path: Path) -> None:
    archive(tmp_path / "in", "A.jpg", "a.jpg", "é.jpg", "e\u0301.jpg")
    if len(list((tmp_path / "in").iterdir())) < 4:
        pytest.skip("this disk holds them for one itself")
    assert sorted(planned(tmp_path / "in").values()) == sorted(["A.jpg", "a-2.jpg", "e\u0301.jpg", "é-2.jpg"])


def test_a_number_never_takes_the_name_of_another_photo_or_folder(tmp_path: Path) -> None:
    archive(tmp_path / "in", "1.dng", "1.tif", "1-2.tif", "1-3.dng", "1-4.tif/x.jpg")
    assert planned(tmp_path / "in") == {
        "1.tif": "1.tif",
        "1-2.tif": "1-2.tif",
        "1-3.dng": "1-3.tif",
        "1.dng": "1-5.tif",
        "1-4.tif/x.jpg": "1-4.tif/x.jpg",
    }


def test_suffixes_come_before_the_number(tmp_path: Path) -> None:
    archive(tmp_path / "in", "1.dng", "1.tif")
    assert sorted(planned(tmp_path / "in", replace(NUMBERED, suffix="_clean")).values()) == [
        "1_clean-2.tif",
        "1_clean.tif",
    ]


def test_a_photo_that_came_later_takes_no_name_from_those_that_are_made(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", "1.nef", "1.orf")
    first = number_clashes(jobs_of(folder), tmp_path / "out", [])
    rows = [made(job) for job in first]
    assert numbered(folder, rows) == {"1.nef": "1.tif", "1.orf": "1-2.tif"}
    archive(folder, "1.dng", "1.tif")
    assert numbered(folder, rows) == {"1.nef": "1.tif", "1.orf": "1-2.tif", "1.tif": "1-3.tif", "1.dng": "1-4.tif"}


def test_a_photo_that_went_leaves_the_others_their_names(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", "1.nef", "1.orf")
    rows = [made(job) for job in number_clashes(jobs_of(folder), tmp_path / "out", [])]
    (folder / "1.nef").unlink()
    assert numbered(folder, rows) == {"1.orf": "1-2.tif"}
    archive(folder, "1.dng")
    assert numbered(folder, rows) == {"1.dng": "1-3.tif", "1.orf": "1-2.tif"}, "its result is still there"
    (tmp_path / "out" / "1.tif").unlink()
    assert numbered(folder, rows) == {"1.dng": "1.tif", "1.orf": "1-2.tif"}


def test_an_archive_that_moved_keeps_its_numbers(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", "1.nef", "1.orf")
    rows = [made(job) for job in number_clashes(jobs_of(folder), tmp_path / "out", [])]
    folder = folder.rename(tmp_path / "moved")
    (folder / "1.nef").unlink()
    archive(folder, "1.dng")
    assert numbered(folder, rows) == {"1.dng": "1-3.tif", "1.orf": "1-2.tif"}


def test_shards_agree_whatever_the_others_have_finished_by_then(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", "1.dng", "1.nef", "1.orf", "1.tif", "1-2.tif", "1-2.nef", "1-3.dng")
    jobs = jobs_of(folder)
    expected = number_clashes(jobs, tmp_path / "out", [])
    assert len({job.key for job in expected}) == len(jobs)
    for finished in permutations(expected, 3):
        assert number_clashes(jobs, tmp_path / "out", [made(job, published=False) for job in finished]) == expected
    parts = [make_plan([folder], tmp_path / "out", replace(NUMBERED, shard=Shard(index, 3))) for index in (1, 2, 3)]
    assert sorted(job.input for plan in parts for job in plan.jobs) == sorted(job.input for job in jobs)


def test_the_order_in_which_photos_are_met_makes_no_difference(tmp_path: Path) -> None:
    jobs = jobs_of(archive(tmp_path / "in", "1.dng", "1.nef", "1.tif", "1-2.tif"))
    expected = {job.input: job.key for job in number_clashes(jobs, tmp_path / "out", [])}
    for order in permutations(jobs):
        assert {job.input: job.key for job in number_clashes(order, tmp_path / "out", [])} == expected
