"""The noise of every group of photos, and the settings of the method that follow from it."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.calibration.archive.one_name import of_several_makers
from nsp_pipeline.core.camera_noise import CameraNoise, camera_noise
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_field import NoiseField, measure_field
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.core.pair_choice import NoiseError, choose_pd, choose_s
from nsp_pipeline.core.patches import Patches, cut_patches
from nsp_pipeline.core.spread import spread
from nsp_pipeline.core.usual_noise import with_usual
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.noise.estimate import estimate_noise

Item = TypeVar("Item")

MOST_PATCHES = 10_000
"""Patches that a measurement rests on at most: about 120 MB of them in colour."""

MOST_ESTIMATED = 40
"""Photos whose noise is estimated for a camera: a quarter of a second each."""

READERS = 2
"""Photos decoded at once: each takes its whole size in memory."""

TOO_LITTLE = "too little of these photos is flat and unclipped to measure their noise"


@dataclass(frozen=True)
class Advice:
    """What the noise of photos says of s for training and the PD factor for inference, or why it says nothing."""

    s: int | None = None
    pd_factor: int | None = None
    trouble: str | None = None


def advise(noise: NoiseField | None) -> Advice:
    """Choose s and PD from measured noise; None stands for photos that could not be measured."""
    if noise is None:
        return Advice(trouble=TOO_LITTLE)
    try:
        return Advice(choose_s(noise), choose_pd(noise))
    except NoiseError as error:
        return Advice(trouble=str(error))


def measure_groups(
    groups: Sequence[Group],
    samples: int,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
    by: float | None = None,
) -> tuple[list[Group], list[PhotoError]]:
    """Measure the noise of each group on some of its photos, evenly over the group.

    Args:
        groups: of `group_photos`.
        samples: photos to take of each, at most.
        on_photo: called with (photos measured, photos in all).
        by: when to be done with it (`time.monotonic`): groups that come after it keep what noise they have.

    Returns:
        The groups with their `noise`, `sigma` and `estimate`, and the photos that turned out not to be readable, which
        are left out of their groups.
    """
    total = sum(min(samples, len(group.paths)) for group in groups)
    done, measured, refused = 0, [], []
    for group in groups:
        if by is not None and time.monotonic() > by:
            measured.append(group)
            continue
        chosen = _evenly(group.paths, samples)

        def counted(count: int, _: int, before: int = done) -> None:
            on_photo(before + count, total)

        cut, levels, failed = _look_at_photos(chosen, counted)
        left_out = {error.path for error in failed}
        paths = tuple(path for path in group.paths if path not in left_out)
        if paths:
            found = replace(
                group, paths=paths, noise=measure_patches(cut), sigma=_median_sigma(levels), estimate=_together(levels)
            )
            measured.append(found)
        refused += failed
        done += len(chosen)
    return measured, refused


def _look_at_photos(
    paths: Sequence[Path], on_photo: Callable[[int, int], None]
) -> tuple[list[Patches], list[NoiseLevel], list[PhotoError]]:
    """Patches of each photo, what the estimator says of it, and the photos that cannot be read."""
    most = MOST_PATCHES // max(1, len(paths))
    cut: list[Patches] = []
    levels: list[NoiseLevel] = []
    refused = []
    readers = ThreadPoolExecutor(READERS)
    try:
        for done, found in enumerate(readers.map(lambda path: _look_at(path, most), paths), 1):
            if isinstance(found, PhotoError):
                refused.append(found)
            else:
                cut.append(found[0])
                levels.append(found[1])
            on_photo(done, len(paths))
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
    return cut, levels, refused


def _median_sigma(levels: Sequence[NoiseLevel]) -> float | None:
    """Of what is found in each photo by itself, with what cameras usually leave."""
    found = [level if level.unsure is None else with_usual(level) for level in levels]
    return float(np.median([level.sigma for level in found])) if found else None


def _together(levels: Sequence[NoiseLevel]) -> NoisePrior | None:
    """What the estimator says of photos that have their noise in common; None where they have none.

    Together they tell what their camera leaves, so that what cameras usually leave has no say in it.
    """
    known = camera_noise([(None, level) for level in levels])
    return known.at(None) if known else None


def measure_pixels(photos: Sequence[NDArray[np.generic]], samples: int) -> NoiseField | None:
    """Measure the noise that photos (H, W, C) of as many channels have in common, on some of them, evenly chosen."""
    chosen = _evenly(photos, samples)
    return measure_patches([cut_patches(pixels, MOST_PATCHES // len(chosen)) for pixels in chosen])


def camera_noise_of(
    photos: Sequence[tuple[Camera, NDArray[np.generic]]], by: float | None = None
) -> CameraNoise | None:
    """What photos of one camera say of its noise, by ISO, as it is known of its next photo.

    Args:
        photos: who made them, and their pixels (H, W, 3) as stored. Of many, some are looked at, evenly chosen.
        by: when to be done with it (`time.monotonic`): those that are not looked at by then are left out, but for one.

    Photos that name no camera are left out where others name theirs. Cameras go by the user's names for them.

    Returns None where they are of several cameras, or show no noise, as values beyond 0..1 and light do. Raises
    UsageError where the user's table of names is broken.
    """
    aliases = read_aliases(aliases_file())
    named = [(camera_name(camera, aliases), camera.iso, pixels) for camera, pixels in photos]
    cameras = {name for name, _, _ in named if name}
    if len(cameras) > 1 or of_several_makers((camera for camera, _ in photos), aliases):
        return None
    seen = [
        (iso, pixels) for name, iso, pixels in named if pixels.dtype.kind == "u" and (name in cameras or not cameras)
    ]
    found = []
    for iso, pixels in spread(_evenly(seen, MOST_ESTIMATED)):
        found.append((iso, estimate_noise(pixels, usual=False)))
        if by is not None and time.monotonic() > by:
            break
    return camera_noise(found)


def measure_patches(cut: Sequence[Patches]) -> NoiseField | None:
    """Measure the noise that photos have in common, of those with the number of channels that most have."""
    counts = [patches.mean.shape[1] for patches in cut]
    usual = max(set(counts), key=counts.count, default=0)
    alike = [patches for patches, count in zip(cut, counts, strict=True) if count == usual]
    return measure_field(alike) if alike else None


def noise_spec(noise: NoiseField) -> list[dict[str, object]]:
    """Measured noise as `profile.json` and documents have it, channel by channel."""
    return [
        {
            "a": curve.a,
            "b": curve.b,
            "straight": curve.straight,
            "brightness": curve.knots.x.round(5).tolist(),
            "variance": curve.knots.y.tolist(),
        }
        for curve in noise.curves
    ]


def noise_fields(noise: NoiseField | None) -> dict[str, object]:
    """What `profile.json` says of measured noise: the channels, and what pixels share with others."""
    return {
        "noise": noise_spec(noise) if noise else None,
        "noise_correlation": [round(float(shared), 4) for shared in noise.by_lag] if noise else None,
    }


def _look_at(path: Path, most: int) -> tuple[Patches, NoiseLevel] | PhotoError:
    try:
        pixels = read_frame(path).pixels
    except PhotoError as error:
        return error
    return cut_patches(pixels, most), estimate_noise(pixels, usual=False)


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    return [items[int(place)] for place in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round())]
