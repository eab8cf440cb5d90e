"""The noise estimator's windows and pooling, and the blending of denoised photos, in operators of ONNX.

They compute what nsp_pipeline/noise/{windows,estimate,pooling}.py and core/{usual_noise,blend}.py compute, whose
constants they take. The functions are ONNX Script: read, not run, and turned into graphs.
"""

import numpy as np
from onnx import numpy_helper
from onnxscript import DOUBLE, FLOAT, INT64, script
from onnxscript import opset20 as op

from nsp_export.brightening_operators import (
    BENT_OR_NOT,
    FLOAT32,
    IMAGE,
    TABLE,
    TO_THE_END,
    WINDOWS,
    between,
    coarse_and_strong,
)
from nsp_pipeline.core.blend import EDGE_SHARE, TRUST_SEEING, WINDOW_RADIUS
from nsp_pipeline.core.noise import PATCH, TABLE_NODES, TABLE_ROWS, UNKNOWN
from nsp_pipeline.core.noise_prior import level_of
from nsp_pipeline.core.usual_noise import COLOURED, SPREAD, UNUSUAL, USUAL
from nsp_pipeline.core.wary_noise import LIKELY_ERRORS
from nsp_pipeline.noise.estimate import (
    ALL_CLIPPED,
    CLIPPED,
    DRAWN,
    END,
    FAINT,
    FAINTEST,
    NOTHING,
    SPOTLESS,
    SPOTLESS_FAINT,
    SURE,
    WARY,
)
from nsp_pipeline.noise.pooling import ALIKE_ERROR, DRIFT, LEAST_SHARE, LESS, PIECE, SHARED_ERROR
from nsp_pipeline.noise.windows import BLOCK, MOST, SIDE

PLANE = FLOAT[1, 1, "H", "W"]
SAID = FLOAT["windows", 2 * TABLE_ROWS, "rows", "columns"]
SAYINGS, SEEN, NEAR = FLOAT["blocks", TABLE_ROWS], FLOAT["blocks", 1], FLOAT["blocks", TABLE_NODES]
NUMBER, NUMBERS = INT64[1], INT64["numbers"]
ROWS, COUNTS = FLOAT[TABLE_ROWS, TABLE_NODES], FLOAT[1, TABLE_NODES]

LAST_NODE = TABLE_NODES - 1
_PLACES = np.arange(TABLE_NODES, dtype=np.float32)
NODES = numpy_helper.from_array(_PLACES)
APART = numpy_helper.from_array((DRIFT * np.abs(_PLACES[:, None] - _PLACES) / LAST_NODE) ** 2)
USUAL_LEVEL = numpy_helper.from_array(level_of(USUAL / 255).astype(np.float32))
USUAL_POWER = numpy_helper.from_array((SPREAD**2).astype(np.float32))
USUAL_GREY, ROOT_OF_CIRCLE = float(SPREAD[0, 0]) ** 2, float(np.sqrt(2 * np.pi))
FAINTEST_POWER = FAINTEST**2
FIRST_COLOURED, COLOURED_STEP = COLOURED[0], COLOURED[1] - COLOURED[0]
ACROSS, DOWN = [1, 2 * WINDOW_RADIUS + 1], [2 * WINDOW_RADIUS + 1, 1]
BESIDE, BELOW = [0, WINDOW_RADIUS] * 2, [WINDOW_RADIUS, 0] * 2


@script()
def places(count: NUMBER, length: NUMBER, side: NUMBER, real: NUMBER) -> NUMBERS:
    """Rows (or columns) of `count` windows, evenly spread; a photo shorter than a window is mirrored."""
    room = length - side
    gap = op.Cast(room, to=DOUBLE.dtype) / op.Cast(op.Max(count - 1, [1]), to=DOUBLE.dtype)
    spread = op.Round(op.Cast(op.Range(0, op.Squeeze(count), 1), to=DOUBLE.dtype) * gap)
    starts = op.Where(count == 1, room / 2, op.Cast(spread, to=INT64.dtype))
    place = op.Reshape(op.Unsqueeze(starts, [1]) + op.Range(0, op.Squeeze(side), 1), [-1])
    return op.Max(op.Where(place >= real, 2 * real - 1 - place, place), [0])


