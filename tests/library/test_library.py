"""`import nsp_pipeline as nsp`, as another program uses it."""

import doctest
import inspect
import pydoc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
import pytest
from batch_runs import hashes, save_photo
from numpy.typing import NDArray
from PIL import Image
from run_nsp import REPOSITORY, finish, run_here, start_python

import nsp_pipeline as nsp
from nsp_pipeline.engines import choose
from nsp_pipeline.errors import OutputError, UntrustedResultError, UsageError
from nsp_pipeline.profiles.bundle import Profile

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def noisy(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(0).normal(120, 20, (height, width, 3)).clip(0, 255)
    return np.asarray(pixels, dtype=np.uint8)


@pytest.fixture(scope="module")
def fast() -> Iterator[nsp.Denoiser]:
    with nsp.Denoiser("fast", engine="onnx", device="cpu") as denoiser:
        yield denoiser


@pytest.mark.parametrize("module", ["nsp_pipeline.denoise.denoiser", "nsp_pipeline.batch.folder"])
def test_the_examples_in_the_docstrings_say_what_happens(module: str) -> None:
    outcome = doctest.testmod(import_module(module))
    assert outcome.attempted > 3
    assert outcome.failed == 0


def test_importing_it_is_light() -> None:
    code = "import sys, nsp_pipeline; print(sorted({'numpy', 'torch', 'pydantic', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY).strip() == "[]"


def test_every_public_name_is_there_and_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
    for name in nsp.__all__:
        assert getattr(nsp, name) is not None
        assert f"`nsp.{name}" in page, f"docs/library.md says nothing of {name}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nsp.nothing  # noqa: B018


def test_denoise_can_be_called_whatever_was_imported_before() -> None:
    code = "import nsp_pipeline.denoise.photo\nfrom nsp_pipeline import denoise\nimport nsp_pipeline as nsp\n"
    code += "print(callable(denoise), nsp.denoise is denoise, nsp_pipeline.denoise.photo.__name__)"
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY)
    assert said.strip() == "True True nsp_pipeline.denoise.photo"


def test_help_of_denoise_says_how_it_is_called_and_what_it_does() -> None:
    said = pydoc.plain(pydoc.render_doc(nsp.denoise))
    assert "Denoise one picture; opens an engine for it" in said
    assert "Called as nsp_pipeline.denoise(image: " in said
    assert list(inspect.signature(nsp.denoise).parameters) == ["image", "profile", "strength", "options"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 1), (64, 96, 3), (64, 96, 4)])
def test_a_picture_comes_back_cleaner_and_as_it_was_stored(
    fast: nsp.Denoiser, dtype: str, shape: tuple[int, ...]
) -> None:
    white = {"uint8": 255, "uint16": 65535}.get(dtype, 1.0)
    values = np.random.default_rng(0).normal(0.5, 0.08, shape).clip(0, 1) * white
    image = values.astype(dtype)
    before = image.copy()
    clean = fast.denoise(image)
    assert (clean.shape, clean.dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, before), "the picture that was given is not changed"
    colours = (clean, image) if image.ndim == 2 else (clean[:, :, :3], image[:, :, :3])
    assert colours[0].std() < colours[1].std() / 2
    if shape[-1] == 4:
        assert np.array_equal(clean[:, :, 3], image[:, :, 3]), "alpha stays"


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ([[1, 2]], TypeError, "the image is a list; it must be a numpy array"),
        (np.zeros((8, 8, 3), np.int64), TypeError, "the image is of int64; it must be of uint8, uint16, or floats"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"\(3, 8, 8\).*channels come last"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"\(0, 8, 3\)"),
        (np.full((8, 8), np.nan), ValueError, "values that are not numbers"),
        (np.full((8, 8), 254.0), ValueError, "floats from 254 to 254; they must be in 0..1"),
    ],
)
def test_what_is_no_picture_is_refused_before_an_engine_is_opened(
    image: Any, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "open_engine", None)
    with pytest.raises(error, match=words):
        nsp.denoise(image)
    with pytest.raises(error, match=words):
        nsp.measure_noise(image)


def test_wrong_options_are_named() -> None:
    options: dict[str, Any]
    for options, error, words in (
        ({"stregnth": 1}, TypeError, "unknown options: stregnth"),
        ({"profile": "nobody's"}, nsp.NspError, "there is no profile 'nobody's'"),
        ({"mode": "larger"}, UsageError, "there is no mode 'larger'; there are: denoise, sr, sr-direct"),
        ({"pd": "on", "mode": "sr"}, UsageError, "does not go with mode sr"),
        ({"engine": "abacus"}, nsp.NspError, "abacus"),
        ({"strength": 2.0}, UsageError, "strength 2.0 is no number from 0 to 1"),
    ):
        with pytest.raises(error, match=words):
            nsp.denoise(noisy(), **options)


