"""The report of a run: what it says of an archive, and that no name gets out of its place in the page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import save_photo
from fake_engine import fake_sources
from PIL import Image

from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.cli.main import main
from nsp_pipeline.report.run.entries import Entry, groups_of
from nsp_pipeline.report.run.pictures import GREY, pictures_of
from nsp_pipeline.report.run.remedies import remedy_for
from nsp_pipeline.report.run.timeline import timeline

Nsp = Callable[..., int]


@pytest.fixture
def nsp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nsp:
    """`nsp` with the fake engine, in a folder of its own; gives the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> int:
        try:
            return main([str(arg) for arg in args], given=fake_sources())
        except SystemExit as ended:
            return int(ended.code or 0)

    return run


def data_of(page: Path) -> dict[str, Any]:
    """The photos of a page by name, each with its pictures where it has some."""
    text = page.read_text(encoding="utf-8")
    blocks = dict(re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text))
    photos = json.loads(blocks["photos"])
    return {
        photo["name"]: {**photo, "shown": json.loads(blocks[f"pictures-{number}"]) if "pictures" in photo else None}
        for number, photo in enumerate(photos)
    }


def test_a_run_reports_every_photo_with_before_after_and_what_was_removed(nsp: Nsp, tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png", 1, (400, 300), model="NIKON D800")
    save_photo(tmp_path / "in" / "sub" / "b.png", 2, model="Other")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")

    assert nsp("denoise", "in", "out", "--report", "r.html") == 1

    photos = data_of(tmp_path / "r.html")
    assert list(photos) == ["bad.jpg", "a.png", "sub/b.png"]  # what failed comes first
    assert photos["bad.jpg"]["state"] == "failed"
    assert photos["bad.jpg"]["remedy"]
    assert photos["a.png"]["camera"] == "NIKON D800"
    assert photos["sub/b.png"]["folder"] == "sub"
    assert photos["sub/b.png"]["profile"] == "other"
    *jpegs, width, height = photos["a.png"]["shown"]
    assert (width, height) == (320, 240)
    assert all(jpeg.startswith("/9j/") for jpeg in jpegs)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.index("1 photo failed") < page.index("photos done")


def test_a_report_at_any_later_time_is_made_from_the_manifest(nsp: Nsp, tmp_path: Path) -> None:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    assert nsp("denoise", "in", "out") == 0
    (tmp_path / "in" / "0.png").unlink()
    save_photo(tmp_path / "in" / "1.png", 99)

    assert nsp("report", "out") == 0

    photos = data_of(tmp_path / "report.html")
    # Gone, or not the photo any more that was denoised: nothing to compare with.
    assert [bool(photos[f"{number}.png"]["shown"]) for number in range(3)] == [False, False, True]
    assert nsp("report", "out", "--pictures", "0", "--out", "none.html") == 0
    assert not data_of(tmp_path / "none.html")["2.png"]["shown"]


def test_no_name_gets_out_of_its_place(nsp: Nsp, tmp_path: Path) -> None:
    evil = "</script><script>window.evil=1</script>"
    save_photo(tmp_path / "in" / "a<b>&amp;'\".png", model=evil)
    (tmp_path / "in" / "<img src=x onerror=alert(1)>.jpg").write_bytes(b"\xff\xd8\xff nothing")
    nsp("denoise", "in", "out", "--report", "r.html")

    page = (tmp_path / "r.html").read_text(encoding="utf-8")

    assert evil not in page
    assert "<img src=x" not in page
    assert data_of(tmp_path / "r.html")["a<b>&amp;'\".png"]["camera"] == evil
    assert "default-src 'none'" in page
    assert not re.search(r"https?:", page)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["report", "in"], 2, "nsp has no record there"),
        (["report", "out", "--out", "none/r.html"], 0, "report: none/r.html"),
        (["denoise", "in", "out", "--report", "in/a.png"], 2, "this is a photo of the INPUT"),
        (["denoise", "in", "out", "--report", "r.html", "--dry-run"], 2, "leave one of them out"),
        (["denoise", "in", "out", "--report", "r.html", "--watch"], 2, "nsp report OUTPUT writes one at any time"),
        (["denoise", "in", "out", "--report", "in/a.png/r.html"], 4, "is no folder"),
    ],
)
def test_a_report_that_cannot_be_is_said_before_any_work(
    nsp: Nsp, tmp_path: Path, args: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "in" / "a.png")
    if args[:2] == ["report", "out"]:
        nsp("denoise", "in", "out")

    assert nsp(*args) == code

    assert said in capsys.readouterr().err.replace("\n", " ")
    assert args[0] == "report" or not (tmp_path / "out").exists()


