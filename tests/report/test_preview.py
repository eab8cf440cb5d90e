"""`nsp preview`: what it shows is what `nsp denoise` makes, and only the places are computed."""

import re
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import save_photo
from fake_engine import FakeEngine, fake_profile, fake_sources
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.cli.main import main
from nsp_pipeline.denoise.crops import Crop, CropSource
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata, RawSource
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import general_profiles
from nsp_pipeline.report.preview.places import choose_places, place_at
from nsp_pipeline.report.preview.variants import Variant, asked_variants
from nsp_pipeline.report.upright import FLIPS, Turn

ALL_WAYS = [
    InferenceSettings(),
    InferenceSettings(look="natural"),
    InferenceSettings(strength=0.5, chroma=1.0, detail=0.3),
    InferenceSettings(strength=0.0),
]


def scene(dtype: str = "uint8", channels: int = 3, size: tuple[int, int] = (123, 180)) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    values = np.clip(np.linspace(0.2, 0.7, size[1])[None, :, None] + rng.normal(0, 0.06, (*size, channels)), 0, 1)
    return (values * (65535 if dtype == "uint16" else 255)).astype(dtype) if dtype != "float32" else values.astype("f4")


def frame_of(pixels: NDArray[Any], kind: Kind = Kind.PNG, source: RawSource | None = None) -> Frame:
    return Frame(pixels, None, kind, Metadata(source=source), Camera())


@pytest.fixture(scope="module")
def engine() -> Engine:
    return FakeEngine(fake_profile(), "denoise")


@pytest.mark.parametrize("pixels", [scene(), scene("uint16"), scene("float32") * 3, scene(channels=1)])
def test_a_crop_is_that_part_of_the_whole_denoised_photo_to_the_last_bit(pixels: NDArray[Any], engine: Engine) -> None:
    frame = frame_of(pixels)
    crops = [Crop(51, 37, 64, 48), Crop(0, 0, 50, 40), Crop(180 - 63, 123 - 41, 63, 41)]

    made = CropSource(frame).denoised(crops, engine, ALL_WAYS)

    for settings, parts in zip(ALL_WAYS, made.pixels, strict=True):
        whole = denoise_frame(frame, engine, settings).frame.pixels
        for crop, part in zip(crops, parts, strict=True):
            np.testing.assert_array_equal(part, crop.of(whole))


def test_a_crop_of_a_mosaic_is_that_part_of_its_planes(engine: Engine) -> None:
    from nsp_pipeline.denoise.mosaic import denoise_mosaic

    source = RawSource(gains=(1.0, 1.0, 1.0, 1.0), mosaic=(0, 1, 1, 2), mosaic_size=(246, 360))
    frame = frame_of(np.repeat(scene("float32"), 2, axis=2)[..., :4], Kind.RAW, source)
    crop = Crop(30, 20, 64, 48)

    made = CropSource(frame).denoised([crop], engine, [InferenceSettings()])

    whole = denoise_mosaic(frame, engine, InferenceSettings()).frame.pixels
    part: NDArray[Any] = made.pixels[0][0]
    np.testing.assert_allclose(part, crop.of(whole), atol=1e-6)


def test_the_network_runs_once_for_each_place_however_many_ways_are_compared(engine: Engine) -> None:
    sizes = []

    class Counting(FakeEngine):
        def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
            sizes.append(image.shape[2] * image.shape[3])
            return super().run(image, noise)

    crops = [Crop(51, 37, 64, 48), Crop(100, 70, 64, 48)]
    CropSource(frame_of(scene())).denoised(crops, Counting(fake_profile(), "denoise"), ALL_WAYS)

    assert len(sizes) == len(crops)
    assert max(sizes) < 100 * 90  # a place with its halo, not the photo


def test_the_three_places_are_flat_textured_and_coloured() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((600, 900, 3), 128, np.uint8)
    pixels[:, 300:600] = np.kron(rng.integers(60, 200, (75, 38)), np.ones((8, 8)))[:600, :300, None]
    pixels[:, 600:] = (180, 70, 60)
    noisy = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)

    places = choose_places(noisy, 160, 120)

    assert [place.name for place in places] == ["flat", "textured", "coloured"]
    flat, textured, coloured = (place.crop for place in places)
    assert textured.left >= 250
    assert textured.left + textured.width <= 650
    assert coloured.left >= 600 - 8
    assert flat.of(noisy).std((0, 1)).max() < 10


def test_a_small_photo_has_as_many_places_as_fit() -> None:
    assert [place.crop for place in choose_places(scene(size=(40, 32)), 480, 360)] == [Crop(0, 0, 32, 40)]
    assert [place.crop for place in choose_places(scene(size=(9, 7)), 480, 360)] == [Crop(0, 0, 7, 9)]
    assert place_at(2, 399, (400, 600), 100, 80).crop == Crop(0, 320, 100, 80)


@pytest.mark.parametrize("orientation", FLIPS)
def test_a_part_of_the_upright_picture_is_where_it_is_said_to_be_stored(orientation: int) -> None:
    from io import BytesIO

    from PIL import ImageOps

    stored = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(20, 30, 3)
    image = Image.fromarray(stored)
    exif = Image.Exif()
    exif[274] = orientation
    file = BytesIO()
    image.save(file, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))

    turn = Turn(orientation, 20, 30)
    upright = turn.of(stored)

    np.testing.assert_array_equal(upright, expected)
    assert turn.size == upright.shape[:2]
    part = Crop(3, 5, 8, 6)
    np.testing.assert_array_equal(turn.of(turn.stored(part).of(stored)), part.of(upright))


