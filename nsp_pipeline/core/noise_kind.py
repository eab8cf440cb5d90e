"""What kind of noise a photo has: smoothed by a camera that made a JPEG, of a mosaic nobody has smoothed, or white.

A camera that makes a JPEG averages colours over neighbouring pixels, so that the colour noise it leaves is coarse: in
56 JPEGs of 24 cameras and phones 2.46 to 3.5 times as strong in means of 4×4 pixels as white noise would be. Where
only a mosaic was filled in it is 1.5 to 2.4 times as strong, and in scans, film grain and stars hardly more than once.
"""

from collections.abc import Container
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

COARSEST = 2.2
"""Where nobody smoothed it, colour noise of CELL×CELL means (times CELL) is at most so many times that of pixels: true
of nine in ten developed pictures, of no photo of the 56, and of one in a hundred of their pieces of 512×512 pixels."""

COARSEST_GREY, HARDLY_COLOURED = 1.2, 0.1
"""The same of grey noise, by which photos are judged whose colour noise is weaker than this share of it."""

STRONGEST_SMOOTHED = 8 / 255
"""Grey and colour noise together, mean over all brightnesses: what is stronger counts as unsmoothed, however coarse.
Cameras' JPEGs leave at most 5.4 of 255 (63 photos). The network for unsmoothed noise knows strong noise, and takes that
of simulated shots better whoever smoothed it: by 0.5 to 1.3 dB on average above this; and night shots, whose colours
now and then are a little too coarse for COARSEST, by 1 to 6 dB."""

WITNESS = 0.25
"""Only with colour at least so many times as strong as its grey: strong grey alone may be texture."""

COARSEST_LEANING, ROUNDING = 2.45, 0.999
"""Where the noise leans (see bent_noise.py), it is unsmoothed up to here, just short of all 56 JPEGs."""

COARSEST_WHITE, MOST_COLOURED_WHITE = 1.25, 1.5
"""White noise is no coarser, in grey and in colour, and its colour at most so many times as strong as its grey: √2
where it is alike in red, green and blue; a white balance makes it more."""

ALIKE = 1.0
"""White noise whose colour is at least so many times as strong as its grey, and at most √2 times, is taken for alike in
all channels, and its grey for overrated by so much: texture is mostly grey, and is taken for noise more easily."""

COARSER_THAN_COLOUR, EVEN_COLOUR, RISE, CERTAINLY = 1.35, 1.1, 2.13, 1.2
"""Whatever smooths noise smooths its colours more. So grey that is COARSER_THAN_COLOUR times as coarse as colour, or
coarser than COARSEST_WHITE beside colour that is even (at most EVEN_COLOUR; from there to the first it rises by RISE),
is texture, and certainly what is coarser by CERTAINLY again: its grey is then as strong as the colour says. Of 700
simulated shots two with noise look like that, and the estimator doubts both."""

TELLING_COLOUR, COLOUR_OF_NOISE = (0.25, 0.45), (1.45, 1.75)
"""Colour says so the more, the stronger it is in parts of its grey, from nothing at the first to all at the second; and
the less, the coarser it is."""

TINIEST = 1e-9
"""Of noise in 0..1: what it is divided by, at least."""

FAINT_COLOUR, UNEVEN_COLOUR, WHITE_BALANCED = (HARDLY_COLOURED, 0.25), (COARSEST_WHITE, 1.5), (MOST_COLOURED_WHITE, 2.0)
"""The same of noise that is otherwise white; and where colour becomes too strong for that."""

AS_USUAL, MISJUDGED, USUAL_DOUBT = 0.5, 2.0, 0.08
"""Where its colour is weaker, the logarithm of how much stronger the grey is than white noise has it may be true, as
far as that usually is (AS_USUAL), or texture. The grey of photos of which the estimator doubts all blocks is off by
MISJUDGED times that doubt, what it always has (USUAL_DOUBT) apart: so in textured pieces of 50 scenes."""


class NoiseKind(StrEnum):
    """Kinds of noise that networks of their own may be there for."""

    SMOOTHED = "smoothed"
    UNSMOOTHED = "unsmoothed"
    WHITE = "white"


INSTEAD = {NoiseKind.WHITE: NoiseKind.UNSMOOTHED, NoiseKind.UNSMOOTHED: NoiseKind.SMOOTHED}
"""The kind whose network makes a photo where there is none for its own."""


def noise_kind(table: NDArray[np.float32], known: Container[NoiseKind] = frozenset(NoiseKind)) -> NoiseKind:
    """Return the kind of noise that a noise table (1, TABLE_ROWS, TABLE_NODES) describes, or the nearest of the known.

    SMOOTHED where the noise is unknown, or there is none.
    """
    kind = NoiseKind.UNSMOOTHED if is_too_strong(table) else _kind_of(table)
    while kind not in known and kind in INSTEAD:
        kind = INSTEAD[kind]
    return kind


