"""What photos decide of the student that a calibration ends in: where it starts from, and how large crops are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nsp_pipeline.calibration.student.own_noise import smallest_side
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.photos import Photo, PhotoSet, too_few
from nsp_pipeline.core.noise_kind import noise_kind
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile

LEAST_CROP, STEP = 64, 16
"""Crops are no smaller, and their sides are multiples of the other, in pixels."""

FITTING = 0.75
"""Crops are as small as makes this share of the photos serve; those that are smaller still are left out."""

ASKED = 12
"""Photos, evenly over all, whose noise says which network suits them."""


def start_for(start: Profile, photos: Sequence[Photo]) -> Profile:
    """The network of a profile that would denoise most of these photos: the profile itself, or one that it holds.

    What is trained further must be what the photos are made with. A network inside comes under the profile's name.
    """
    known = start.by_noise
    if len(known) == 1:
        return start
    asked = photos[:: -(-len(photos) // ASKED)]
    kinds = Counter(noise_kind(estimate_noise(photo.pixels).table, known) for photo in asked)
    suited = known[max(known, key=kinds.__getitem__)]
    return suited if suited is start else replace(suited, spec=suited.spec.model_copy(update={"name": start.name}))


def settings_for(start: Profile, settings: StudentSettings, photos: PhotoSet, *, unsmoothed: bool) -> StudentSettings:
    """Settings with the sizes of the network that training starts from, and crops that most of the photos hold.

    Simulated noise is such as the network learnt from: `unsmoothed` says whether nobody has smoothed that.
    """
    sides = sorted((_shorter(photo) for photo in [*photos.training, *photos.held_out]), reverse=True)
    side = sides[int(FITTING * (len(sides) - 1))]
    crop = settings.crop
    while crop - STEP >= LEAST_CROP and smallest_side(crop) > side:
        crop -= STEP
    sizes = start.spec.backbone.sizes
    fields = {**sizes, "crop": crop, "self_ensemble": start.spec.inference.self_ensemble}
    fields |= {"simulated_noise": "any"} if unsmoothed else {}
    return StudentSettings.model_validate({**settings.model_dump(), **fields})


def large_enough(photos: PhotoSet, settings: StudentSettings) -> PhotoSet:
    """The photos that hold a crop; the others are refused. Raises UsageError where none is left to train on."""
    least = smallest_side(settings.crop)
    too_small = [photo for photo in [*photos.training, *photos.held_out] if _shorter(photo) < least]
    refused = [str(PhotoError(photo.path, too_few(photo.pixels.shape, least))) for photo in too_small]
    training, held_out = (
        [photo for photo in part if _shorter(photo) >= least] for part in (photos.training, photos.held_out)
    )
    if not training:
        raise UsageError("no photo to calibrate on:\n  " + "\n  ".join(refused[:5]))
    return replace(photos, training=training, held_out=held_out, refused=[*photos.refused, *refused])


def _shorter(photo: Photo) -> int:
    return int(min(photo.pixels.shape[:2]))
