"""How close a profile brings noisy photos to their ground truth."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nsp_pipeline.batch.infer import InferenceSettings, denoise_frame
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import UsageError
from nsp_pipeline.evaluation.metrics import psnr, ssim, to_eight_bit
from nsp_pipeline.evaluation.pairs import Pair
from nsp_pipeline.frames.read import read_frame


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM, of 8-bit photos."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Measured:
    """One pair: the noisy photo's score, the denoised photo's, and seconds per megapixel of inference."""

    name: str
    noisy: Score
    denoised: Score
    strength: float
    seconds_per_megapixel: float


def measure_pairs(
    pairs: Sequence[Pair],
    engine: Engine,
    settings: InferenceSettings,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Measured]:
    """Denoise the noisy photo of every pair in memory, as `nsp denoise` would, and compare with the clean one.

    Raises:
        PhotoError: a photo cannot be read.
        UsageError: the photos of a pair differ in size.
    """
    for done, pair in enumerate(pairs):
        on_pair(done, len(pairs))
        frame, truth = read_frame(pair.noisy), read_frame(pair.clean)
        if frame.pixels.shape != truth.pixels.shape:
            sizes = [f"{pixels.shape[1]}×{pixels.shape[0]}" for pixels in (frame.pixels, truth.pixels)]
            raise UsageError(f"{pair.noisy} is {sizes[0]} and {pair.clean} is {sizes[1]}; a pair must be aligned")
        begun = time.perf_counter()
        result = denoise_frame(frame, engine, settings)
        seconds = time.perf_counter() - begun
        clean = to_eight_bit(truth.pixels)
        noisy, denoised = (to_eight_bit(pixels) for pixels in (frame.pixels, result.frame.pixels))
        yield Measured(
            name=pair.name,
            noisy=Score(psnr(noisy, clean), ssim(noisy, clean)),
            denoised=Score(psnr(denoised, clean), ssim(denoised, clean)),
            strength=result.strength if result.strength is not None else 1.0,
            seconds_per_megapixel=seconds / (frame.pixels.shape[0] * frame.pixels.shape[1] / 1e6),
        )
    on_pair(len(pairs), len(pairs))


def mean(scores: Sequence[Score]) -> Score:
    """Mean over photos, as data sets report it."""
    return Score(sum(score.psnr for score in scores) / len(scores), sum(score.ssim for score in scores) / len(scores))