def is_unsmoothed(table: NDArray[np.float32]) -> bool:
    """Return whether a noise table (1, TABLE_ROWS, TABLE_NODES) is that of noise nobody has smoothed.

    Not where the noise is unknown, or there is none.
    """
    return noise_kind(table) is not NoiseKind.SMOOTHED


def is_too_strong(table: NDArray[np.float32]) -> bool:
    """Return whether noise is as coarse as cameras leave it, but stronger (see STRONGEST_SMOOTHED)."""
    grey, _, colour, _ = (float(row.sum()) for row in table[0])
    strong = 0 < WITNESS * grey <= colour and np.hypot(grey, colour) > STRONGEST_SMOOTHED * table.shape[2]
    return bool(strong and _kind_of(table) is NoiseKind.SMOOTHED)


def as_unsmoothed(kinds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Variances (K, TABLE_ROWS) of noise that is known to be unsmoothed, where the coarse colour noise was overrated.

    Smoothing takes away that noise leans (see bent_noise.py): where it does, hardly anybody has smoothed it. Where its
    colour is coarser than COARSEST_LEANING all the same, it stays as it is.
    """
    colour, coarse = (float(part) for part in np.sqrt(kinds).sum(0)[2:])
    if coarse > COARSEST_LEANING * colour:
        return kinds
    share = min(1.0, ROUNDING * COARSEST * colour / max(coarse, 1e-9))
    return np.asarray(kinds * np.array([1, 1, 1, share**2], np.float32), dtype=np.float32)


def as_white(kinds: NDArray[np.float32], doubt: float = 0.0, known: float = 0.0) -> NDArray[np.float32]:
    """Variances (K, TABLE_ROWS): the grey of white noise nearly as strong as its colour says; others as they are.

    So, too, as far as texture passes for coarse grey noise.

    Args:
        doubt: by how much the logarithm of the grey noise of a typical block may be off (see noise/pooling.py).
        known: how much of it was known of the camera beforehand, 0..1: that is as it is.
    """
    grey, coarse_grey, colour, coarse_colour = (float(part) for part in np.sqrt(kinds).sum(0))
    if grey <= 0 or colour <= 0:
        return kinds
    coarse = _too_coarse(grey, coarse_grey, colour, coarse_colour)
    told = _between(colour / grey, *TELLING_COLOUR) * (1 - _between(coarse_colour / colour, *COLOUR_OF_NOISE))
    even = _between(colour / grey, *FAINT_COLOUR) * (1 - _between(coarse_colour / colour, *UNEVEN_COLOUR))
    even *= 1 - _between(colour / grey, *WHITE_BALANCED)
    mistake = even * (1.0 if colour >= ALIKE * grey else _mistaken(doubt) * (1 - coarse))
    share = max(coarse * told, mistake) * (1 - known)
    if share == 0:
        return kinds
    as_colour = np.minimum(kinds[:, 2:] / (2 * np.maximum(kinds[:, :2], TINIEST**2)), 1)
    as_told = kinds[:, :2] * as_colour ** np.float32(share)
    return np.concatenate([as_told, kinds[:, 2:]], axis=1)


def _too_coarse(grey: float, coarse_grey: float, colour: float, coarse_colour: float) -> float:
    """How certainly what seems to be grey noise is too coarse for it beside its colour, 0..1."""
    of_colour = coarse_colour / colour
    least = max(COARSEST_WHITE, min(COARSER_THAN_COLOUR * of_colour, COARSEST_WHITE + RISE * (of_colour - EVEN_COLOUR)))
    return _between(coarse_grey / grey, least, CERTAINLY * least)


def _mistaken(doubt: float) -> float:
    """The share of noise that is alike in all channels: it and the estimate count by the inverse of their variances."""
    misjudged = MISJUDGED**2 * max(doubt**2 - USUAL_DOUBT**2, 0.0)
    return misjudged / (misjudged + AS_USUAL**2)


def _between(value: float, first: float, last: float) -> float:
    """How far on the way from the first to the last, 0..1."""
    return min(max((value - first) / (last - first), 0.0), 1.0)


def _kind_of(table: NDArray[np.float32]) -> NoiseKind:
    return _kind(*(float(row.sum()) for row in table[0]))


def _kind(grey: float, coarse_grey: float, colour: float, coarse_colour: float) -> NoiseKind:
    if grey <= 0:
        return NoiseKind.SMOOTHED
    if colour < HARDLY_COLOURED * grey:
        return NoiseKind.UNSMOOTHED if coarse_grey <= COARSEST_GREY * grey else NoiseKind.SMOOTHED
    if coarse_colour > COARSEST * colour:
        return NoiseKind.SMOOTHED
    finely = coarse_grey <= COARSEST_WHITE * grey and coarse_colour <= COARSEST_WHITE * colour
    return NoiseKind.WHITE if finely and colour <= MOST_COLOURED_WHITE * grey else NoiseKind.UNSMOOTHED
