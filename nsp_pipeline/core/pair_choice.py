"""What the measured noise says of the method's settings: s for training, the PD factor for inference."""

import numpy as np

from nsp_pipeline.core.correlation import LAGS
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.errors import UsageError

LEAST_S, MOST_S = 2, LAGS
NEGLIGIBLE = 0.1
"""Correlation below which pixels count as independent: one then foretells a hundredth of the other's noise variance.

Less would mistake for noise what texture, JPEG and shading leave in flat patches of real photos (0.02 to 0.08 at lag
10, in camera JPEGs at ISO 800 to 12800); noise that a moving mean spreads over 4 pixels has 0.2 at lag 4.
"""

WORTH_PD = 15.0
"""Noise variance that PD must spare, in squared 8-bit steps, to pay for the detail that it costs.

With one and the same network, PD costs 6 (PolyU, 36.4 against 38.7 dB) to 19 (CC, 32.5 against 35.8 dB) on DSLR JPEGs,
where it spares 1 to 6; on SIDD's phone photos, with several times the noise, doing without costs 60 (30.6 to 27.5 dB).
"""


class NoiseError(UsageError):
    """The noise cannot be measured, or no s suits it."""


def choose_s(field: NoiseField) -> int:
    """Return the PD factor of the input: the smallest distance from which on pixels share no noise, 2 to 10.

    Training takes at least 3, because 1 < t < s.

    Raises NoiseError when noise is still correlated at the longest lag measured.
    """
    strong = np.flatnonzero(field.by_lag > NEGLIGIBLE)
    s = int(strong[-1]) + 2 if len(strong) else LEAST_S
    if s > MOST_S:
        raise NoiseError(
            f"no s up to {MOST_S} makes the noise independent: {MOST_S} pixels apart its correlation is still "
            f"{field.by_lag[-1]:.2f} (it should be below {NEGLIGIBLE}); enlarged or smoothed photos look like that"
        )
    return s


def choose_pd(field: NoiseField) -> int:
    """Return the PD factor for inference: 2 if noise would stay without PD, 1 if PD would only cost detail.

    A network that was trained on independent noise takes what neighbours share for picture. PD makes neighbours of
    pixels that are 2 apart; so it spares the difference of the correlations at distances 1 and 2.
    """
    near, far = (_shared_by_neighbours(field, distance) for distance in (1, 2))
    return 2 if field.sigma**2 * (near - far) > WORTH_PD else 1


def _shared_by_neighbours(field: NoiseField, distance: int) -> float:
    """Mean correlation with the eight neighbours at a distance."""
    lags = field.correlation[:, LAGS - distance : LAGS + distance + 1 : distance][
        :, :, LAGS - distance : LAGS + distance + 1 : distance
    ]
    return float((lags.sum((1, 2)) - 1).mean() / 8)
