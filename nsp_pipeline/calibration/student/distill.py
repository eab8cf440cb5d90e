"""From clean photos, noisy photos and a teacher to a student's profile: load, train, export, write."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.archive.survey import camera_noise_of, noise_fields
from nsp_pipeline.calibration.publish import (
    InferenceChoice,
    MakeOnnx,
    Origin,
    about_photos,
    base_network,
    publish,
    require_judges,
)
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.calibration.student.any_noise_objective import AnyNoiseObjective
from nsp_pipeline.calibration.student.objective import JUDGED, Material, StudentObjective, Teacher, shrunk_to_sharp
from nsp_pipeline.calibration.student.own_noise import OwnNoiseObjective
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.loop import KNOWING_SHARE, Objective, RunOptions, Trained, train
from nsp_pipeline.calibration.training.photos import Photo, PhotoSet
from nsp_pipeline.calibration.training.shot_pairs import ShotPairs
from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.models.self_ensemble import FLIPS
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE, Profile
from nsp_pipeline.profiles.spec import InferenceSpec

MEASURED = 12
"""Photos whose noise is measured, so that what is simulated is like it."""

GREY = 0
"""The row of a noise table that holds the grey noise of pixels."""

AROUND, SIMULATED = 2.0, (0.3, 60.0)
"""Simulated noise goes from half of the least measured to twice the most, within these 8-bit steps."""


@dataclass(frozen=True)
class Sources:
    """What a student is made from.

    `noisy` photos want a teacher; without one they only serve shrunk, as sharp ones. `shots` are simulated ones.
    """

    clean: PhotoSet | None = None
    noisy: PhotoSet | None = None
    teacher: Profile | None = None
    shots: ShotStore | None = None

    def photos(self) -> list[Photo]:
        """All photos that are trained on."""
        return [photo for part in (self.clean, self.noisy) if part for photo in part.training]


def distill(
    sources: Sources,
    settings: StudentSettings,
    target: Path,
    *,
    origin: Origin,
    make_onnx: MakeOnnx,
    base: Profile | None = None,
    shot_pairs: ShotPairs | None = None,
    noise: NoiseField | None = None,
    around: Profile | None = None,
    run: RunOptions = RunOptions(),  # noqa: B008  frozen
    on_prepared: Callable[[int, int], None] = lambda done, total: None,
    on_trained: Callable[[Trained], None] = lambda trained: None,
) -> Profile | None:
    """Train a student and write its profile to `target` (a folder, or a zip when it ends in `.nsp`).

    With a base, the new weights are taken only if they beat the base's on held-out photos by more than two standard
    errors; its networks for other noise, if it has any, stay. The profile says the measured `noise` of the photos. A
    base that a profile `around` it holds for other noise becomes that again. Returns None in all processes of a
    training but the first, which writes.

    Args:
        on_trained: called in the first process with what was trained, before it is known whether it is taken.

    Raises:
        OutputError: the target exists or cannot be written.
        UsageError: the teacher is not a blind-spot network; or see `train`.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    start = base_network(base, settings) if base else None
    held_out = sum(len(part.held_out) for part in (sources.clean, sources.noisy) if part)
    require_judged(base, held_out, shot_pairs, settings)
    settings = _fitted(settings, sources.noisy)
    objective = _objective(sources, settings, start, run, on_prepared)
    # Before the training, which ends so that what is left of the time suffices to write the profile.
    camera_noise = _camera_noise(sources.noisy, run.prepared_by(KNOWING_SHARE)) if run.ranks.first else None
    trained = train(objective, settings, base=start, run=run)
    if not run.ranks.first:
        return None
    on_trained(trained)
    fields = student_fields(sources, origin, noise)
    return publish(
        target,
        trained,
        settings,
        fields,
        choose=lambda network: InferenceChoice(InferenceSpec(pd_factor=1, self_ensemble=settings.self_ensemble), {}),
        held_out_photos=held_out,
        base=base,
        shot_pairs=shot_pairs,
        make_onnx=make_onnx,
        camera_noise=camera_noise,
        around=around,
    )


def require_judged(
    base: Profile | None, held_out: int, shot_pairs: ShotPairs | None, settings: StudentSettings
) -> None:
    """Raise UsageError where so many photos kept out cannot say that a student beats its base; see require_judges."""
    otherwise = "start from nothing"
    if base and settings.noise_kinds == "photos":  # which always starts from a student
        otherwise = f"denoise with {base.name} as it is"
    require_judges(base, JUDGED if held_out else 0, shot_pairs, "three photos or more", otherwise)


