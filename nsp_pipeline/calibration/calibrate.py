"""From a set of noisy photos to a profile bundle: load, train, export, write."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch

from nsp_pipeline import __version__
from nsp_pipeline.calibration.card import profile_card
from nsp_pipeline.calibration.photos import Photo, PhotoSet
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.calibration.train import Progress, Trained, train
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, write_profile

MakeOnnx = Callable[[Backbone, str, int, Mapping[str, str]], bytes]
"""(network, mode, PD factor, metadata) -> checked ONNX file; handed in, as export is a package of its own."""


@dataclass(frozen=True)
class Origin:
    """What a profile must say of its photos: where they come from and on what terms the weights may be used."""

    description: str
    licence: str


def calibrate(
    photos: PhotoSet,
    settings: TrainingSettings,
    target: Path,
    *,
    origin: Origin,
    make_onnx: MakeOnnx,
    device: str = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Profile:
    """Train on the photos and write a profile to `target` (a folder, or a zip when it ends in `.nsp`).

    When `should_stop` says so the profile holds the network so far.

    Raises:
        OutputError: the target exists or cannot be written.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    trained = train(
        [photo.pixels for photo in photos.training],
        [photo.pixels for photo in photos.held_out],
        settings,
        device=device,
        should_stop=should_stop,
        on_step=on_step,
    )
    name = target.name.removesuffix(".nsp")
    weights = safetensors.torch.save({key: tensor.contiguous() for key, tensor in trained.network.state_dict().items()})
    fields = _spec_fields(name, photos, settings, trained, origin)
    factor = settings.pd_factor or settings.t
    metadata = {"profile": name, "sha256": hashlib.sha256(weights).hexdigest()}
    files = {MODEL_FILES[mode]: make_onnx(trained.network, mode, factor, metadata) for mode in MODEL_FILES}
    files[WEIGHTS_FILE] = weights
    files[CARD_FILE] = profile_card(fields).encode()
    return write_profile(target, fields, files)


def _spec_fields(
    name: str, photos: PhotoSet, settings: TrainingSettings, trained: Trained, origin: Origin
) -> dict[str, object]:
    everything = [*photos.training, *photos.held_out]
    network = trained.network
    return {
        "name": name,
        "camera_make": _only([photo.camera.make for photo in everything]),
        "camera_model": _only([photo.camera.model for photo in everything]),
        **_iso_range(everything),
        "pairs": {"s": settings.s, "t": settings.t, "n": settings.n, "strategy": str(settings.strategy)},
        "inference": {"pd_factor": settings.pd_factor or settings.t},
        "backbone": {
            "name": settings.backbone,
            "sizes": settings.backbone_sizes,
            "multiple": network.multiple,
            "halo": network.halo,
            "scale": network.scale,
            "tiling": network.tiling,
        },
        "training": {
            "settings": settings.model_dump(mode="json"),
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "version": __version__,
        },
        "scores": {"held_out_photos": len(photos.held_out), "noisy_l1": trained.held_out_loss},
        "data": {"origin": origin.description, "licence": origin.licence, "photos": len(photos.training)},
    }


def _only(values: Sequence[str | None]) -> str | None:
    """The value that all share, or None."""
    return values[0] if len(set(values)) == 1 else None


def _iso_range(photos: Sequence[Photo]) -> dict[str, int | None]:
    isos = [photo.camera.iso for photo in photos if photo.camera.iso]
    return {"iso_min": min(isos, default=None), "iso_max": max(isos, default=None)}
