"""How noisy a photo is: what the estimator's network says of blocks all over it, taken together.

Where nothing is flat, texture passes for noise in any measurement of variances. The network has learnt from simulated
cameras what noise looks like beside texture, and says of every block how sure it is, so that flat ones speak.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.blend import cell_means
from nsp_pipeline.core.noise import PATCH, TABLE_NODES, TABLE_ROWS, NoiseLevel, measure_noise, variance_of
from nsp_pipeline.core.noise_kind import as_unsmoothed, as_white, is_too_strong
from nsp_pipeline.core.noise_prior import FAINTEST, NoisePrior, sigma_of, with_prior
from nsp_pipeline.core.usual_noise import with_usual
from nsp_pipeline.core.wary_noise import with_told
from nsp_pipeline.noise.bent import brightening_of
from nsp_pipeline.noise.even import measured_where_even
from nsp_pipeline.noise.pooling import Blocks, grey_doubt, likely_error, nearness, pooled
from nsp_pipeline.noise.runtime import Network, load_estimator
from nsp_pipeline.noise.windows import BLOCK, MOST, cut_windows

WARY = 0.15
"""So many times its own uncertainty is taken from what is told: too little costs less than too much."""

NOTHING = 0.12 / 255
"""A photo whose noise is nowhere stronger has none."""

SPOTLESS, SPOTLESS_FAINT = 0.25, 0.02
"""Of patches of 16 pixels that are not black or white all over, so many of one colour throughout mean that a picture
has no noise at all; the smaller share where the network finds less than FAINT in the rest."""

FAINT = 1.0 / 255

DRAWN = 0.3
"""Of neighbours in a row, the equal ones, in patches that are neither clipped nor of one colour. A drawing has more,
beside its lines. In a photo with fewer, what is of one colour is no part of the scene, but a frame, the grey that a
damaged file ends in, or a colour that the sensor could not hold: it tells nothing of the noise in the rest."""

SURE = 0.02
"""How far off it may be that a patch of one colour has no noise."""

CLIPPED, ALL_CLIPPED = 0.7, 0.98
"""Blocks of which more is black or white tell nothing, and patches of which more is do not count as of one colour.
Strong noise in the dark is half cut off at black everywhere, and yet tells how strong it is."""

END = 1 / 255

AT_ONCE = 4
"""Windows that the network is asked about together, which takes three quarters of the time of one by one."""


def estimate_noise(
    pixels: NDArray[np.generic],
    network: Network | None = None,
    most: int = MOST,
    prior: NoisePrior | None = None,
    *,
    usual: bool = True,
) -> NoiseLevel:
    """Estimate the noise of a photo by brightness, grey and colour, fine and coarse, with its uncertainty.

    Takes a bounded time: of large photos a fixed number of windows is looked at, spread evenly. Without ONNX Runtime
    and OpenVINO the noise is measured in flat patches instead (see core/noise.py).

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1.
        network: None takes the one that ships.
        most: windows that are looked at; FEW of them tell the noise of a whole photo in a third of the time.
        prior: what is known of the noise beforehand, from other photos of the camera.
        usual: whether what cameras usually leave counts where the estimate is unsure; not where photos tell together
            what their camera leaves.

    Returns:
        The noise level; that of an unknown photo where a side is shorter than 16 pixels, or all is black or white.
    """
    if network is None:
        estimator = load_estimator()
        if estimator is None:
            measured = measure_noise(pixels)
            return _with_own_means(with_prior(measured, prior) if prior else measured)
        network = estimator.network
    channels = pixels.shape[2]
    windows = cut_windows(pixels, most)
    if not len(windows):
        return NoiseLevel.unknown(channels)
    seen = _look_at(windows, network)
    if not len(seen.spotless):
        return NoiseLevel.unknown(channels)
    blocks, spotless, even, others = seen.blocks, seen.spotless, seen.even, seen.others
    drawn = seen.equal >= DRAWN * others
    if drawn:
        blocks.level[spotless], blocks.unsure[spotless] = np.log(FAINTEST), SURE
    elif not spotless.all():
        blocks = Blocks(*(part[~spotless] for part in _parts(blocks)))
    level, unsure = pooled(blocks)
    sigma = sigma_of(level - WARY * unsure)
    if seen.grey:
        sigma[TABLE_ROWS // 2 :] = 0
    share = even / (even + others)
    of_nothing = (drawn and share >= SPOTLESS) or (share >= SPOTLESS_FAINT and sigma[0].max() < FAINT)
    if of_nothing or sigma.max() < NOTHING:
        sigma[:] = 0
    kinds = (sigma**2).T.astype(np.float32)
    variance = variance_of(kinds, channels)
    nodes = np.linspace(0, 1, TABLE_NODES, dtype=np.float32)
    share = nearness(blocks.brightness).mean(0).astype(np.float32)
    off = likely_error(blocks, pixels.shape[0] * pixels.shape[1])
    found = NoiseLevel(nodes, variance, kinds, off.T, share)
    overlooked = measured_where_even(windows, found)
    if overlooked:
        found = _at_nodes(overlooked, found)
    if prior:
        found = with_prior(found, prior)
    if usual and not overlooked:
        found = with_usual(found)
    change = brightening_of(windows, found)
    assert found.kinds is not None
    if change is not None:
        kinds = as_unsmoothed(found.kinds)
        return replace(found, kinds=kinds, brightening=change[0], channel_brightening=change[1:], own_means=True)
    if (kinds := as_white(found.kinds, grey_doubt(blocks), found.known_share or 0.0)) is not found.kinds:
        found = replace(found, kinds=kinds, variance=variance_of(kinds, channels))
    return with_told(_with_own_means(found)) if usual and not overlooked else _with_own_means(found)


def _with_own_means(found: NoiseLevel) -> NoiseLevel:
    """The same; what is cut off at black in strong noise nobody knows, and the photo's means are the best guess."""
    return replace(found, own_means=True) if is_too_strong(found.table) else found