@script()
def cut(image: IMAGE) -> WINDOWS:
    """The windows that are looked at (see noise/windows.py)."""
    height, width = op.Shape(image, start=2, end=3), op.Shape(image, start=3, end=4)
    down = op.Max(op.Min(height / BLOCK * BLOCK, SIDE), BLOCK)
    across = op.Max(op.Min(width / BLOCK * BLOCK, SIDE), BLOCK)
    tall, wide = op.Max(height, BLOCK), op.Max(width, BLOCK)
    down_times = op.Cast(tall, to=DOUBLE.dtype) / op.Cast(down, to=DOUBLE.dtype)
    across_times = op.Cast(wide, to=DOUBLE.dtype) / op.Cast(across, to=DOUBLE.dtype)
    rows = op.Cast(op.Ceil(down_times), to=INT64.dtype)
    columns = op.Cast(op.Ceil(across_times), to=INT64.dtype)
    root = op.Sqrt(op.Cast(op.Constant(value_int=MOST), to=DOUBLE.dtype) * down_times / across_times)
    wanted_rows = op.Min(rows, op.Max(op.Cast(op.Round(root), to=INT64.dtype), [1]))
    wanted_columns = op.Min(columns, MOST / op.Min(wanted_rows, MOST))
    few = rows * columns <= MOST
    rows = op.Where(few, rows, op.Min(wanted_rows, MOST / wanted_columns))
    columns = op.Where(few, columns, wanted_columns)
    strips = op.Gather(image, places(rows, tall, down, height), axis=2)
    pieces = op.Gather(strips, places(columns, wide, across, width), axis=3)
    grid = op.Reshape(pieces, op.Concat([3], rows, down, columns, across, axis=0))
    shape = op.Concat(rows * columns, [3], down, across, axis=0)
    return op.Reshape(op.Transpose(grid, perm=[1, 3, 0, 2, 4]), shape)


@script()
def pooled(level: SAYINGS, unsure: SAYINGS, seen: SEEN, near: NEAR, image: IMAGE):
    """Standard deviation of the photo's noise, from that of its blocks that are seen (see noise/pooling.py).

    And by how much its logarithm may be off.
    """
    weights = op.Transpose(seen / (unsure * unsure))
    precision = op.MatMul(weights, near)
    found = precision > 0
    mean = op.MatMul(weights * op.Transpose(level), near) / op.Max(precision, 1e-9)
    error = SHARED_ERROR * SHARED_ERROR + 1 / op.Max(precision, 1e-9)
    share = op.Cast(op.Unsqueeze(found, [1]), to=FLOAT32) / (op.Unsqueeze(error, [1]) + op.Constant(value=APART))
    total = op.Max(op.ReduceSum(share, [2], keepdims=0), 1e-9)
    level = op.ReduceSum(share * op.Unsqueeze(mean, [1]), [2], keepdims=0) / total
    told = op.Exp(2 * (level - WARY / op.Sqrt(total))) - FAINTEST * FAINTEST
    sides = op.Cast(op.Shape(image, start=2, end=4), to=FLOAT32)
    pieces = op.ReduceProd(sides, keepdims=0) / PIECE
    shared = op.Clip(op.Pow(pieces, op.Constant(value_float=LESS)), LEAST_SHARE, 1.0)
    typical = shared * shared * op.MatMul(op.Transpose(seen), near) / op.Max(precision, 1e-9)
    error = op.Sqrt(ALIKE_ERROR * ALIKE_ERROR + op.Unsqueeze(typical, [1]) + op.Constant(value=APART))
    return op.Sqrt(op.Max(told, 0.0)), op.ReduceSum(share * error, [2], keepdims=0) / total


