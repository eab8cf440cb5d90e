"""The noise that photos from cameras usually have, beside what is seen in a photo at hand.

In a piece without an even spot, texture passes for noise. But what cameras leave in their JPEGs hardly differs: of 56
photos of 26 cameras and phones at ISO 80 to 12800, nine in ten have half to twice what is usual. So an estimate that is
unsure comes as near to that as it is unsure; one that is sure, or far from anything usual, is believed.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import NoiseLevel, variance_of
from nsp_pipeline.core.noise_kind import NoiseKind, noise_kind
from nsp_pipeline.core.noise_prior import level_of, sigma_of

USUAL = np.array(
    [
        [1.82, 2.08, 2.23, 2.06, 1.80, 1.48, 1.26, 1.18],
        [3.25, 3.64, 3.82, 3.55, 3.15, 2.62, 2.28, 2.16],
        [0.76, 0.86, 0.96, 0.96, 0.93, 0.84, 0.74, 0.68],
        [2.24, 2.55, 2.87, 2.88, 2.76, 2.48, 2.17, 2.00],
    ]
)
"""Noise table of the photo in the middle of those 56, of 255: the mean of their logarithms."""

SPREAD = np.array([0.64, 0.59, 0.86, 0.97])[:, None]
"""One and a quarter times the standard deviation of these logarithms, by the rows of a table: so other cameras' pieces
of 512×512 come nearest to what the whole photos say, with each camera left out in turn."""

UNUSUAL = 0.04
"""Density, over the logarithm of its grey noise, of photos of which nothing is known beforehand: one in five, anywhere
between a tenth and 30 of 255."""

COLOURED = 0.05, 0.09
"""Such is only noise with colour, in parts of its grey: none below the first, all from the second on. In 98 of 100
pieces of those photos it is more; noise that is grey alone is something else."""


def with_usual(found: NoiseLevel) -> NoiseLevel:
    """The noise of a photo, at the brightnesses of a noise table, by what is usual as far as it is unsure."""
    assert found.kinds is not None
    assert found.unsure is not None
    assert found.share is not None
    kinds = as_usual(found.kinds, found.unsure, found.share)
    return replace(found, kinds=kinds, variance=variance_of(kinds, found.variance.shape[1]))


def as_usual(
    kinds: NDArray[np.float32], unsure: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Variances (K, TABLE_ROWS) of noise that a camera has smoothed, by what is usual as far as they are unsure.

    Those of other noise, of none, and of grey alone are as they are.

    Args:
        kinds: at the nodes of a noise table, values in 0..1 squared.
        unsure: (K, TABLE_ROWS), by how much the logarithm of each may be off.
        share: (K,), how much of the photo has each brightness.
    """
    sigma = np.sqrt(kinds.T.astype(np.float64))
    if not kinds[:, 0].any() or noise_kind(sigma[None].astype(np.float32)) is not NoiseKind.SMOOTHED:
        return kinds
    seen, usual, off = level_of(sigma), level_of(USUAL / 255), unsure.T.astype(np.float64)
    apart = np.sqrt(off[0] ** 2 + SPREAD[0] ** 2)
    weights = share / apart**2
    far, expected = (float(np.average(part, weights=weights)) for part in (seen[0] - usual[0], apart))
    coloured = (float(sigma[2].sum() / sigma[0].sum()) - COLOURED[0]) / (COLOURED[1] - COLOURED[0])
    alike = np.exp(-0.5 * (far / expected) ** 2) / (np.sqrt(2 * np.pi) * expected)
    weight = min(max(coloured, 0.0), 1.0) * alike / (alike + UNUSUAL) * off**2 / (off**2 + SPREAD**2)
    told = np.where(sigma > 0, sigma_of(seen + weight * (usual - seen)), 0)
    return np.asarray((told**2).T, dtype=np.float32)
