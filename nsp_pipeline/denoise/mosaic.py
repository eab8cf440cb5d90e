"""A Bayer mosaic through a network that knows red, green and blue: twice, with each of the two greens."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.denoise.photo import InferenceSettings, Inferred, denoise_frame, noise_left
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.frames.dng.mosaic import as_rgb
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.noise.estimate import estimate_noise


def denoise_mosaic(
    frame: Frame,
    engine: Engine,
    settings: InferenceSettings,
    on_tile: Callable[[int, int], None] | None = None,
    on_smaller: Callable[[int], None] | None = None,
) -> Inferred:
    """Denoise the four planes (H/2, W/2, 4) of a Bayer mosaic; arguments and errors are those of `denoise_frame`.

    Red and blue are the means of both passes.
    """
    source = frame.metadata.source
    assert isinstance(source, RawSource)
    pictures = as_rgb(frame.pixels, source.mosaic)
    noises = noises_of([pixels for pixels, _ in pictures])
    result, passes = np.zeros_like(frame.pixels), []
    for number, (pixels, places) in enumerate(pictures):

        def on_part(done: int, total: int, number: int = number) -> None:
            if on_tile:
                on_tile(number * total + done, len(pictures) * total)

        seen = replace(frame, pixels=pixels)
        inferred = denoise_frame(seen, engine, settings, on_part, on_smaller, noise=noises[number])
        passes.append(inferred)
        for channel, place in enumerate(places):
            result[..., place] += inferred.frame.pixels[..., channel] / np.float32(_seen(place, pictures))
    return Inferred(
        frame=replace(frame, pixels=result),
        strength=float(np.mean([found.strength for found in passes])),
        noise_before=float(np.mean([found.noise_before for found in passes])),
        noise_after=float(np.mean([noise_left(found) for found in passes])),
        seen=(frame.pixels, result),
        most_brightened=max(found.most_brightened for found in passes),
    )


def noises_of(pictures: Sequence[NDArray[Any]]) -> list[NoiseLevel]:
    """The noise of each of a photo's pictures; they are brightened alike, or not at all, for their means are mixed."""
    noises = [estimate_noise(pixels) for pixels in pictures]
    if not any(noise.own_means for noise in noises):
        return noises
    bent = [noise for noise in noises if noise.brightening is not None]
    if 0 < len(bent) < len(noises):
        return [noise for noise in noises if noise.brightening is None][:1] * len(noises)
    change = _mean([noise.brightening for noise in bent])
    of_channels = _mean([noise.channel_brightening for noise in bent])
    return [replace(noise, brightening=change, channel_brightening=of_channels, own_means=True) for noise in noises]


def _mean(curves: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    there = [curve for curve in curves if curve is not None]
    return np.asarray(np.mean(there, 0), dtype=np.float32) if there else None


def _seen(place: int, pictures: list[tuple[NDArray[Any], tuple[int, ...]]]) -> int:
    """In how many of the pictures a plane is."""
    return sum(place in places for _, places in pictures)
