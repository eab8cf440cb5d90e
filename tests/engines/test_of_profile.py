"""A profile of several networks: the photo's noise chooses, and everything else is as with one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_student import noise_tables, write_pair, write_three

import nsp_pipeline as nsp
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_kind import NoiseKind
from nsp_pipeline.denoise import photo
from nsp_pipeline.denoise.arrays import frame_of
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import EngineByNoise, open_profile_engine
from nsp_pipeline.engines.verify import verify_profile
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.profiles.bundle import UNSMOOTHED_FILE, Profile, copy_profile, load_profile, write_profile

TABLES = noise_tables()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return write_three(tmp_path_factory.mktemp("three"))


@pytest.fixture
def opened() -> list[Profile]:
    return []


@pytest.fixture
def engine(pair: Profile, opened: list[Profile]) -> Iterator[Engine]:
    def opener(profile: Profile, mode: str) -> Engine:
        opened.append(profile)
        return open_engine(profile, mode=mode, engine="onnx")

    engine = open_profile_engine(pair, "denoise", "auto", opener)
    yield engine
    engine.close()


def image(side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).random((1, 3, side, side), dtype=np.float32)


@pytest.mark.parametrize("kind", TABLES)
def test_each_kind_of_noise_has_its_network(pair: Profile, engine: Engine, kind: str) -> None:
    alone = pair if kind == "smoothed" else pair.unsmoothed
    assert alone
    expected = open_engine(alone, mode="denoise", engine="onnx").run(image(), TABLES[kind])
    np.testing.assert_array_equal(engine.run(image(), TABLES[kind]), expected)


@pytest.mark.parametrize("kind", TABLES)
def test_white_noise_may_have_one_too(three: Profile, kind: str) -> None:
    alone = three.suiting(TABLES[kind])
    assert alone.path.name == {"smoothed": "three.nsp"}.get(kind, f"{kind}.nsp")
    expected = open_engine(alone, mode="denoise", engine="onnx").run(image(), TABLES[kind])
    engine = open_profile_engine(
        three, "denoise", "auto", lambda part, mode: open_engine(part, mode=mode, engine="onnx")
    )
    np.testing.assert_array_equal(engine.run(image(), TABLES[kind]), expected)
    assert load_profile(alone.path).sha256 == alone.sha256
    assert f"{alone.path.name}: model.onnx".removeprefix("three.nsp: ") in verify_profile(three)


def test_the_second_is_opened_when_a_photo_needs_it(pair: Profile, engine: Engine, opened: list[Profile]) -> None:
    assert opened == [pair]
    for table in (None, TABLES["smoothed"], TABLES["unsmoothed"], TABLES["unsmoothed"]):
        engine.run(image(), table)
    assert opened == [pair, pair.unsmoothed]


def test_tiles_suit_both_networks(pair: Profile, opened: list[Profile]) -> None:
    one = open_engine(pair, mode="denoise", engine="onnx")
    assert pair.unsmoothed
    farther = pair.unsmoothed.spec.backbone.model_copy(update={"halo": one.info.halo + 16, "multiple": 12})
    spec = pair.unsmoothed.spec.model_copy(update={"backbone": farther})
    second = Profile(pair.path, spec, "", {})
    both = EngineByNoise(one, {NoiseKind.SMOOTHED: pair, NoiseKind.UNSMOOTHED: second}, lambda part: one)
    assert (both.info.halo, both.info.multiple) == (one.info.halo + 16, 12)


def test_a_tile_leaves_room_for_the_larger_network(pair: Profile) -> None:
    one = open_engine(pair, mode="denoise", engine="onnx")
    assert pair.unsmoothed
    assert one.info.room
    wide = pair.unsmoothed.spec.backbone.model_copy(update={"sizes": {**pair.spec.backbone.sizes, "channels": [64, 8]}})
    second = Profile(pair.path, pair.unsmoothed.spec.model_copy(update={"backbone": wide}), "", {})
    room = EngineByNoise(one, {NoiseKind.SMOOTHED: pair, NoiseKind.UNSMOOTHED: second}, lambda part: one).info.room
    assert room
    assert room < one.info.room / 2


def test_the_second_profile_has_a_path_inside_the_first(pair: Profile) -> None:
    assert pair.unsmoothed
    assert load_profile(pair.unsmoothed.path).sha256 == pair.unsmoothed.sha256


@pytest.mark.parametrize(("light", "file"), [("encoded", "white.nsp"), ("linear", "unsmoothed.nsp")])
def test_noise_of_light_is_not_white_once_it_went_through_a_curve(
    three: Profile, monkeypatch: pytest.MonkeyPatch, light: str, file: str
) -> None:
    opened = []

    def opener(profile: Profile, mode: str) -> Engine:
        opened.append(profile.path.name)
        return open_engine(profile, mode=mode, engine="onnx")

    level = NoiseLevel(
        np.linspace(0, 1, 8, dtype=np.float32), np.full((8, 3), 1e-3, np.float32), TABLES["white"][0].T ** 2
    )
    monkeypatch.setattr(photo, "estimate_noise", lambda pixels: level)
    engine = open_profile_engine(three, "denoise", "auto", opener)
    frame = frame_of(np.random.default_rng(2).random((64, 64, 3), dtype=np.float32))
    photo.denoise_frame(frame, engine, photo.InferenceSettings(light=light))
    assert opened == ["three.nsp", file]


@pytest.mark.parametrize("kind", TABLES)
def test_tile_size_does_not_change_a_photo(
    pair: Profile, engine: Engine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = NoiseLevel(
        np.linspace(0, 1, 8, dtype=np.float32), np.full((8, 3), 1e-3, np.float32), TABLES[kind][0].T ** 2
    )
    monkeypatch.setattr(photo, "estimate_noise", lambda pixels: level)
    frame = frame_of(np.random.default_rng(2).random((150, 202, 3), dtype=np.float32))
    whole, tiled = (
        photo.denoise_frame(frame, engine, photo.InferenceSettings(tile=tile)).frame.pixels for tile in (512, 64)
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_pd_is_refused_as_of_any_student(pair: Profile) -> None:
    with pytest.raises(UsageError, match="has no PD"):
        open_profile_engine(pair, "denoise", "on", lambda profile, mode: open_engine(profile, mode=mode))


def test_a_check_of_the_profile_runs_both(pair: Profile) -> None:
    assert {"model.onnx", f"{UNSMOOTHED_FILE}: model.onnx"} <= verify_profile(pair).keys()


def test_another_kind_of_network_cannot_be_the_second(tmp_path: Path) -> None:
    backbone = {"name": "unet", "sizes": {"noise_conditioned": False}, "multiple": 4, "halo": 20}
    pair = write_pair(tmp_path, backbone={**backbone, "scale": 2, "tiling": "exact"})
    with pytest.raises(ProfileError, match=r"unsmoothed\.nsp: it is another kind of network"):
        open_profile_engine(pair, "denoise", "auto", lambda profile, mode: open_engine(profile, mode=mode))


def test_a_second_profile_that_is_cut_short_is_named(pair: Profile, tmp_path: Path) -> None:
    fields = pair.spec.model_dump(exclude={"schema_version", "files"})
    damaged = {**pair.content, UNSMOOTHED_FILE: pair.content[UNSMOOTHED_FILE][:-200]}
    write_profile(tmp_path / "short.nsp", fields, damaged)
    with pytest.raises(ProfileError, match=r"short\.nsp/unsmoothed\.nsp: the profile is damaged"):
        nsp.Denoiser(load_profile(tmp_path / "short.nsp"))


def test_a_copy_is_whole(pair: Profile, tmp_path: Path) -> None:

    copied = copy_profile(pair, tmp_path / "folder").unsmoothed
    assert copied
    assert pair.unsmoothed
    assert copied.sha256 == pair.unsmoothed.sha256


def test_it_goes_by_its_own_name_though_its_graph_is_another_profile_s(pair: Profile, tmp_path: Path) -> None:
    fields = pair.spec.model_dump(exclude={"schema_version", "files"})
    mine = write_profile(tmp_path / "mine.nsp", {**fields, "name": "mine"}, pair.content)
    assert open_engine(mine, mode="denoise", engine="onnx").info.profile == "mine"