@script()
def as_usual(sigma: ROWS, unsure: ROWS, share: COUNTS) -> ROWS:
    """Noise that a camera has smoothed by what is usual, as far as it is unsure (see core/usual_noise.py)."""
    coarse, strong = coarse_and_strong(op.Unsqueeze(sigma, [0]))
    all_grey = op.ReduceSum(op.Slice(sigma, [0], [1], [0]), keepdims=0)
    all_colour = op.ReduceSum(op.Slice(sigma, [2], [3], [0]), keepdims=0)
    coloured = op.Clip((all_colour / op.Max(all_grey, 1e-9) - FIRST_COLOURED) / COLOURED_STEP, 0.0, 1.0)
    smoothed = op.And(all_grey > 0.0, op.And(op.Squeeze(coarse), op.Not(op.Squeeze(strong))))
    seen = 0.5 * op.Log(sigma * sigma + FAINTEST_POWER)
    away = op.Constant(value=USUAL_LEVEL) - seen
    grey = op.Slice(unsure, [0], [1], [0])
    apart = op.Sqrt(grey * grey + USUAL_GREY)
    weights = share / (apart * apart)
    total = op.Max(op.ReduceSum(weights, keepdims=0), 1e-9)
    far = op.ReduceSum(weights * op.Slice(away, [0], [1], [0]), keepdims=0) / total
    expected = op.Max(op.ReduceSum(weights * apart, keepdims=0) / total, 1e-9)
    alike = op.Exp(-0.5 * (far / expected) * (far / expected)) / (ROOT_OF_CIRCLE * expected)
    off = unsure * unsure
    weight = coloured * alike / (alike + UNUSUAL) * off / (off + op.Constant(value=USUAL_POWER))
    told = op.Sqrt(op.Max(op.Exp(2 * (seen + weight * away)) - FAINTEST_POWER, 0.0))
    return op.Where(op.And(smoothed, sigma > 0.0), told, sigma)