def _at_nodes(measured: NoiseLevel, told: NoiseLevel) -> NoiseLevel:
    """What was measured, at the brightnesses of what was told."""
    assert measured.kinds is not None
    kinds, variance = (
        np.stack([np.interp(told.brightness, measured.brightness, part) for part in parts.T], 1).astype(np.float32)
        for parts in (measured.kinds, measured.variance)
    )
    return replace(told, kinds=kinds, variance=variance[:, : told.variance.shape[1]])


def looks_at_windows() -> bool:
    """Whether the estimate needs only the rows of `rows_looked_at`: without the network, all are looked at."""
    return load_estimator() is not None


@dataclass(frozen=True)
class _Seen:
    """What there is in windows: their blocks that are not clipped, and which of them hold a patch of one colour.

    Of the patches that are not clipped `even` are of one colour and `others` are not; `equal` is the sum of the shares
    of equal neighbours of the latter.
    """

    blocks: Blocks
    spotless: NDArray[np.bool_]
    even: int
    others: int
    equal: float
    grey: bool


def _look_at(windows: NDArray[np.float32], network: Network) -> _Seen:
    """Ask the network about windows (N, 3, h, w), and see what is of one colour in them."""
    count, _, height, width = windows.shape
    said = [network(windows[first : first + AT_ONCE]) for first in range(0, count, AT_ONCE)]
    told = np.concatenate([part.transpose(0, 2, 3, 1).reshape(-1, 2 * TABLE_ROWS) for part in said])
    clipped = _clipped(windows)
    equal, one_colour = _equal_neighbours(windows)
    unclipped = clipped < ALL_CLIPPED
    even, others = unclipped & one_colour, unclipped & ~one_colour
    grid = count, height // BLOCK, BLOCK // PATCH, width // BLOCK, BLOCK // PATCH
    seen = clipped.reshape(grid).mean((2, 4)).ravel() < CLIPPED
    spotless = even.reshape(grid).any((2, 4)).ravel()
    brightness = cell_means(windows.mean(1), BLOCK).ravel()
    blocks = Blocks(brightness[seen], told[seen, :TABLE_ROWS], np.exp(told[seen, TABLE_ROWS:]))
    return _Seen(
        blocks,
        spotless[seen],
        even=int(even.sum()),
        others=int(others.sum()),
        equal=float(equal[others].sum()),
        grey=bool((windows[:, 0] == windows[:, 1]).all() and (windows[:, 1] == windows[:, 2]).all()),
    )


def _equal_neighbours(windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Of each patch (N, h/16, w/16) the share of neighbours in a row that are equal in all channels.

    And whether it is of one colour throughout.
    """
    first, second, third = windows.transpose(1, 0, 2, 3)
    equal = np.zeros(first.shape, np.bool_)
    np.equal(first[..., 1:], first[..., :-1], out=equal[..., :-1])
    for channel in (second, third):
        equal[..., :-1] &= channel[..., 1:] == channel[..., :-1]
    equal[..., PATCH - 1 :: PATCH] = False  # the next patch's
    counted = _patch_sums(equal)
    starts = windows[..., ::PATCH].reshape(*windows.shape[:2], -1, PATCH, windows.shape[3] // PATCH)
    rows_alike = (starts == starts[:, :, :, :1]).all((1, 3))
    pairs = PATCH * (PATCH - 1)
    return counted / np.float32(pairs), rows_alike & (counted == pairs)


def _clipped(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the samples of each patch (N, h/16, w/16) that are black or white."""
    ends = windows <= END
    ends |= windows >= 1 - END
    return _patch_sums(ends.sum(1, dtype=np.uint8)) / np.float32(windows.shape[1] * PATCH**2)


def _patch_sums(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Sums of small numbers (N, h, w), at most 15 each, over patches: (N, h/16, w/16)."""
    count, height, width = values.shape
    # Rows first: along them many are added at once.
    sums = values.view(np.uint8).reshape(count, height // PATCH, PATCH, width).sum(2, dtype=np.uint8)
    return np.asarray(sums.reshape(count, -1, width // PATCH, PATCH).sum(3), dtype=np.float32)


def _parts(blocks: Blocks) -> tuple[NDArray[np.float32], ...]:
    return blocks.brightness, blocks.level, blocks.unsure