def test_threads_share_a_denoiser_and_each_gets_its_own_picture(fast: nsp.Denoiser) -> None:
    images = [np.roll(noisy(), 7 * number, axis=1) for number in range(6)]
    alone = [fast.denoise(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(fast.denoise, images))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_closed_denoiser_says_so() -> None:
    denoiser = nsp.Denoiser("fast", engine="onnx", device="cpu")
    denoiser.close()
    denoiser.close()
    with pytest.raises(UsageError, match="this Denoiser is closed"):
        denoiser.denoise(noisy())


def test_a_result_that_cannot_be_the_picture_is_made_again_on_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def black(profile: Profile, *, mode: str, **options: Any) -> fake_engine.FakeEngine:
        engine = fake_engine.FakeEngine(profile, mode)
        monkeypatch.setattr(engine, "run", lambda image, noise=None: np.zeros_like(image), raising=False)
        return engine

    monkeypatch.setattr("nsp_pipeline.denoise.denoiser.open_engine", black)
    with nsp.Denoiser("fast") as denoiser:
        assert denoiser.denoise(noisy(), strength=1).mean() > 100
    with nsp.Denoiser("fast", device="cuda") as denoiser, pytest.raises(UntrustedResultError, match="colours"):
        denoiser.denoise(noisy(), strength=1)


def test_the_library_and_the_command_make_the_same_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_photo(tmp_path / "in" / "a.png", 1)
    save_photo(tmp_path / "in" / "sub" / "b.tif", 2)
    summary = nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=fake_engine.fake_sources(), strength=0.5)
    command = run_here(
        capfd, "denoise", tmp_path / "in", tmp_path / "cli", "--strength", "0.5", given=fake_engine.fake_sources()
    )
    assert (summary.counts()["done"], command.code) == (2, 0)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "cli") != {}
    again = run_here(
        capfd, "denoise", tmp_path / "in", tmp_path / "out", "--strength", "0.5", given=fake_engine.fake_sources()
    )
    assert "2 skipped (already done)" in again.err


@pytest.mark.parametrize(("option", "made"), [("include", {"a.png"}), ("exclude", {"b.tif"})])
def test_a_single_glob_need_not_stand_in_a_list(option: Any, made: set[str], tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png", 1)
    save_photo(tmp_path / "in" / "b.tif", 2)
    options: Any = {option: "*.png"}
    nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=fake_engine.fake_sources(), **options)
    assert hashes(tmp_path / "out").keys() == made


def test_progress_is_told_of_every_photo_and_may_cancel(tmp_path: Path) -> None:
    for number in range(8):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "bad.png").write_bytes(b"no photo")
    seen: list[nsp.FolderProgress] = []
    whole = nsp.denoise_folder(
        [tmp_path / "in"], tmp_path / "out", progress=seen.append, sources=fake_engine.fake_sources()
    )
    assert [now.finished for now in seen] == list(range(1, 10))
    assert {now.total for now in seen} == {9}
    assert [result.name for result in whole.of(nsp.Outcome.FAILED)] == [str(tmp_path / "in" / "bad.png")]

    cancel, count = threading.Event(), 0

    def stop_at_three(now: nsp.FolderProgress) -> None:
        nonlocal count
        count += 1
        if count == 3:
            cancel.set()

    half = nsp.denoise_folder(
        str(tmp_path / "in"),
        tmp_path / "half",
        progress=stop_at_three,
        cancel=cancel,
        sources=fake_engine.fake_sources(),
    )
    assert half.ended == "interrupted"
    assert 0 < half.remaining < 9
    rest = nsp.denoise_folder(tmp_path / "in", tmp_path / "half", sources=fake_engine.fake_sources())
    assert rest.ended == "complete"
    assert hashes(tmp_path / "half") == hashes(tmp_path / "out")


def test_what_the_callback_raises_ends_the_run_and_comes_back(tmp_path: Path) -> None:
    for number in range(4):
        save_photo(tmp_path / "in" / f"{number}.png", number)

    def broken(now: nsp.FolderProgress) -> None:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        nsp.denoise_folder(tmp_path / "in", tmp_path / "out", progress=broken, sources=fake_engine.fake_sources())
    summary = nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=fake_engine.fake_sources())
    assert summary.counts()["done"] + summary.counts()["skipped"] == 4


def test_folders_that_cannot_be_denoised_raise(tmp_path: Path) -> None:
    sources = fake_engine.fake_sources()
    (tmp_path / "empty").mkdir()
    save_photo(tmp_path / "in" / "a.png")
    with pytest.raises(UsageError, match="empty"):
        nsp.denoise_folder(tmp_path / "empty", tmp_path / "out", sources=sources)
    with pytest.raises(UsageError, match="nowhere"):
        nsp.denoise_folder(tmp_path / "nowhere", tmp_path / "out", sources=sources)
    with pytest.raises(OutputError, match="cannot be made"):
        nsp.denoise_folder(tmp_path / "in", "/dev/null/out", sources=sources)
    for wrong, words in (({"format": "gif"}, "format 'gif'"), ({"workers": 0}, "workers 0"), ({"quality": 5.5}, "5.5")):
        options: Any = wrong
        with pytest.raises(UsageError, match=words):
            nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=sources, **options)
    unknown: Any = {"fromat": "png"}
    with pytest.raises(TypeError, match="unknown options: fromat"):
        nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=sources, **unknown)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_the_example_scripts_run(script: Path, tmp_path: Path) -> None:
    Image.fromarray(noisy()).save(tmp_path / "a.png")
    done = finish(start_python(script, tmp_path / "a.png", tmp_path / "clean"))
    assert done.code == 0, done.err
    (clean,) = (tmp_path / "clean").glob("*.png")
    with Image.open(clean) as picture:
        assert np.asarray(picture).std() < noisy().std() / 2
