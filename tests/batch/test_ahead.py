"""What a run will take is said before: photos, megapixels, time and disk, from a piece of the real work."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from batch_runs import save_photo
from fake_engine import FakeEngine, fake_profile, fake_sources
from night_photos import night_photo
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.batch.ahead import forecast as forecasts
from nsp_pipeline.batch.ahead import probe as probes
from nsp_pipeline.batch.ahead.forecast import Forecast, Share
from nsp_pipeline.batch.folder import plan_folder
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.cli.dry_run import size_in_words, total_lines
from nsp_pipeline.cli.main import main
from nsp_pipeline.core.blend import MEAN_RADIUS


class Clock:
    """Seconds that pass only while an engine computes: what other programs take of the machine is left out."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two sizes, in two formats."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for number, side in enumerate((300, 300, 650)):
        pixels = np.clip(128 + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_time_and_disk_are_foretold_within_30_percent(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(probes, "time", clock)

    class Slow(FakeEngine):
        def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
            clock.now += image.shape[2] * image.shape[3] / 1e6
            return super().run(image, noise)

    sources = fake_sources(open_engine=lambda profile, *, mode, **options: Slow(profile, mode))
    run = plan_folder([archive], tmp_path / "out", sources, profile="fake")
    foreseen, tasks = run.foresee()

    told = run.forecast(tasks, lambda line: None)

    assert not (tmp_path / "out").exists()
    assert len(foreseen) == len(tasks) == 6
    began = clock.now
    run.work(_Silent())
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.*"))
    assert told.seconds == pytest.approx(clock.now - began, rel=0.3)
    assert told.bytes == pytest.approx(written, rel=0.3)
    (share,) = told.shares
    assert (share.profile, share.photos) == ("fake", 6)
    assert share.megapixels == pytest.approx(2 * (0.09 + 0.09 + 0.4225))


class _Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **facts: None


def said(capsys: pytest.CaptureFixture[str], *args: object, **others: Any) -> tuple[str, str]:
    with suppress(SystemExit):
        main([str(arg) for arg in args], given=fake_sources(**others))
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_night_photo_s_tiles_read_as_far_as_its_brightening_looks(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(night_photo()[0]).save(tmp_path / "in" / "a-night.png")
    Image.fromarray(night_photo()[1]).save(tmp_path / "in" / "b-clean.png")
    _, tasks = plan_folder([tmp_path / "in"], tmp_path / "out", fake_sources(), profile="fake").foresee()
    profile = fake_profile()
    night, clean = (probes.probe(task, RunSettings(), FakeEngine(profile, "denoise")) for task in tasks)
    assert night.reach == clean.reach + MEAN_RADIUS
    assert night._read_by_tiles(24) > clean._read_by_tiles(24)


def test_a_dry_run_ends_with_the_whole_and_names_photos_with_v_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "x.psd").write_bytes(b"x")

    brief, _ = said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--dry-run")
    whole, _ = said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--dry-run", "-v")

    assert "1 photo would fail: format not supported (.psd)" in brief
    assert "0.png" not in brief
    assert brief.splitlines()[-1].startswith("3 photos to make: 0 megapixels, about ")
    assert "on the disk" in brief.splitlines()[-1]
    assert f"make {tmp_path}/in/0.png -> {tmp_path}/out/0.png with profile fake" in whole
    assert max(map(len, brief.splitlines())) <= 80 + 40


def test_a_dry_run_says_what_would_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--strength", "0.5")
    save_photo(tmp_path / "in" / "3.png", 3)

    out, _ = said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--dry-run")

    assert "3 photos would be made again and replaced: settings or profile changed" in out
    assert "4 photos to make" in out


def test_a_dry_run_as_json_has_the_whole_the_profiles_and_every_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "x.psd").write_bytes(b"x")

    document = json.loads(said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--dry-run", "--json")[0])

    summary = document["summary"]
    assert (summary["make"], summary["skip"], summary["fail"]) == (3, 0, 1)
    assert summary["seconds"] >= 0
    assert summary["bytes"] > 0
    assert summary["bytes_free"] > summary["bytes"]
    (share,) = document["profiles"]
    assert (share["profile"], share["photos"], share["bytes"]) == ("fake", 3, summary["bytes"])
    assert len(document["photos"]) == 4


def test_what_cannot_be_tried_is_said_and_the_rest_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8\xff")

    out, _ = said(capsys, "denoise", tmp_path / "in", tmp_path / "out", "--dry-run")

    assert "not all could be tried" in out
    assert "bad.jpg" in out
    assert "2 photos to make: 0 megapixels (" in out


def test_too_little_disk_is_said_before_a_run_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo(tmp_path / "in" / "a.png", size=(400, 300))
    monkeypatch.setattr(forecasts, "shutil", SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1000)))

    _, err = said(capsys, "denoise", tmp_path / "in", tmp_path / "out")
    out, _ = said(capsys, "denoise", tmp_path / "in", tmp_path / "other", "--dry-run")

    assert err.index("the disk may be too small") < err.index("1 done")
    assert "the disk is too small: make room" in out


def test_totals_are_words() -> None:
    shares = (Share("standard", 312, 7530.4, 7500.0, 2.1e9), Share("mine", 1, 24.0, 30.0, 7e6))
    assert total_lines(Forecast(shares, int(80e9))) == [
        "313 photos to make: 7554 megapixels, about 2 h 5 min here, about 2.1 GB on the disk (80.0 GB are free)"
    ]
    assert [size_in_words(size) for size in (1234, 5e6, 7.25e9, 3e12)] == ["1 kB", "5.0 MB", "7.2 GB", "3.0 TB"]