def test_each_way_says_the_command_that_makes_it() -> None:
    way = Variant("my profile.nsp", InferenceSettings(strength=0.5, detail=0.25))
    assert shlex.split(way.command("a b.jpg")) == [
        *("nsp", "denoise", "a b.jpg", "clean", "--profile", "my profile.nsp"),
        *("--strength", "0.5", "--detail", "0.25"),
    ]
    assert Variant("auto", InferenceSettings(look="natural")).options == ["--look", "natural"]


def test_what_is_asked_for_is_compared_with_each_other() -> None:
    ways = asked_variants(("a", "b"), ((None, 0.5), (), ()), ("smooth", "natural"))

    assert [(way.profile, way.settings.strength, way.settings.look) for way in ways] == [
        *(("a", None, "smooth"), ("a", None, "natural"), ("a", 0.5, "smooth")),
        *(("b", None, "smooth"), ("b", None, "natural"), ("b", 0.5, "smooth")),
    ]
    # Where only profiles are named, each is shown in the usual ways.
    assert len(asked_variants(("a", "b"), ((), (), ()), ())) == 8


Preview = Callable[..., int]


@pytest.fixture
def preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preview:
    """`nsp preview` with the fake engine, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def choose(camera: Any, *, on_missing: str, mode: str) -> Any:
        from nsp_pipeline.profiles.choose import Choice

        return Choice(_named("own"), "made for it")

    sources = fake_sources(choose_profile=choose, find_profile=_named)
    return lambda *args: main(["preview", *map(str, args)], given=sources)


def _named(name: str) -> Profile:
    from hashlib import sha256

    return fake_profile(name, sha256(name.encode()).hexdigest())


def test_a_page_holds_every_place_in_every_way_and_loads_nothing(preview: Preview, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "photo <b>&'.png", size=(400, 300), model="<script>alert(1)</script>")

    assert preview(photo, "--size", 64) == 0

    page = (tmp_path / "preview.html").read_text(encoding="utf-8")
    rows = re.findall(r'<div class="row".*?</div>', page)
    assert len(rows) == 3
    labels = ["as it is", "own, auto", "own, look natural", "own, strength 0.5", "own, strength 1"]
    labels += [f"{name}, auto" for name in general_profiles()]
    assert "standard, auto" in labels
    assert [re.findall(r'data-label="(.*?)"', row) for row in rows] == [labels] * 3
    assert "<script>alert(1)" not in page
    assert "photo &lt;b&gt;&amp;&#x27;.png" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    assert "http" not in re.sub(r"data:[^\"')]*", "", page.replace("http-equiv", ""))


def test_a_profile_by_two_names_is_shown_once(preview: Preview, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "photo.png", size=(400, 300))

    assert preview(photo, "--size", 64, "--profile", "auto", "--profile", "own", "--strength", "1") == 0

    row = re.findall(r'<div class="row".*?</div>', (tmp_path / "preview.html").read_text(encoding="utf-8"))[0]
    assert re.findall(r'data-label="(.*?)"', row) == ["as it is", "own, strength 1"]


def test_the_sheet_has_a_row_for_each_place_and_a_column_for_each_way(preview: Preview, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "photo.png", size=(400, 300))

    ways = ["--strength", "0", "--strength", "1", "--at", "200,150", "--at", "5,5"]
    assert preview(photo, "--sheet", "s.png", "--size", 80, *ways) == 0

    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape == (48 + 2 * (60 + 8) + 8, 8 + 3 * (80 + 8), 3)
    as_it_is, nothing, smooth = (sheet[48:108, left : left + 80] for left in (8, 96, 184))
    np.testing.assert_array_equal(as_it_is, np.asarray(Image.open(photo))[120:180, 160:240])
    np.testing.assert_array_equal(nothing, as_it_is)
    assert smooth.std() < 0.6 * as_it_is.std()
    assert not (tmp_path / "preview.html").exists()


def test_a_turned_photo_is_shown_and_counted_upright(preview: Preview, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    pixels = scene(size=(200, 300))
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)

    assert preview("turned.png", "--sheet", "s.png", "--size", 64, "--at", "100,250", "--strength", "0") == 0

    shown = np.asarray(Image.open(tmp_path / "s.png"))[48:96, 8:72]
    np.testing.assert_array_equal(shown, np.rot90(pixels, -1)[250 - 24 : 250 + 24, 100 - 32 : 100 + 32])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["none.jpg"], 2, "none.jpg"),
        (["a.png", "--at", "40,2"], 2, "--at 40,2 lies outside a.png, which has 40×32 pixels"),
        (["a.png", "--at", "40"], 2, "like 2100,1500"),
        (["a.png", "--out", "a.png"], 2, "originals are never written over"),
        (["a.png", "--strength", "0.5", "--look", "natural"], 2, "works with strength auto only"),
        (["a.png", *[f"--strength=0.{n:02}" for n in range(25)]], 2, "ask for 24 or fewer"),
        (["bad.jpg"], 1, "bad.jpg"),
    ],
)
def test_what_cannot_be_shown_is_said(
    preview: Preview, tmp_path: Path, args: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo(tmp_path / "a.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no photo")

    with pytest.raises(SystemExit) if code == 1 else nullcontext() as ended:
        assert preview(*args) == code

    assert ended is None or ended.value.code == code
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "preview.html").exists()
