"""From a set of noisy photos to a profile bundle: load, train, export, write."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch

from nsp_pipeline import __version__
from nsp_pipeline.calibration.card import profile_card
from nsp_pipeline.calibration.judge import Verdict, compare
from nsp_pipeline.calibration.next_scale import NextScaleLesson
from nsp_pipeline.calibration.photos import Photo, PhotoSet
from nsp_pipeline.calibration.ranks import Ranks
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.calibration.train import Progress, Trained, device_of, train
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, write_profile

MakeOnnx = Callable[[Backbone, str, int, Mapping[str, str]], bytes]
"""(network, mode, PD factor, metadata) -> checked ONNX file; handed in, as export is a package of its own."""


@dataclass(frozen=True)
class Origin:
    """What a profile must say of its photos: where they come from and on what terms the weights may be used."""

    description: str
    licence: str


@dataclass(frozen=True)
class Course:
    """How a training is run, apart from what decides its result: where, how long, from which checkpoint."""

    device: str = "cpu"
    folder: Path | None = None
    """Existing folder for checkpoints, log and pictures; None keeps none."""
    resume: bool = False
    max_seconds: float | None = None
    ranks: Ranks = field(default_factory=Ranks)


def calibrate(
    photos: PhotoSet,
    settings: TrainingSettings,
    target: Path,
    *,
    origin: Origin,
    make_onnx: MakeOnnx,
    base: Profile | None = None,
    course: Course | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_trouble: Callable[[str], None] = lambda message: None,
) -> Profile | None:
    """Train on the photos and write a profile to `target` (a folder, or a zip when it ends in `.nsp`).

    With a base, the new weights are taken only if they beat the base's on held-out photos by more than two standard
    errors; otherwise the profile holds the base's weights, and says so. When `should_stop` says so the profile holds
    the network so far. Returns None in all processes of a training but the first, which writes.

    Raises:
        OutputError: the target exists or cannot be written.
        UsageError: the base is of another backbone or other sizes than the settings; or see `train`.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    course = course or Course()
    device = device_of(course.device, course.ranks)
    lesson = NextScaleLesson(
        [photo.pixels for photo in photos.training], [photo.pixels for photo in photos.held_out], settings, device
    )
    trained = train(
        lesson,
        settings,
        base=_base_network(base, settings) if base else None,
        device=device,
        max_seconds=course.max_seconds,
        folder=course.folder,
        resume=course.resume,
        ranks=course.ranks,
        should_stop=should_stop,
        on_step=on_step,
        on_trouble=on_trouble,
    )
    if not course.ranks.first:
        return None
    verdict = _verdict(trained, base)
    network = trained.network if base is None or (verdict and verdict.accepted) else _base_network(base, settings)
    name = target.name.removesuffix(".nsp")
    weights = safetensors.torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()})
    fields = {
        **_spec_fields(name, photos, settings, trained, origin),
        "scores": _scores(photos, trained, verdict, base),
    }
    factor = settings.pd_factor or settings.t
    metadata = {"profile": name, "sha256": hashlib.sha256(weights).hexdigest()}
    files = {MODEL_FILES[mode]: make_onnx(network, mode, factor, metadata) for mode in MODEL_FILES}
    files[WEIGHTS_FILE] = weights
    files[CARD_FILE] = profile_card(fields).encode()
    return write_profile(target, fields, files)


def _base_network(base: Profile, settings: TrainingSettings) -> Backbone:
    spec = base.spec.backbone
    wanted = {"backbone": settings.backbone, **settings.backbone_sizes}
    given = {"backbone": spec.name, **spec.sizes}
    if json.loads(json.dumps(wanted)) != given:
        other = ", ".join(f"{key} {given.get(key)}" for key in wanted if wanted[key] != given.get(key))
        raise UsageError(f"base {base.path} is another network than the recipe asks for: it has {other}")
    return load_backbone(spec.name, spec.sizes, base.read(WEIGHTS_FILE))


def _verdict(trained: Trained, base: Profile | None) -> Verdict | None:
    """Compare with the base; None without one. With nothing held out, nothing speaks for the new weights."""
    if base is None:
        return None
    if trained.judgement is None or trained.base_judgement is None:
        return Verdict(False, 0.0, float("inf"), "no photo could be kept out of training to compare with the base")
    return compare(trained.judgement, trained.base_judgement)


def _scores(photos: PhotoSet, trained: Trained, verdict: Verdict | None, base: Profile | None) -> dict[str, object]:
    scores: dict[str, object] = {"held_out_photos": len(photos.held_out)}
    if found := trained.judgement:
        scores |= {"noisy_l1": found.l1, "noisy_mse": found.mean, "drift": found.drift}
        # JSON has no NaN: what could not be measured is left out.
        scores |= {name: value for name in ("leak", "edges") if math.isfinite(value := getattr(found, name))}
    if verdict and base:
        scores |= {"base": base.name, "accepted": verdict.accepted, "verdict": verdict.reason}
        if trained.base_judgement:
            scores["base_noisy_mse"] = trained.base_judgement.mean
    return scores


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
            "steps": trained.best_step,
            "seconds": round(trained.seconds, 1),
            "version": __version__,
        },
        "data": {"origin": origin.description, "licence": origin.licence, "photos": len(photos.training)},
    }


def _only(values: Sequence[str | None]) -> str | None:
    """The value that all share, or None."""
    return values[0] if len(set(values)) == 1 else None


def _iso_range(photos: Sequence[Photo]) -> dict[str, int | None]:
    isos = [photo.camera.iso for photo in photos if photo.camera.iso]
    return {"iso_min": min(isos, default=None), "iso_max": max(isos, default=None)}