@script()
def tell(image: IMAGE, windows: WINDOWS, said: SAID):
    """From what the network says of the windows to the photo's noise table (see noise/estimate.py).

    How many of the blocks that are seen have each of its brightnesses, and how far off their grey noise may be.
    """
    ends = op.Or(windows <= END, windows >= 1.0 - END)
    patches = op.AveragePool(op.Cast(ends, to=FLOAT32), kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    clipped = op.ReduceMean(patches, [1])
    size = op.Shape(patches, start=2, end=4)
    rows, columns = op.Gather(size, [0]), op.Gather(size, [1])
    shape = op.Concat(
        [-1], [3], rows, op.Constant(value_ints=[PATCH]), columns, op.Constant(value_ints=[PATCH]), axis=0
    )
    apart = op.Reshape(windows, shape)
    corners = op.Slice(apart, [0, 0], [1, 1], [3, 5])
    same = op.ReduceMin(op.Cast(apart == corners, to=FLOAT32), [1, 3, 5], keepdims=0)
    unclipped = op.Cast(clipped < ALL_CLIPPED, to=FLOAT32)
    even = op.Unsqueeze(same, [1]) * unclipped
    beside = op.Slice(apart, [1], op.Constant(value_ints=[TO_THE_END]), [5])
    equal = op.ReduceMin(op.Cast(beside == op.Slice(apart, [0], [-1], [5]), to=FLOAT32), [1], keepdims=0)
    others = unclipped - even
    equals = op.ReduceSum(op.Unsqueeze(op.ReduceMean(equal, [2, 4], keepdims=0), [1]) * others, keepdims=0)
    drawn = equals >= DRAWN * op.ReduceSum(others, keepdims=0)
    spotless = op.ReduceSum(even, keepdims=0) / op.Max(op.ReduceSum(unclipped, keepdims=0), 1.0)
    blocks = op.AveragePool(clipped, kernel_shape=[2, 2], strides=[2, 2])
    unclipped_blocks = blocks < CLIPPED
    flat = op.MaxPool(even, kernel_shape=[2, 2], strides=[2, 2]) > 0.5
    none = op.And(flat, drawn)
    told_of = op.And(unclipped_blocks, op.Or(drawn, op.Not(flat)))
    some = op.ReduceMax(op.Cast(told_of, to=FLOAT32), keepdims=0) > 0.5
    counted = op.Or(told_of, op.And(unclipped_blocks, op.Not(some)))
    seen = op.Reshape(op.Cast(counted, to=FLOAT32), [-1, 1])
    level, unsure = op.Split(said, num_outputs=2, axis=1)
    level = op.Where(none, op.Log(op.Cast(FAINTEST, to=FLOAT32)), level)
    unsure = op.Where(none, op.Cast(SURE, to=FLOAT32), op.Exp(unsure))
    level = op.Reshape(op.Transpose(level, perm=[0, 2, 3, 1]), [-1, 4])
    unsure = op.Reshape(op.Transpose(unsure, perm=[0, 2, 3, 1]), [-1, 4])
    grey = op.ReduceMean(windows, [1])
    bright = op.Reshape(op.AveragePool(grey, kernel_shape=[BLOCK, BLOCK], strides=[BLOCK, BLOCK]), [-1, 1])
    near = op.Max(1 - op.Abs(op.Clip(bright, 0.0, 1.0) * LAST_NODE - op.Constant(value=NODES)), 0.0)
    sigma, off = pooled(level, unsure, seen, near, image)
    share = op.MatMul(op.Transpose(seen), near)
    red, green, blue = op.Split(windows, num_outputs=3, axis=1)
    colour = op.ReduceMax(op.Abs(red - green) + op.Abs(green - blue), keepdims=0) > 0
    fine, coarse, colours = op.Split(sigma, [1, 1, 2], axis=0)
    sigma = op.Concat(fine, coarse, colours * op.Cast(colour, to=FLOAT32), axis=0)
    faint = op.And(spotless >= SPOTLESS_FAINT, op.ReduceMax(fine, keepdims=0) < FAINT)
    all_drawn = op.And(drawn, spotless >= SPOTLESS)
    noiseless = op.Or(op.Or(all_drawn, faint), op.ReduceMax(sigma, keepdims=0) < NOTHING)
    sigma = as_usual(sigma * op.Cast(op.Not(noiseless), to=FLOAT32), off, share)
    shorter = op.ReduceMin(op.Shape(image, start=2, end=4), keepdims=0)
    known = op.And(op.ReduceSum(seen, keepdims=0) > 0, shorter >= BLOCK / 2)
    table = op.Unsqueeze(op.Where(known, sigma, op.Cast(UNKNOWN, to=FLOAT32)), [0])
    sure = op.ReduceSum(seen * op.Slice(1 / (unsure * unsure), [0], [1], [1]), keepdims=0)
    doubt = op.Sqrt(op.ReduceSum(seen, keepdims=0) / op.Max(sure, 1e-9))
    return table, share, doubt, op.Slice(off, [0], [1], [0])


@script()
def wary(noise: TABLE, off: ROWS, bent: BENT_OR_NOT) -> TABLE:
    """What is told of noise that a camera has smoothed (see core/wary_noise.py): less by as much as it may be off."""
    coarse, strong = coarse_and_strong(noise)
    grey = op.ReduceSum(op.Slice(op.Max(noise, 0.0), [0], [1], [1]), keepdims=0)
    smoothed = op.And(op.And(grey > 0.0, op.Squeeze(coarse)), op.Not(op.Or(bent, op.Squeeze(strong))))
    return op.Where(smoothed, noise * op.Exp(op.Neg(LIKELY_ERRORS * off)), noise)


@script()
def local_mean(values: PLANE) -> PLANE:
    """Over a window around each pixel, at borders over the part that exists; one axis at a time is far less work."""
    across = op.AveragePool(values, kernel_shape=ACROSS, pads=BESIDE)
    return op.AveragePool(across, kernel_shape=DOWN, pads=BELOW)


@script()
def blend(image: IMAGE, centred: IMAGE, clean: IMAGE, noise: TABLE) -> IMAGE:
    """The noisy photo's brightness back where more was removed than noise (see core/blend.py); in 0..1, as photos are.

    Elsewhere the clean estimate, of which `centred` is not brightened yet (see denoise/photo.py).
    """
    deviation = op.Squeeze(op.Max(noise, 0.0), [0])
    fine, _, colour, _ = op.Split(deviation * deviation, num_outputs=4, axis=0)
    grey = op.ReduceMean(centred, [1])
    flat = TRUST_SEEING * between(grey, op.Reshape(fine + colour, [-1]))
    beside = op.Slice(grey, [2], op.Constant(value_ints=[TO_THE_END]), [3]) - op.Slice(grey, [0], [-2], [3])
    below = op.Slice(grey, [2], op.Constant(value_ints=[TO_THE_END]), [2]) - op.Slice(grey, [0], [-2], [2])
    steep = op.Pad(beside * beside, [0, 0, 0, 1, 0, 0, 0, 1]) + op.Pad(below * below, [0, 0, 1, 0, 0, 0, 1, 0])
    edges = local_mean(steep / 4)
    allowed = flat + EDGE_SHARE * edges
    removed = grey - op.ReduceMean(image, [1])
    energy = local_mean(removed * removed)
    weight = op.Where(energy > allowed, allowed / op.Max(energy, 1e-20), op.Cast(1.0, to=FLOAT32))
    change = clean - image
    left = change - (1.0 - weight) * op.ReduceMean(change, [1])
    return op.Clip(op.Where(flat > 0, image + left, image), 0.0, 1.0)
