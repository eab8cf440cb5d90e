"""Other denoisers on the same photos, each as good as it can be made: where it has a strength, several are tried."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nsp_pipeline.errors import MissingCapabilityError, UsageError
from nsp_pipeline.evaluation.measure import NoisyAndClean
from nsp_pipeline.evaluation.rivals.programs import (
    DARKTABLE_METHODS,
    Picture,
    require_program,
    through_darktable,
    through_rawtherapee,
)
from nsp_pipeline.noise.estimate import estimate_noise

Denoiser = Callable[[Picture], Picture]

NLM_STRENGTHS = (2, 3, 5, 7, 10, 14, 20, 28)
RAWTHERAPEE_LUMA = (20, 40, 60, 80, 100)
TRIAL_SIDE = 256
"""Of the picture that shows whether a rival runs: RawTherapee now and then crashes on one of 64."""

DARKTABLE_STRENGTHS = (0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Variant:
    """A denoiser with one setting; `run` takes and gives (H, W, 3) uint8."""

    setting: str
    run: Denoiser = field(compare=False)
    run_on: Callable[[NoisyAndClean], Denoiser] | None = field(default=None, compare=False)
    """What takes the place of `run` on a pair whose file says more than its pixels do."""

    def on(self, pair: NoisyAndClean) -> Denoiser:
        """What denoises a pair's noisy photo; raises PhotoError where its file cannot be asked."""
        return self.run_on(pair) if self.run_on else self.run


@dataclass(frozen=True)
class Rival:
    """A denoiser and its settings, of which the best one represents it."""

    name: str
    variants: tuple[Variant, ...]


def find_rival(name: str) -> Rival:
    """Prepare a rival by its name, one of RIVALS.

    Raises:
        UsageError: there is none of that name.
        MissingCapabilityError: it is not installed here.
    """
    if name not in RIVALS:
        raise UsageError(f"--against {name}: choose one of {', '.join(RIVALS)}, or name a profile")
    return Rival(name, RIVALS[name]())


def timed(run: Denoiser, noisy: Picture) -> tuple[Picture, float]:
    """Denoise, and say how many seconds it took."""
    begun = time.perf_counter()
    return run(noisy), time.perf_counter() - begun


def _non_local_means() -> tuple[Variant, ...]:
    """OpenCV's, in colour, one strength for luma and chroma."""
    try:
        import cv2
    except ImportError as error:
        raise MissingCapabilityError(f"OpenCV is not installed ({error}): pip install opencv-python-headless") from None

    def at(strength: int) -> Denoiser:
        # Its channel order does not matter: it turns BGR to Lab, so red and blue are swapped going in and out.
        def run(noisy: Picture) -> Picture:
            swapped = np.ascontiguousarray(noisy[..., ::-1])
            found = cv2.fastNlMeansDenoisingColored(swapped, None, strength, strength)
            return np.asarray(found, dtype=np.uint8)[..., ::-1]

        return run

    return tuple(Variant(f"h {strength}", at(strength)) for strength in NLM_STRENGTHS)


def _bm3d() -> tuple[Variant, ...]:
    """BM3D (Dabov et al. 2007) in colour, given the noise measured in the photo."""
    try:
        from bm3d import bm3d_rgb
    except ImportError as error:
        raise MissingCapabilityError(f"BM3D is not installed ({error}): pip install bm3d") from None

    def run(noisy: Picture) -> Picture:
        sigma = max(estimate_noise(noisy).sigma, 0.1) / 255
        found = np.clip(bm3d_rgb(noisy / 255.0, sigma), 0, 1)
        return np.asarray(np.rint(found * 255), dtype=np.uint8)

    return (Variant("measured noise", run),)


def _rawtherapee() -> tuple[Variant, ...]:
    """RawTherapee's noise reduction in Lab, colour at its default."""
    program = require_program("rawtherapee-cli", "RawTherapee")

    def at(luma: int) -> Denoiser:
        return lambda noisy: through_rawtherapee(program, noisy, luma)

    return tuple(Variant(f"luma {luma}", at(luma)) for luma in RAWTHERAPEE_LUMA)


def _darktable() -> tuple[Variant, ...]:
    """Return the settings of darktable's "denoise (profiled)": both methods, at several strengths."""
    program = require_program("darktable-cli", "darktable")

    def at(method: str, strength: float) -> Denoiser:
        return lambda noisy: through_darktable(program, noisy, method, strength)

    return tuple(
        Variant(f"{method} {strength:g}", at(method, strength))
        for method in DARKTABLE_METHODS
        for strength in DARKTABLE_STRENGTHS
    )


RIVALS: dict[str, Callable[[], tuple[Variant, ...]]] = {
    "nlm": _non_local_means,
    "bm3d": _bm3d,
    "rawtherapee": _rawtherapee,
    "darktable": _darktable,
}


def available_rivals() -> tuple[list[Rival], list[str]]:
    """Return all rivals that are installed and run, and the reason for each other; known before hours of work."""
    found, missing = [], []
    trial = np.random.default_rng(0).integers(100, 140, (TRIAL_SIDE, TRIAL_SIDE, 3), np.uint8)
    for name in RIVALS:
        try:
            rival = find_rival(name)
            rival.variants[0].run(trial)
            found.append(rival)
        except MissingCapabilityError as error:
            missing.append(str(error))
    return found, missing


def best(means: Sequence[float]) -> int:
    """Return the index of the setting with the highest mean PSNR, as if its user had the clean photo."""
    return int(np.argmax(means))
