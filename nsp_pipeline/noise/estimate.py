"""How noisy a photo is: what the estimator's network says of blocks all over it, taken together.

Where nothing is flat, texture passes for noise in any measurement of variances. The network has learnt from simulated
cameras what noise looks like beside texture, and says of every block how sure it is, so that flat ones speak.
"""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import PATCH, TABLE_NODES, TABLE_ROWS, NoiseLevel, measure_noise
from nsp_pipeline.noise.pooling import Blocks, nearness, pooled
from nsp_pipeline.noise.runtime import Network, load_estimator
from nsp_pipeline.noise.windows import BLOCK, cut_windows

FAINTEST = 0.1 / 255
"""The network tells log √(σ² + FAINTEST²)."""

WARY = 0.15
"""So many times its own uncertainty is taken from what is told: too little costs less than too much."""

NOTHING = 0.12 / 255
"""A photo whose noise is nowhere stronger has none."""

SPOTLESS, SPOTLESS_FAINT = 0.25, 0.02
"""Of patches of 16 pixels that are not black or white all over, so many of one colour throughout mean that a picture
has no noise at all; the smaller share where the network finds less than FAINT in the rest."""

FAINT = 1.0 / 255

SURE = 0.02
"""How far off it may be that a patch of one colour has no noise."""

CLIPPED, ALL_CLIPPED = 0.7, 0.98
"""Blocks of which more is black or white tell nothing, and patches of which more is do not count as of one colour.
Strong noise in the dark is half cut off at black everywhere, and yet tells how strong it is."""

END = 1 / 255


def estimate_noise(pixels: NDArray[np.generic], network: Network | None = None) -> NoiseLevel:
    """Estimate the noise of a photo by brightness, grey and colour, fine and coarse, with its uncertainty.

    Takes a bounded time: of large photos a fixed number of windows is looked at, spread evenly. Without ONNX Runtime
    and OpenVINO the noise is measured in flat patches instead (see core/noise.py).

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1.
        network: None takes the one that ships.

    Returns:
        The noise level; that of an unknown photo where a side is shorter than 16 pixels, or all is black or white.
    """
    if network is None:
        estimator = load_estimator()
        if estimator is None:
            return measure_noise(pixels)
        network = estimator.network
    channels = pixels.shape[2]
    said, spotless, counted, grey = [], 0, 0, True
    for window in cut_windows(pixels):
        clipped = _clipped(window)
        unclipped = clipped < ALL_CLIPPED
        counted += int(unclipped.sum())
        even = unclipped & _of_one_colour(window)
        spotless += int(even.sum())
        grey = grey and bool((window[0] == window[1]).all() and (window[1] == window[2]).all())
        blocks = _told(window, clipped, even, network)
        if len(blocks.brightness):
            said.append(blocks)
    if not said:
        return NoiseLevel.unknown(channels)
    blocks = Blocks(*(np.concatenate(part) for part in zip(*map(_parts, said), strict=True)))
    level, unsure = pooled(blocks)
    sigma = np.sqrt(np.maximum(np.exp(2 * (level - WARY * unsure)) - FAINTEST**2, 0))
    if grey:
        sigma[TABLE_ROWS // 2 :] = 0
    share = spotless / counted
    if share >= SPOTLESS or (share >= SPOTLESS_FAINT and sigma[0].max() < FAINT) or sigma.max() < NOTHING:
        sigma[:] = 0
    kinds = (sigma**2).T.astype(np.float32)
    # Over the channels, the mean variance is that of what is grey and that of what differs from it.
    variance = (kinds[:, 0] + kinds[:, TABLE_ROWS // 2])[:, None].repeat(channels, axis=1)
    nodes = np.linspace(0, 1, TABLE_NODES, dtype=np.float32)
    share = nearness(blocks.brightness).mean(0).astype(np.float32)
    return NoiseLevel(nodes, variance, kinds, unsure.T.astype(np.float32), share)


def _told(
    window: NDArray[np.float32], clipped: NDArray[np.float32], even: NDArray[np.bool_], network: Network
) -> Blocks:
    """What the network says of the blocks of a window that are not clipped; one with a patch of one colour has none."""
    said = network(window[None])[0].reshape(2 * TABLE_ROWS, -1).T
    across = BLOCK // PATCH
    rows, columns = window.shape[1] // BLOCK, window.shape[2] // BLOCK
    brightness = window.mean(0).reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)).ravel()
    seen = clipped.reshape(rows, across, columns, across).mean((1, 3)).ravel() < CLIPPED
    level, unsure = said[:, :TABLE_ROWS].copy(), np.exp(said[:, TABLE_ROWS:])
    spotless = even.reshape(rows, across, columns, across).any((1, 3)).ravel()
    level[spotless], unsure[spotless] = np.log(FAINTEST), SURE
    return Blocks(brightness[seen], level[seen], unsure[seen])


def _clipped(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the samples of each patch (h/16, w/16) that are black or white."""
    ends = ((window <= END) | (window >= 1 - END)).sum(0, dtype=np.float32)
    return _patch_means(ends) / np.float32(len(window))


def _of_one_colour(window: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which patches (h/16, w/16) of a window are of one colour throughout."""
    corners = window[:, ::PATCH, ::PATCH].repeat(PATCH, axis=1).repeat(PATCH, axis=2)
    return np.asarray(_patch_means((window == corners).all(0).astype(np.float32)) == 1)


def _patch_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = values.shape[0] // PATCH, values.shape[1] // PATCH
    return np.asarray(values.reshape(rows, PATCH, columns, PATCH).mean((1, 3)), dtype=np.float32)


def _parts(blocks: Blocks) -> tuple[NDArray[np.float32], ...]:
    return blocks.brightness, blocks.level, blocks.unsure
