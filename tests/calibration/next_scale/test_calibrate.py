"""From photos to a profile: what it holds and says."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from noisy_photos import save_archive

from nsp_pipeline.calibration.next_scale.calibrate import calibrate
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.publish import Origin
from nsp_pipeline.calibration.training.photos import load_photos
from nsp_pipeline.errors import NspError, OutputError
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, load_profile
from nsp_pipeline.profiles.spec import InferenceSpec

ORIGIN = Origin("my photos of the night", "CC0-1.0")
SETTINGS = NextScaleSettings(base_channels=4, modules=1, crop=20, batch=2, steps=4, pd_factor=1)


class Exports:
    """Stands for the export package: remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Backbone, str, int, Mapping[str, str]]] = []

    def __call__(self, network: Backbone, mode: str, inference: InferenceSpec, metadata: Mapping[str, str]) -> bytes:
        self.calls.append((network, mode, inference.pd_factor, metadata))
        return f"graph of {mode}".encode()


def made(folder: Path, count: int, exports: Exports, iso: int | None = None, **changes: object) -> Profile:
    paths = find_photos([save_archive(folder / "in", count, iso=iso)]).paths
    photos = load_photos(paths, smallest_side=20, memory=1 << 30, seed=0)
    settings = SETTINGS.model_copy(update=changes)
    profile = calibrate(photos, settings, folder / "night.nsp", origin=ORIGIN, make_onnx=exports)
    assert profile is not None
    return profile


def test_the_profile_loads_and_holds_the_network_that_was_exported(tmp_path: Path) -> None:
    exports = Exports()
    made(tmp_path, 12, exports, iso=800)
    profile = load_profile(tmp_path / "night.nsp")
    spec = profile.spec
    network = load_backbone(spec.backbone.name, spec.backbone.sizes, profile.read(WEIGHTS_FILE))

    exported = exports.calls[0][0]
    assert all(torch.equal(value, exported.state_dict()[key]) for key, value in network.state_dict().items())
    assert [(mode, factor) for _, mode, factor, _ in exports.calls] == [(mode, 1) for mode in MODEL_FILES]
    for _, mode, _, metadata in exports.calls:
        assert metadata == {"profile": "night", "sha256": sha256(profile.read(WEIGHTS_FILE)).hexdigest()}
        assert profile.read(MODEL_FILES[mode]) == f"graph of {mode}".encode()
    assert (spec.backbone.halo, spec.backbone.scale, spec.backbone.multiple) == (network.halo, 2, 1)


def test_it_says_what_camera_it_is_for_and_how_it_was_made(tmp_path: Path) -> None:
    spec = made(tmp_path, 12, Exports(), iso=800).spec
    assert (spec.name, spec.camera_make, spec.camera_model) == ("night", "Maker", "Maker One")
    assert (spec.iso_min, spec.iso_max) == (800, 1900)
    assert spec.pairs is not None
    assert (spec.pairs.s, spec.pairs.t, spec.pairs.n, spec.pairs.strategy) == (5, 2, 1, "consecutive")
    assert spec.inference.pd_factor == 1
    assert spec.training.steps == 4
    assert NextScaleSettings.model_validate(spec.training.settings) == SETTINGS
    assert (spec.data.origin, spec.data.licence, spec.data.photos) == (ORIGIN.description, "CC0-1.0", 11)
    assert spec.scores.held_out_photos == 1
    assert spec.scores.noisy_l1 is not None
    assert 0 < spec.scores.noisy_l1 < 1


def test_the_card_says_the_same_in_words(tmp_path: Path) -> None:
    card = made(tmp_path, 12, Exports(), iso=800).read(CARD_FILE).decode()
    for words in ("# night", "**Maker One**", "ISO 800 to 1900", "my photos of the night", "CC0-1.0", "- crop: 20"):
        assert words in card, words


def test_without_metadata_and_held_out_photos_it_says_so(tmp_path: Path) -> None:
    profile = made(tmp_path, 1, Exports(), pd_factor=None)
    spec, card = profile.spec, profile.read(CARD_FILE).decode()
    assert (spec.camera_model, spec.iso_min, spec.iso_max) == (None, None, None)
    assert (spec.scores.held_out_photos, spec.scores.noisy_l1, spec.data.photos) == (0, None, 1)
    assert spec.inference.pd_factor == 2, "PD by t, as the paper does"
    assert "several cameras" in card
    assert "o photo could be kept out of training, so there is no score" in card


def test_a_graph_that_does_not_agree_leaves_no_profile(tmp_path: Path) -> None:
    def disagree(*args: object) -> bytes:
        raise NspError("the exported graph differs")

    photos = load_photos(
        find_photos([save_archive(tmp_path / "in", 1)]).paths, smallest_side=20, memory=1 << 30, seed=0
    )
    with pytest.raises(NspError, match="differs"):
        calibrate(photos, SETTINGS, tmp_path / "out" / "night.nsp", origin=ORIGIN, make_onnx=disagree)
    assert not list(tmp_path.glob("out/*"))


def test_an_existing_profile_is_kept(tmp_path: Path) -> None:
    (tmp_path / "night.nsp").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="exists already"):
        made(tmp_path, 1, Exports())
    assert (tmp_path / "night.nsp").read_bytes() == b"theirs"
