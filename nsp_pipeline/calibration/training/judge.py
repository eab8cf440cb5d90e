"""What is said of a network on held-out photos, and whether it beats another on the same ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.claim import NOTHING, Claim

LEAK_BELOW = 0.85
"""Residual over noise variance in flat places: lower means that the target's noise could be foreseen."""

STANDARD_ERRORS = 2.0

LEAST_GAIN = 0.05
"""In dB: what gains less by the first measure is no better, however sure that is. Photos gain a part of it."""

NOISE_LEFT = "what is left of the noise (RMS share)"
"""What is said of students that learn from simulated cameras."""


@dataclass(frozen=True)
class Judgement:
    """The errors of a network on held-out pairs.

    `mse` (N,) is its squared error per crop, values in 0..1, noise of the target included, and `l1` its mean absolute
    error. `drift` is the largest mean difference of a colour channel, in 8-bit steps. `leak` is the residual in flat
    places over the noise variance measured there (near 1; below `LEAK_BELOW` s is too small), and `edges` the same
    at the strongest edges over that in flat places (1 would be no detail lost); NaN where no noise could be measured.
    """

    mse: NDArray[np.float64]
    l1: float
    drift: float
    leak: float
    edges: float
    psnr: Mapping[str, float] = field(default_factory=dict)
    """Mean PSNR in dB of crops with a known noise, by the column of the log that it goes into."""
    what: str = "held-out squared error"
    """What `mse` is, in words: a student's errors are not squared."""
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Errors (M,) by other measures, and in words what they are; a network must win by each of them to be accepted."""
    unbiased: bool = False
    """Whether these other measures are right on average, as far as the noise that they are told is: what the first one
    promises beyond them then says nothing."""
    claim: Claim | None = None
    """What photos gain by the network beside the one that training started from, where all measures together tell."""

    @property
    def relative(self) -> bool:
        """Whether the errors are in dB beside those of the network that training started from."""
        return bool(self.others)

    @property
    def mean(self) -> float:
        """Mean squared error over all crops."""
        return float(self.mse.mean())

    @property
    def leaks(self) -> bool:
        """Whether the error is below the noise, which happens only if noise leaks from input to target."""
        return self.leak < LEAK_BELOW

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key of checkpoints, the best first; one whose error is small because noise leaks comes last.

        One that went astray, and has no error at all, comes after its like.
        """
        return self.leaks, self.mean if math.isfinite(self.mean) else math.inf


@dataclass(frozen=True)
class Verdict:
    """Whether a network beats its base on the same pairs: `gain` is the fall in mean squared error, positive is better.

    `standard_error` is that of the gain over the crops. `claim` is what photos gain, where that is known.
    """

    accepted: bool
    gain: float
    standard_error: float
    reason: str
    claim: Claim | None = None

    @property
    def in_words(self) -> str:
        """What photos gain, with its error, or that nothing is surely gained and the first weights stay."""
        return str(self.claim) if self.accepted and self.claim else NOTHING


def compare(candidate: Judgement, base: Judgement) -> Verdict:
    """Accept a candidate that beats its base by more than two standard errors on the same crops, by every measure.

    No other measure may fall short of what the first one promises by more than two standard errors of both, unless it
    is unbiased: a gain that shows on simulated noise and not on the photos is one on noise that they do not have. And
    where all together tell what photos gain, a gain must be likelier than a loss.
    """
    verdict = replace(_by_each(candidate, base), claim=candidate.claim)
    if not verdict.accepted or candidate.claim is None:
        return verdict
    if not candidate.claim.likely:
        return replace(verdict, accepted=False, reason=f"photos would gain {candidate.claim}")
    return replace(verdict, reason=f"photos gain {candidate.claim}")


def _by_each(candidate: Judgement, base: Judgement) -> Verdict:
    """The verdict of the measures one by one."""
    verdict = compare_errors(candidate.mse, base.mse, candidate.what)
    if candidate.leaks:
        reason = f"its residual is {candidate.leak:.2f} of the noise: noise leaks in, s is too small"
        return replace(verdict, accepted=False, reason=reason)
    if candidate.relative and verdict.accepted and verdict.gain < LEAST_GAIN:
        reason = f"{verdict.gain:+.3g} ± {verdict.standard_error:.2g} in {candidate.what} is too little to tell"
        return replace(verdict, accepted=False, reason=reason)
    for what, errors in candidate.others.items():
        other = compare_errors(errors, base.others[what], what)
        if verdict.accepted and not other.accepted:
            return replace(verdict, accepted=False, reason=other.reason)
        error = float(np.hypot(verdict.standard_error, other.standard_error))
        falls_short = not candidate.unbiased and other.gain < verdict.gain - STANDARD_ERRORS * error
        if verdict.accepted and falls_short:
            seen = f"{other.gain:+.3g} ± {other.standard_error:.2g} in {what}"
            reason = (
                f"{verdict.gain:+.3g} ± {verdict.standard_error:.2g} in {candidate.what}, and only {seen}: not believed"
            )
            return replace(verdict, accepted=False, reason=reason)
    return verdict


def compare_errors(candidate: NDArray[np.float64], base: NDArray[np.float64], what: str) -> Verdict:
    """Accept a candidate whose errors (N,) are below its base's, place by place, by more than two standard errors."""
    gains = base - candidate
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else float("inf")
    measured = f"{gain:+.3g} ± {error:.2g} in {what} over {len(gains)} crops"
    if gain > STANDARD_ERRORS * error:
        return Verdict(True, gain, error, f"better than the base by {measured}")
    return Verdict(False, gain, error, f"not better than the base by two standard errors: {measured}")