def student_fields(sources: Sources, origin: Origin, noise: NoiseField | None = None) -> dict[str, object]:
    """What `profile.json` says of the photos that a student is made from, and of their noise."""
    return {
        # A student of one camera's photos is that camera's; one of clean photos serves any.
        **about_photos([*sources.noisy.training, *sources.noisy.held_out] if sources.noisy else []),
        "pairs": None,
        **noise_fields(noise),
        "data": {"origin": origin.description, "licence": origin.licence, "photos": len(sources.photos())},
        "development": sources.noisy.development if sources.noisy else None,
    }


def _objective(
    sources: Sources,
    settings: StudentSettings,
    start: Backbone | None,
    run: RunOptions,
    on_prepared: Callable[[int, int], None],
) -> Objective:
    """What the settings want to be learnt; raises UsageError when the photos do not suit it."""
    device = run.torch_device
    if settings.noise_kinds == "any":
        if sources.noisy or not sources.clean:
            raise UsageError('a recipe with noise_kinds = "any" learns from --clean photos and --shots: give no others')
        training, held_out = (
            [photo.pixels for photo in part] for part in (sources.clean.training, sources.clean.held_out)
        )
        return AnyNoiseObjective(training, held_out, settings, device, sources.shots)
    teacher = teacher_of(sources.teacher, device) if sources.teacher and sources.noisy else None
    if settings.noise_kinds == "photos":
        if sources.clean or sources.shots or not sources.noisy or start is None:
            raise UsageError(
                'a recipe with noise_kinds = "photos" trains a --base further on noisy PHOTOS: give these and no others'
            )
        training, held_out = (
            [photo.pixels for photo in part] for part in (sources.noisy.training, sources.noisy.held_out)
        )
        photos = training, held_out
        return OwnNoiseObjective(photos, settings, deepcopy(start), device, teacher, on_prepared, run.prepared_by())
    return StudentObjective(_material(sources, settings), settings, device, teacher, on_prepared, run.prepared_by())


def _fitted(settings: StudentSettings, noisy: PhotoSet | None) -> StudentSettings:
    """Let the noise that is simulated surround the photos' own, where the settings leave it to them."""
    if settings.noise_kinds == "photos":
        return settings
    photos = noisy.training[:: -(-len(noisy.training) // MEASURED)] if noisy else []
    tables = [estimate_noise(photo.pixels).table[0] for photo in photos]
    levels = [255 * float(table[GREY].max()) for table in tables if table[GREY].max() > 0]
    if not levels:
        return settings
    least, most = (float(np.clip(level, *SIMULATED)) for level in (min(levels) / AROUND, max(levels) * AROUND))
    least, most = settings.least_sigma or round(least, 2), settings.most_sigma or round(most, 2)
    if settings.least_sigma:
        most = max(least, most)
    return settings.model_copy(update={"least_sigma": min(least, most), "most_sigma": most})


def _camera_noise(noisy: PhotoSet | None, by: float | None) -> CameraNoise | None:
    """What noisy photos say of their camera; nothing where some are RAW, for a student does not say how developed."""
    if noisy is None or noisy.development:
        return None
    return camera_noise_of([(photo.camera, photo.pixels) for photo in [*noisy.training, *noisy.held_out]], by)


def _material(sources: Sources, settings: StudentSettings) -> Material:
    """Shrink photos until they are sharp and clean."""
    sharp: list[NDArray[np.uint8]] = []
    held_out: list[NDArray[np.uint8]] = []
    side = 2 * settings.crop
    for part, factor in ((sources.clean, settings.shrink), (sources.noisy, settings.shrink_noisy)):
        if part:
            sharp += shrunk_to_sharp([photo.pixels for photo in part.training], factor, side)
            held_out += shrunk_to_sharp([photo.pixels for photo in part.held_out], factor, side)
    noisy = [photo.pixels for photo in sources.noisy.training] if sources.noisy else []
    return Material(sharp, held_out, noisy, sources.shots)


def teacher_of(profile: Profile, device: str) -> Teacher:
    """Denoise as the profile does, averaged over the t² shifts of its PD grid, where it has one, and over flips."""
    spec = profile.spec
    network = load_backbone(spec.backbone.name, spec.backbone.sizes, profile.read(WEIGHTS_FILE)).to(device)
    if not network.blind:
        raise UsageError(f"{profile.path}: a teacher must be a blind-spot network, this is a {spec.backbone.name}")
    inference = spec.inference.model_copy(update={"shifted_grids": True})

    def denoise(image: torch.Tensor) -> torch.Tensor:
        estimates = [denoised(network, image.flip(flip), inference).flip(flip) for flip in FLIPS[4]]
        return torch.stack(estimates).mean(0).clamp(0, 1)

    return denoise
