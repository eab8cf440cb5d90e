"""What photos gain by a student calibrated to their camera, claimed with an error that holds.

Each measure of `OwnJudge` promises more than photos gain. On simulated noise hardly anything but noise is wrong with a
picture, where photos hold much that no network can mend; the noise is the very one that the student learnt to take
away; and one photo kept out is no sample of photos. So the claim reaches from the part SHARE of what the most modest
measure says to that of the boldest one, less and more an error, which is made of what that part is uncertain by, of how
much photos differ among each other, and of how much their crops do. Simulated cameras, whose truth is known, tell how
often it holds (benchmarks/claims.py, docs/calibration.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.claim import Claim

SHARE, SPREAD, LEAST_ERROR = 0.33, 0.25, 0.05
"""Of a decibel by a measure photos gain the first part, give or take the second; and an error is at least the third, in
dB."""

NINE_IN_TEN = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
"""Standard errors that hold nine means of ten of two photos, of three, and so on (Student 1908)."""

MOST = 10.0
"""A tenth of the error is as little as is ever believed, in dB."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What a network's crops show beside those of the first network: mean squares over a crop, values in 0..1.

    Of P pictures with simulated noise: the `photo` that each is of, and the errors of the first network and of this
    one. Of R pieces of photos: the photo, and by Stein's formula for noise of k times the variance that flat places
    show, the rise of the error, `rest` + k `follows`, and what the first network leaves, `apart` - k `known`.
    """

    pictured_photo: NDArray[np.int64]
    first: NDArray[np.float64]
    this: NDArray[np.float64]
    real_photo: NDArray[np.int64]
    rest: NDArray[np.float64]
    follows: NDArray[np.float64]
    apart: NDArray[np.float64]
    known: NDArray[np.float64]

    left: NDArray[np.float64]
    """What the first network leaves of each piece (R,), if it leaves as much of its noise as of simulated noise."""
    held_out: NDArray[np.bool_]
    """Whether a piece (R,) is of a photo kept out of training."""


def claimed(seen: Measures) -> Claim:
    """What photos gain, by what their crops show; nothing by a network that changes nothing."""
    simulated = _by_photo(seen.pictured_photo, seen.first, seen.this)
    left = _left_by_first(seen)
    real = _by_photo(seen.real_photo, left, left + seen.rest + seen.follows)
    kept_out = np.isin(np.unique(seen.real_photo), seen.real_photo[seen.held_out])
    gains = [float(part[0].mean()) for part in (simulated, real[:, kept_out], real)]
    crops = float(np.linalg.norm(simulated[1])) / simulated.shape[1]
    modest = min(gains)
    share = SHARE if modest > 0 else 1.0  # nobody doubts what promises a loss
    sources = SPREAD * modest, share * _between(real[0], modest), 2 * share * crops, LEAST_ERROR
    error = float(np.linalg.norm(sources))
    return Claim.between(share * modest - error, max(share * modest, SHARE * max(gains)) + error)


def _between(gains: NDArray[np.float64], modest: float) -> float:
    """How far the mean gain of photos (P,) may be off that of all photos, as they differ among each other.

    Of one alone nobody knows: that is as if two differed by as much as it is said to gain.
    """
    if len(gains) < 2:
        return NINE_IN_TEN[0] * abs(modest)
    times = NINE_IN_TEN[min(len(gains) - 2, len(NINE_IN_TEN) - 1)]
    return float(times * gains.std(ddof=1) / np.sqrt(len(gains)))


def _left_by_first(seen: Measures) -> NDArray[np.float64]:
    """What the first network leaves of each piece of a photo (R,): the mean of the photo.

    It is as much of the photo's noise as of simulated noise, or more where Stein's formula says so: what is texture
    rather than noise, no other network brings back either.
    """
    left = seen.apart - seen.known
    for photo in np.unique(seen.real_photo):
        mine = seen.real_photo == photo
        left[mine] = max(float(left[mine].mean()), float(seen.left[mine].mean()))
    return left


def _by_photo(photo: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gains of photos in dB by the errors of their crops (N,), and the standard errors of these: (2, P)."""
    return np.array([_of_one(before[photo == number], after[photo == number]) for number in np.unique(photo)]).T


def _of_one(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """Of one photo: the gain in dB by the errors of its crops, and the standard error of that ratio of means."""
    least = before.mean() / 10 ** (MOST / 10)
    left = float(np.clip(after.mean() / before.mean(), 10 ** (-MOST / 10), 10 ** (MOST / 10)))
    if len(before) < 2:
        return -10 * float(np.log10(left)), MOST
    scatter = (after - left * before).std(ddof=1) / len(before) ** 0.5
    return -10 * float(np.log10(left)), 10 / float(np.log(10)) * float(scatter / max(after.mean(), least))