def test_pictures_show_the_place_where_most_was_removed(nsp: Nsp, tmp_path: Path) -> None:
    pixels = np.full((480, 640, 3), 100, np.uint8)
    pixels[260:480, 330:640] += np.random.default_rng(0).integers(0, 90, (220, 310, 3), np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    nsp("denoise", "in", "out", "--strength", "1", "--report", "r.html")

    before, after, removed = (shown(part) for part in data_of(tmp_path / "r.html")["a.png"]["shown"][:3])

    assert before.std() > 20 > after.std()
    assert abs(removed.mean() - GREY) < 12
    assert removed.std() > before.std()


def shown(jpeg: str) -> Any:
    from base64 import b64decode
    from io import BytesIO

    return np.asarray(Image.open(BytesIO(b64decode(jpeg))), np.float64)


def test_an_enlarged_photo_is_compared_with_its_original_at_the_same_size(nsp: Nsp, tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png", 1, (100, 80))

    nsp("denoise", "in", "out", "--mode", "sr", "--report", "r.html")

    before, after = (shown(part) for part in data_of(tmp_path / "r.html")["a.png"]["shown"][:2])
    assert before.shape == after.shape == (160, 200, 3)


def row(**changes: Any) -> Row:
    made = Provenance(megapixels=10, seconds=5, strength=0.9, noise_before=6, noise_after=1)
    return Row(
        **{"output": "a.jpg", "input": "/in/a.jpg", "status": Status.DONE, "profile": "own", "made": made, **changes}
    )


def test_photos_are_summed_by_camera_iso_and_profile() -> None:
    less = Provenance(megapixels=20, seconds=5, strength=0.7, noise_before=4, noise_after=1)
    entries = [
        Entry(row(), "Nikon D800", 800),
        Entry(row(made=less), "Nikon D800", 800),
        Entry(row(profile="other"), "Nikon D800", 800),
        Entry(row(status=Status.FAILED), "Nikon D800", 800),
    ]

    other, own = groups_of(entries)

    assert (own.photos, own.megapixels, own.noise_before, own.seconds) == (2, 30, 5, 10)
    assert (other.profile, other.photos) == ("other", 1)


def test_the_time_line_has_all_megapixels_and_needs_two_moments() -> None:
    assert timeline([row(finished=1e9)]) == ""
    drawn = timeline([row(finished=1e9), row(finished=1e9 + 60), row(finished=1e9 + 60)])
    assert sum(int(value) for value in re.findall(r": (\d+) megapixels", drawn)) == 30


@pytest.mark.parametrize(
    ("failed", "helps"),
    [
        (row(error="format not supported (.heic)"), "convert it first"),
        (row(error="the file ends early", made=Provenance(damaged="the file ends early")), "--damaged keep"),
        (row(error="nsp died twice while working on this photo"), "--retry-failed"),
        (row(error="it cannot be read: Permission denied"), "same command again"),
        (row(error="is empty", lasting=True), "sound copy"),
    ],
)
def test_every_failure_has_a_remedy(failed: Row, helps: str) -> None:
    assert helps in remedy_for(failed)


def test_a_photo_without_its_result_has_no_pictures(tmp_path: Path) -> None:
    assert pictures_of(tmp_path, row(input=str(tmp_path / "gone.jpg")), None) is None
