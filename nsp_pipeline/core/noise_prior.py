"""What is known of a camera's noise from its other photos, together with what is seen in the photo at hand.

Both say the logarithm of the noise and how far off that may be, so the more certain of them counts for more. A photo
that is too unlike what is known (shrunk, sharpened, edited, or wrongly labelled) is believed alone.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES, NoiseLevel, variance_of

Precision = TypeVar("Precision", np.float32, np.float64)

FAINTEST = 0.1 / 255
"""Levels are told as log √(σ² + FAINTEST²)."""

MEASURED_UNSURE = 0.5
"""How far off a level is that was measured in flat patches alone."""

COARSENESS_ALIKE = 0.1, 0.12
"""How far from its camera's the coarseness of a photo's grey and colour noise comes out, standard deviation of its
logarithm, in pieces of 512×512: shrinking changes it by 0.2 and more, texture hardly does."""

MORE = 0.5
"""Of grey noise that is stronger, and of all that is coarser than its camera's, so much counts as unlike: texture
looks like that as well."""

ALIKE, UNLIKE = 3.0, 6.0
"""Sum of three squared deviations up to which what is known counts in full, and from which on not at all. Of 252 pieces
of 512×512 of 28 photos of four cameras 6 % lie beyond the second, of those photos shrunk to half 82 %."""


@dataclass(frozen=True, eq=False)
class NoisePrior:
    """The noise to be expected in a photo: the logarithm of a noise table, and the standard deviation of that.

    Both (TABLE_ROWS, TABLE_NODES); levels in 0..1.
    """

    level: NDArray[np.float64]
    unsure: NDArray[np.float64]

    @property
    def table(self) -> NDArray[np.float32]:
        """The noise table: (1, TABLE_ROWS, TABLE_NODES), in 0..1."""
        return np.asarray(sigma_of(self.level)[None], dtype=np.float32)

    @property
    def alone(self) -> NoiseLevel:
        """The noise of a photo of which nothing else is known, with as much of it at every brightness."""
        nodes = np.linspace(0, 1, TABLE_NODES, dtype=np.float32)
        kinds = self.table[0].T ** 2
        unsure = self.unsure.T.astype(np.float32)
        return NoiseLevel(
            nodes, variance_of(kinds, 3), kinds, unsure, np.full(TABLE_NODES, 1 / TABLE_NODES, np.float32)
        )


def level_of(sigma: NDArray[Precision]) -> NDArray[np.float64]:
    """Logarithm of noise in 0..1, which none has one of as well."""
    return np.asarray(0.5 * np.log(sigma.astype(np.float64) ** 2 + FAINTEST**2))


def sigma_of(level: NDArray[Precision]) -> NDArray[Precision]:
    """The noise in 0..1 of a level, in its own precision."""
    return np.asarray(np.sqrt(np.maximum(np.exp(2 * level) - FAINTEST**2, 0)), dtype=level.dtype)


def with_prior(found: NoiseLevel, prior: NoisePrior) -> NoiseLevel:
    """The noise of a photo by what was found in it and by what is known of its camera.

    `known_share` of the result says how much of it is what was known: 0 where the photo is too unlike that. A photo
    without noise, which may well be of the camera, is left as it was found. Kinds of noise that a photo has none of, as
    grey photos of colour, stay away.
    """
    if found.kinds is None or not found.kinds.any():
        return found
    nodes = np.linspace(0, 1, TABLE_NODES)
    sigma = found.table[0]
    there = sigma > 0
    seen, share = level_of(sigma), _at(nodes, found.share, found, 1.0)
    unsure = np.stack([_at(nodes, column, found, MEASURED_UNSURE) for column in _columns(found)])
    trust = _trust(seen, unsure, share, prior)
    if not trust:
        return replace(found, known_share=0.0)
    own, known = unsure**-2.0, trust * prior.unsure**-2.0
    weight = known / (own + known)
    kinds = np.where(there, sigma_of(seen + weight * (prior.level - seen)) ** 2, 0).T
    return replace(
        found,
        brightness=nodes.astype(np.float32),
        variance=variance_of(kinds, found.variance.shape[1]),
        kinds=kinds.astype(np.float32),
        unsure=np.where(there, (own + known) ** -0.5, unsure).T.astype(np.float32),
        share=share.astype(np.float32),
        known_share=float(np.average(weight[0], weights=share)),
    )


def _trust(
    seen: NDArray[np.float64], unsure: NDArray[np.float64], share: NDArray[np.float64], prior: NoisePrior
) -> float:
    """Whether what is seen can be of the camera that is known: 1 as far as it is alike, 0 where it is not."""
    apart = np.sqrt(unsure**2 + prior.unsure**2)
    weights = share / apart[0] ** 2
    off, expected = (np.average(rows, axis=1, weights=weights) for rows in (seen - prior.level, apart))
    grey, coarse_grey, colour, coarse_colour = off
    coloured = bool((sigma_of(seen[2:]) > 0).any())
    stronger = off / expected
    # Texture is grey for the most part: noise that is stronger in both is noise.
    level = max(MORE * stronger[0], min(stronger[0], stronger[2])) if stronger[0] > 0 and coloured else stronger[0]
    coarser = [(coarse_grey - grey) / COARSENESS_ALIKE[0]]
    if coloured:
        coarser.append((coarse_colour - colour) / COARSENESS_ALIKE[1])
    doubt = level**2 + sum((MORE * far if far > 0 else far) ** 2 for far in coarser)
    return float(np.clip((UNLIKE - doubt) / (UNLIKE - ALIKE), 0, 1))


def _columns(found: NoiseLevel) -> list[NDArray[np.float32] | None]:
    assert found.kinds is not None
    return list(found.unsure.T) if found.unsure is not None else [None] * found.kinds.shape[1]


def _at(
    nodes: NDArray[np.float64], values: NDArray[np.float32] | None, found: NoiseLevel, otherwise: float
) -> NDArray[np.float64]:
    """Values by the brightnesses of a level, at those of a table."""
    if values is None:
        return np.full(len(nodes), otherwise)
    return np.interp(nodes, found.brightness, values)
