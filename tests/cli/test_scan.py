"""`nsp scan`."""

import json
from pathlib import Path

import numpy as np
import pytest
from noisy_photos import save_archive
from PIL import Image
from run_nsp import run_here

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.calibration.archive.verdict import verdict
from nsp_pipeline.cli import scan as scanning
from nsp_pipeline.cli.export.stated_noise import stated_noise
from nsp_pipeline.noise.estimate import estimate_noise

Captured = pytest.CaptureFixture[str]


def scan(capsys: Captured, *args: str | Path) -> dict[str, list[dict[str, object]]]:
    result = run_here(capsys, "scan", *args, "--json")
    assert result.code == 0, result.err
    document: dict[str, list[dict[str, object]]] = json.loads(result.out)
    return document


def flat_archive(folder: Path, sigma: float, count: int = 2) -> Path:
    """Smooth grey photos of one camera with independent noise."""
    folder.mkdir()
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, sigma, (512, 512, 3))
        shade = np.linspace(40, 200, 512)[:, None, None]
        exif = Image.Exif()
        exif[271], exif[272] = "Maker", "One"
        Image.fromarray(np.rint(shade + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{seed}.png", exif=exif)
    return folder


def test_groups_are_listed_with_their_files(capsys: Captured, tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "photos", 3, iso=400)
    document = scan(capsys, archive)
    assert [(group["camera"], group["iso_min"], group["photos"]) for group in document["groups"]] == [
        ("Maker One", 400, 1),
        ("Maker One", 500, 1),
        ("Maker One", 600, 1),
    ]
    assert document["groups"][0]["files"] == [str(archive / "0.jpg")]
    assert "noise" not in document["groups"][0]
    table = run_here(capsys, "scan", archive)
    assert table.code == 0
    assert "Maker One" in table.out


def test_noise_is_measured_and_gives_s_and_pd(capsys: Captured, tmp_path: Path) -> None:
    (group,) = scan(capsys, flat_archive(tmp_path / "photos", 8.0), "--noise")["groups"]
    noise = group["noise"]
    assert isinstance(noise, dict)
    assert noise["sigma"] == pytest.approx(8.0, rel=0.1)
    assert (noise["s"], noise["pd_factor"], noise["trouble"]) == (2, 1, None)
    assert len(noise["channels"]) == 3


def test_a_photo_that_turns_out_damaged_counts_in_no_group(capsys: Captured, tmp_path: Path) -> None:
    archive = flat_archive(tmp_path / "photos", 8.0)
    whole = (archive / "1.png").read_bytes()
    (archive / "1.png").write_bytes(whole[: len(whole) // 2])
    result = run_here(capsys, "scan", archive, "--noise", "--json")
    assert result.code == 1
    document = json.loads(result.out)
    ((group,), (refused,)) = document["groups"], document["refused"]
    assert (group["photos"], group["files"]) == (1, [str(archive / "0.png")])
    assert refused["file"] == str(archive / "1.png")


def test_the_table_of_a_group_is_what_nsp_export_takes(capsys: Captured, tmp_path: Path) -> None:
    document = scan(capsys, flat_archive(tmp_path / "photos", 8.0), "--noise")
    (tmp_path / "street.json").write_text(json.dumps(document))
    grey, coarse, colour, coarse_colour = stated_noise(str(tmp_path / "street.json")).table[0] * 255
    # White noise: a third of the variance is grey, and all of it as coarse as fine.
    np.testing.assert_allclose(grey[2:6], 8 / np.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(colour[2:6], 8 * np.sqrt(2 / 3), rtol=0.1)
    np.testing.assert_allclose([coarse / grey, coarse_colour / colour], 1, atol=0.25)


def knitted_archive(folder: Path, sigma: float, count: int = 3) -> Path:
    """Photos of one camera, texture as fine as noise from edge to edge, with white noise."""
    folder.mkdir()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:384, 0:384]
        threads = np.sin(x * rng.uniform(0.9, 1.5)) * np.sin(y * rng.uniform(0.9, 1.5))
        knit = 120 + 20 * threads + 8 * np.sin((x + y) * rng.uniform(0.2, 0.4))
        noisy = knit[..., None] + rng.normal(0, sigma, (384, 384, 3))
        exif = Image.Exif()
        exif[271], exif[272] = "Maker", "One"
        Image.fromarray(np.rint(noisy).clip(0, 255).astype(np.uint8)).save(folder / f"{seed}.png", exif=exif)
    return folder


def test_where_nothing_is_flat_the_table_is_what_the_estimator_says(capsys: Captured, tmp_path: Path) -> None:
    archive = knitted_archive(tmp_path / "photos", 6.0)
    document = scan(capsys, archive, "--noise")
    (tmp_path / "street.json").write_text(json.dumps(document))
    told = stated_noise(str(tmp_path / "street.json")).table
    said = [estimate_noise(np.array(Image.open(path))).table for path in sorted(archive.iterdir())]
    level, middle = np.log(told)[0, :, 3:5], np.log(said)[:, 0, :, 3:5]
    assert (middle.min(0) - 1e-3 <= level).all()
    assert (level <= middle.max(0) + 1e-3).all()
    grey, _, colour, _ = 255 * told[0, :, 3]
    assert np.hypot(grey, colour) == pytest.approx(6.0, rel=0.15)
    (group,) = document["groups"]
    assert isinstance(group["noise"], dict)
    unsure = np.array(group["noise"]["unsure"])
    assert unsure.shape == (4, 8)
    assert ((unsure > 0.1) & (unsure < 2)).all()


def test_photos_without_noise_have_no_table(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64), (90, 120, 40)).save(tmp_path / "in" / "1.png")
    (group,) = scan(capsys, tmp_path / "in", "--noise")["groups"]
    assert isinstance(group["noise"], dict)
    assert "table" not in group["noise"]


def test_the_report_shows_curves_and_maps(capsys: Captured, tmp_path: Path) -> None:
    page = tmp_path / "noise.html"
    result = run_here(capsys, "scan", flat_archive(tmp_path / "photos", 8.0), "--noise", "--report", page)
    assert result.code == 0, result.err
    text = page.read_text(encoding="utf-8")
    assert text.count("<polyline") == 3
    assert text.count("data:image/png;base64,") == 3
    assert "s = 2" in text
    assert "https" not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    # What it means comes first, with a part of a photo; the numbers are folded away.
    assert text.index("Strong noise; ") < text.index("data:image/jpeg;base64,") < text.index("<details>")


def test_noise_that_cannot_be_measured_is_explained(capsys: Captured, tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "photos", 1, iso=400)
    (group,) = scan(capsys, archive, "--noise")["groups"]
    assert isinstance(group["noise"], dict)
    assert "too little of these photos is flat" in group["noise"]["trouble"]
    assert "too little" in " ".join(run_here(capsys, "scan", archive, "--noise").out.split())


def test_a_camera_may_be_called_anything(capsys: Captured, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[272] = "[red]<b>/", "../[/red] x"
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "1.png", exif=exif)
    page = tmp_path / "noise.html"
    result = run_here(capsys, "scan", tmp_path / "in", "--noise", "--report", page)
    assert result.code == 0, result.err
    assert "<b>" not in page.read_text(encoding="utf-8").split("<section>")[1].replace("<b>s =", "")


def test_unreadable_photos_are_named_and_the_rest_goes_on(capsys: Captured, tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "photos", 1, iso=400)
    (archive / "bad.jpg").write_bytes(b"")
    result = run_here(capsys, "scan", archive)
    assert result.code == 1
    assert "bad.jpg" in result.err
    assert "Maker One" in result.out


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (("--report", "x.html"), "--report shows measured noise: add --noise", 2),
        (("--noise", "--report", "/nowhere/x.html"), "/nowhere/x.html: cannot be written", 4),
        (("--exclude", "*"), "no photos in", 2),
    ],
)
def test_what_cannot_be_done_is_refused(
    capsys: Captured, tmp_path: Path, options: tuple[str, ...], message: str, code: int
) -> None:
    result = run_here(capsys, "scan", save_archive(tmp_path / "photos", 1, iso=400), *options)
    assert result.code == code
    assert message in result.err


def test_the_table_says_in_words_how_noisy_photos_are_and_on_a_terminal_the_numbers_with_v_alone(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = flat_archive(tmp_path / "photos", 8.0)
    assert "strong noise; " in run_here(capsys, "scan", archive, "--noise").out
    monkeypatch.setattr(scanning, "printed_to_a_terminal", lambda: True)
    brief, verbose = (run_here(capsys, "scan", archive, "--noise", *more).out for more in ((), ("-v",)))
    assert ("alike" in brief, "alike" in verbose) == (False, True)


@pytest.mark.parametrize(
    ("sigma", "photos", "edited", "said"),
    [
        (0.3, 38, False, "next to no noise; 38 photos, enough to calibrate"),
        (1.5, 5, False, "little noise; 5 photos, enough to calibrate (12 are better)"),
        (4.2, 1, False, "moderate noise; 1 photo, too few to calibrate (3 needed, 12 better)"),
        (22.0, 40, True, "very strong noise; 40 photos, edited, so no profile can be made of them"),
        (None, 12, False, "unknown noise; 12 photos, enough to calibrate"),
    ],
)
def test_a_group_has_a_plain_verdict(sigma: float | None, photos: int, edited: bool, said: str) -> None:
    paths = tuple(Path(f"{number}.jpg") for number in range(photos))
    assert verdict(Group("Canon 80D", "jpeg", None, edited, (100, 100), paths, sigma=sigma)) == said


def test_a_camera_whose_photos_are_enough_of_all_iso_together_is_named(capsys: Captured, tmp_path: Path) -> None:
    few = save_archive(tmp_path / "few", 2, iso=400)
    assert "together" not in run_here(capsys, "scan", few, "--noise").out
    enough = save_archive(tmp_path / "photos", 3, iso=400)
    said = " ".join(run_here(capsys, "scan", enough, "--noise").out.split())
    assert "Maker One: its 3 photos of all ISO together are enough for a profile" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(20.0, "about a minute here"), (730.0, "about 12 minutes here"), (7200.0, "about 2.0 hours here")],
)
def test_a_verdict_says_how_long_a_calibration_takes_here(seconds: float, said: str) -> None:
    paths = tuple(Path(f"{number}.jpg") for number in range(38))
    group = Group("Canon 80D", "jpeg", None, False, (100, 100), paths, sigma=4.2)
    assert verdict(group, seconds) == f"moderate noise; 38 photos, enough to calibrate, {said}"


def test_the_time_of_a_calibration_is_tried_where_one_is_possible(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    few, enough = flat_archive(tmp_path / "few", 8.0), flat_archive(tmp_path / "enough", 8.0, count=3)
    assert "calibration_seconds" not in scan(capsys, few, "--noise")
    assert scan(capsys, enough, "--noise")["calibration_seconds"] > 10  # type: ignore[operator]
    monkeypatch.setattr(scanning, "usual_seconds", lambda: None)
    assert "nsp calibrate needs PyTorch" in run_here(capsys, "scan", enough, "--noise").out
