"""How close a profile brings noisy photos to their ground truth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.evaluation.metrics import SMALLEST_SIDE, psnr, ssim, to_eight_bit


class NoisyAndClean(Protocol):
    """A noisy picture and its ground truth, wherever they are stored; `str()` says where."""

    @property
    def name(self) -> str:
        """What the pair is called."""
        ...

    @property
    def group(self) -> str:
        """Name of the photo that the pair is a part of; means are taken over photos."""
        ...

    def load(self) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        """Noisy and clean pixels, (H, W, C) each; raises PhotoError."""
        ...


@dataclass(frozen=True)
class Score:
    """PSNR in dB (infinite for equal photos) and SSIM, of 8-bit photos."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Measured:
    """One pair: the noisy photo's score, the denoised photo's, and seconds per megapixel of inference.

    Where the mode enlarges, the noisy photo's score is that of its bicubic enlargement, and the strength is 1.
    """

    name: str
    group: str
    noisy: Score
    denoised: Score
    strength: float
    seconds_per_megapixel: float


def measure_pairs(
    pairs: Sequence[NoisyAndClean],
    engine: Engine,
    settings: InferenceSettings,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
    on_failure: Callable[[PhotoError], None] | None = None,
    known: Callable[[NoisyAndClean], NoisePrior | None] = lambda pair: None,
) -> Iterator[Measured]:
    """Denoise the noisy photo of every pair in memory, as `nsp denoise` would, and compare with the clean one.

    Args:
        on_pair: called with (pairs done, pairs in all).
        on_failure: called with the reason for a pair that cannot be read; without it, the first one ends it all.
        known: what the profile knows of a pair's noise beforehand.

    Raises:
        PhotoError: a photo cannot be read.
        UsageError: the photos of a pair do not fit each other.
    """
    for done, pair in enumerate(pairs):
        on_pair(done, len(pairs))
        try:
            noisy, clean = pair.load()
        except PhotoError as error:
            if on_failure is None:
                raise
            on_failure(error)
            continue
        require_aligned(pair, noisy, clean, engine.info.scale)
        yield _measure(pair, (noisy, clean), engine, settings, known(pair))
    on_pair(len(pairs), len(pairs))


def mean(scores: Sequence[Score]) -> Score:
    """Return the mean over photos, as data sets report it."""
    return Score(sum(score.psnr for score in scores) / len(scores), sum(score.ssim for score in scores) / len(scores))


def _measure(
    pair: NoisyAndClean,
    pixels: tuple[NDArray[np.generic], NDArray[np.generic]],
    engine: Engine,
    settings: InferenceSettings,
    known: NoisePrior | None,
) -> Measured:
    noisy, clean = pixels
    result = denoise_pixels(noisy, engine, settings, known)
    truth = to_eight_bit(clean)
    return Measured(
        name=pair.name,
        group=pair.group,
        noisy=score(_enlarged(to_eight_bit(noisy), engine.info.scale), truth),
        denoised=score(to_eight_bit(result.pixels), truth),
        strength=result.strength,
        seconds_per_megapixel=result.seconds / (noisy.shape[0] * noisy.shape[1] / 1e6),
    )


def score(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Score:
    """PSNR and SSIM of a picture (H, W, C) against the truth."""
    return Score(psnr(picture, truth), ssim(picture, truth))


def require_aligned(pair: NoisyAndClean, noisy: NDArray[np.generic], clean: NDArray[np.generic], scale: int) -> None:
    """Raise UsageError unless the clean photo is `scale` times as large as the noisy one, and large enough for SSIM."""
    height, width, channels = noisy.shape
    if clean.shape != (height * scale, width * scale, channels):
        wanted = "a pair must be aligned" if scale == 1 else f"the clean one must be {scale} times larger in this mode"
        raise UsageError(f"{pair}: the noisy photo is {_size(noisy)} and the clean one {_size(clean)}; {wanted}")
    if min(clean.shape[:2]) < SMALLEST_SIDE:
        raise UsageError(f"{pair}: the photos are {_size(clean)}; SSIM needs {SMALLEST_SIDE} pixels on either side")


def _size(pixels: NDArray[np.generic]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]} {'grey' if pixels.shape[2] == 1 else 'RGB'}"


def _enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    if scale == 1:
        return picture
    height, width, channels = picture.shape
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    larger = image.resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.asarray(larger, dtype=np.uint8).reshape(height * scale, width * scale, channels)
