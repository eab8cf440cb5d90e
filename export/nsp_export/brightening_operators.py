"""Whether a tone curve has bent a picture's noise, and what it takes to undo that, in operators of ONNX.

They compute what nsp_pipeline/noise/bent.py, core/{bent_noise,noise_kind,blend}.py and denoise/photo.py compute, whose
constants they take. Blocks are chosen by weights of 0 and 1. The functions are ONNX Script: read, not run, and turned
into graphs.
"""

import numpy as np
from onnx import TensorProto, numpy_helper
from onnxscript import BOOL, FLOAT, script
from onnxscript import opset20 as op

from nsp_pipeline.core.bent_noise import NODES, STEP, STRONGEST, bend, brightenings
from nsp_pipeline.core.blend import MEAN_RADIUS
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.core.noise_kind import (
    ALIKE,
    AS_USUAL,
    CERTAINLY,
    COARSER_THAN_COLOUR,
    COARSEST,
    COARSEST_GREY,
    COARSEST_LEANING,
    COARSEST_WHITE,
    COLOUR_OF_NOISE,
    EVEN_COLOUR,
    FAINT_COLOUR,
    HARDLY_COLOURED,
    MISJUDGED,
    RISE,
    ROUNDING,
    STRONGEST_SMOOTHED,
    TELLING_COLOUR,
    TINIEST,
    UNEVEN_COLOUR,
    USUAL_DOUBT,
    WHITE_BALANCED,
    WITNESS,
)
from nsp_pipeline.noise.bent import (
    ASTRAY,
    BENT,
    BLACK,
    CALMEST,
    COLOURED,
    CUT_OFF,
    DARK,
    ENOUGH,
    FEWEST,
    FLATTEST,
    HARDLY,
    LEAST,
    LESS,
    RADIUS,
    SIDE,
    TELLING,
    TOO_FAR,
    UNBENT,
    UPRIGHT,
)
from nsp_pipeline.noise.bent import TINIEST as TINIEST_VARIANCE

IMAGE, WINDOWS = FLOAT[1, 3, "H", "W"], FLOAT["windows", 3, "h", "w"]
BENT_OR_NOT, SCALAR = BOOL[...], FLOAT[...]
TABLE, SHARE, BRIGHTENING = FLOAT[1, TABLE_ROWS, TABLE_NODES], FLOAT[1, TABLE_NODES], FLOAT[NODES]
BRIGHTENINGS_OF_CHANNELS = FLOAT[3, NODES]
VALUES, PLACES, BLOCKS = FLOAT["nodes"], FLOAT["images", "channels", "rows", "columns"], FLOAT["blocks", "ways"]


def _constant(values):
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32))


STRONGEST_POWER = (STRONGEST_SMOOTHED * TABLE_NODES) ** 2
CERTAINLY_MORE = CERTAINLY - 1
FIRST_TELLING, TELLING_STEP = TELLING_COLOUR[0], TELLING_COLOUR[1] - TELLING_COLOUR[0]
FIRST_FAINT, FAINT_STEP = FAINT_COLOUR[0], FAINT_COLOUR[1] - FAINT_COLOUR[0]
FIRST_UNEVEN, UNEVEN_STEP = UNEVEN_COLOUR[0], UNEVEN_COLOUR[1] - UNEVEN_COLOUR[0]
FIRST_BALANCED, BALANCED_STEP = WHITE_BALANCED[0], WHITE_BALANCED[1] - WHITE_BALANCED[0]
FIRST_OF_NOISE, OF_NOISE_STEP = COLOUR_OF_NOISE[0], COLOUR_OF_NOISE[1] - COLOUR_OF_NOISE[0]


def _interpolation(to, nodes):
    """(nodes, places): a row of values at the nodes times this is what lies between them."""
    return _constant([np.interp(to, nodes, unit) for unit in np.eye(len(nodes))])


_NODES, _TABLE_NODES = np.linspace(0, 1, NODES), np.linspace(0, 1, TABLE_NODES)
TO_NODES, TO_TABLE = _interpolation(_NODES, _TABLE_NODES), _interpolation(_TABLE_NODES, _NODES)
FROM_DARK = _interpolation(_NODES, DARK)
BRIGHTENINGS, BEND = _constant(brightenings()), _constant(bend())
STEPS = _constant(np.arange(len(brightenings()))[:, None])
MOST_STEPS = STRONGEST / STEP
DARK_PLACES, DARK_STEP = _constant(DARK[None]), float(DARK[1])
BRIGHTER = numpy_helper.from_array(np.where(np.tri(len(DARK), k=-1), len(DARK), np.arange(len(DARK))))
NO_DARK = len(DARK)
INNER, INNER_ENDS = [RADIUS] * 2, [-RADIUS] * 2
LAST_ROW = [TABLE_ROWS - 1, 0, 0, 0]
ACROSS, DOWN, BLOCK = [1, 2 * RADIUS + 1], [2 * RADIUS + 1, 1], [SIDE, SIDE]
MEAN_ACROSS, MEAN_DOWN = [1, 2 * MEAN_RADIUS + 1], [2 * MEAN_RADIUS + 1, 1]
MEAN_BESIDE, MEAN_BELOW = [0, MEAN_RADIUS] * 2, [MEAN_RADIUS, 0] * 2
FLOAT32, INT32 = TensorProto.FLOAT, TensorProto.INT32
SQRT_HALF = 0.5**0.5
TO_THE_END = 1 << 40


@script()
def between(places: PLACES, values: VALUES) -> PLACES:
    """Values at equal steps of 0 to 1, interpolated at places; beyond either end as there."""
    last = op.Cast(op.Size(values) - 1, to=FLOAT32)
    place = op.Clip(places, 0.0, 1.0) * last
    # What is no number has no place: it must come out as none, and not stop the graph.
    below = op.Max(op.Cast(place, to=INT32), op.Cast(0, to=INT32))
    after = op.Slice(values, [1], op.Constant(value_ints=[TO_THE_END]), [0])
    slopes = op.Pad(after - op.Slice(values, [0], [-1], [0]), [0, 1])
    starts = values - slopes * op.Range(0.0, last + 1.0, 1.0)
    return op.Gather(starts, below) + place * op.Gather(slopes, below)


@script()
def flat_blocks(windows: WINDOWS, variance: SHARE):
    """Of all blocks, one channel each: 1 where it is flat, skewness seen and foreseen, brightness, share of black.

    And each channel's variance in parts of what is estimated of its brightness, (channels, 1, 1).
    """
    means = op.AveragePool(op.AveragePool(windows, kernel_shape=ACROSS), kernel_shape=DOWN)
    pixels = op.Slice(windows, INNER, INNER_ENDS, [2, 3])
    difference = pixels - means
    squared = difference * difference
    brightness = op.AveragePool(means, kernel_shape=BLOCK, strides=BLOCK)
    power = op.AveragePool(squared, kernel_shape=BLOCK, strides=BLOCK)
    cubed = op.AveragePool(squared * difference, kernel_shape=BLOCK, strides=BLOCK)
    black = op.AveragePool(op.Cast(pixels <= BLACK, to=FLOAT32), kernel_shape=BLOCK, strides=BLOCK)
    expected = 3 * between(op.ReduceMean(brightness, [1]), op.Reshape(variance, [-1]))
    total = op.ReduceSum(power, [1])
    flat = op.And(total > CALMEST * expected, total < FLATTEST * expected)
    sigma = op.Sqrt(power) + 1e-6
    seen = cubed / (sigma * sigma * sigma)
    foreseen = 3 * between(brightness, op.Constant(value=BEND)) * sigma
    chosen = op.Expand(op.Cast(flat, to=FLOAT32), op.Shape(seen))
    estimated = op.ReduceSum(chosen * between(brightness, op.Reshape(variance, [-1])), [0, 2, 3], keepdims=0)
    uneven = op.ReduceSum(chosen * power, [0, 2, 3], keepdims=0) / op.Max(estimated, TINIEST_VARIANCE)
    return chosen, seen, foreseen, brightness, black, op.Reshape(uneven, [-1, 1, 1])


@script()
def leaning(chosen: BLOCKS, seen: BLOCKS, foreseen: BLOCKS):
    """How far chosen blocks lean as a share of what is foreseen, its standard error, and whether they are enough."""
    power = op.Max(op.ReduceSum(chosen * foreseen * foreseen, [0]), 1e-20)
    share = op.ReduceSum(chosen * seen * foreseen, [0]) / power
    left = (seen - share * foreseen) * foreseen
    error = op.Sqrt(op.ReduceSum(chosen * left * left, [0])) / power
    return share, error, op.ReduceSum(chosen, [0]) >= FEWEST


@script()
def uncut(chosen: BLOCKS, seen: BLOCKS, foreseen: BLOCKS, bright: BLOCKS, black: BLOCKS) -> BRIGHTENING:
    """What is left of the brightening where noise is cut off at black, 0..1."""
    cut_off = op.Cast(op.And(black >= CUT_OFF, foreseen < 0.0), to=FLOAT32)
    near = op.Cast(op.Abs(bright - op.Constant(value=DARK_PLACES)) <= DARK_STEP, to=FLOAT32)
    lean, _, enough = leaning(chosen * cut_off * near, seen, foreseen)
    left = op.Clip((lean - UPRIGHT) / -UPRIGHT, 0.0, 1.0)
    # Where too little is flat, it is as where it is a little brighter; beyond the brightest, all is left.
    as_at = op.ReduceMin(op.Where(enough, op.Constant(value=BRIGHTER), NO_DARK), [1], keepdims=0)
    return op.MatMul(op.Gather(op.Concat(op.Squeeze(left, [0]), [1.0], axis=0), as_at), op.Constant(value=FROM_DARK))


@script()
def as_white(found: TABLE, doubt: SCALAR, upright: BENT_OR_NOT):
    """The noise table, in grey as its colour says where it is of white noise that nothing has bent, or of texture.

    And whether it is one of these.
    """
    grey, colour = op.Split(op.Max(found, 0.0), num_outputs=2, axis=1)
    fine_grey, coarse_grey = op.Split(op.ReduceSum(grey, [0, 2], keepdims=0), num_outputs=2)
    fine_colour, coarse_colour = op.Split(op.ReduceSum(colour, [0, 2], keepdims=0), num_outputs=2)
    there = op.And(upright, op.And(fine_grey > 0.0, fine_colour > 0.0))
    of_grey = coarse_grey / op.Max(fine_grey, 1e-9)
    of_colour = coarse_colour / op.Max(fine_colour, 1e-9)
    strength = fine_colour / op.Max(fine_grey, 1e-9)
    rising = op.Min(COARSER_THAN_COLOUR * of_colour, COARSEST_WHITE + RISE * (of_colour - EVEN_COLOUR))
    least = op.Max(rising, op.Cast(COARSEST_WHITE, to=FLOAT32))
    coarse = op.Clip((of_grey - least) / (CERTAINLY_MORE * least), 0.0, 1.0)
    told = op.Clip((strength - FIRST_TELLING) / TELLING_STEP, 0.0, 1.0)
    told = told * (1.0 - op.Clip((of_colour - FIRST_OF_NOISE) / OF_NOISE_STEP, 0.0, 1.0))
    even = op.Clip((strength - FIRST_FAINT) / FAINT_STEP, 0.0, 1.0)
    even = even * (1.0 - op.Clip((of_colour - FIRST_UNEVEN) / UNEVEN_STEP, 0.0, 1.0))
    even = even * (1.0 - op.Clip((strength - FIRST_BALANCED) / BALANCED_STEP, 0.0, 1.0))
    misjudged = MISJUDGED * MISJUDGED * op.Max(doubt * doubt - USUAL_DOUBT * USUAL_DOUBT, 0.0)
    mistaken = misjudged / (misjudged + AS_USUAL * AS_USUAL) * (1.0 - coarse)
    mistake = even * op.Where(fine_colour >= ALIKE * fine_grey, op.Cast(1.0, to=FLOAT32), mistaken)
    share = op.Max(coarse * told, mistake)
    changed = op.And(there, share > 0.0)
    as_colour = op.Min(SQRT_HALF * colour / op.Max(grey, TINIEST), 1.0)
    return op.Where(changed, op.Concat(grey * op.Pow(as_colour, share), colour, axis=1), found), changed


@script()
def coarse_and_strong(found: TABLE):
    """Whether noise is as coarse as cameras leave it, and whether it is stronger (see core/noise_kind.py)."""
    grey, coarse_grey, colour, coarse_colour = op.Split(
        op.ReduceSum(op.Max(found, 0.0), [0, 2], keepdims=0), num_outputs=4
    )
    pale = colour < HARDLY_COLOURED * grey
    coarse = op.Or(
        op.And(pale, coarse_grey > COARSEST_GREY * grey), op.And(op.Not(pale), coarse_colour > COARSEST * colour)
    )
    strong = op.And(colour >= WITNESS * grey, grey * grey + colour * colour > STRONGEST_POWER)
    return coarse, op.And(strong, grey > 0.0)


@script()
def too_strong(found: TABLE) -> BENT_OR_NOT:
    """Whether noise is as coarse as cameras leave it, but stronger."""
    coarse, strong = coarse_and_strong(found)
    return op.Squeeze(op.And(coarse, strong))


@script()
def brightening(windows: WINDOWS, found: TABLE, share: SHARE, doubt: SCALAR):
    """Whether a curve has bent the noise, and by how much each brightness is too dark (see noise/bent.py).

    First as if the noise were as strong in all channels, then of each. And the noise table, of unsmoothed noise where
    it is bent.
    """
    fine, _, colour, coarse = op.Split(op.Squeeze(op.Max(found, 0.0), [0]), num_outputs=4, axis=0)
    variance = fine * fine + colour * colour
    chosen, seen, foreseen, bright, black, uneven = flat_blocks(windows, variance)
    # (1 + 3, 1, NODES), and one step of noise after the other: (1 + 3, LEVELS, NODES).
    sigma = op.Sqrt(op.Pad(uneven, [1, 0, 0, 0, 0, 0], 1.0) * op.MatMul(variance, op.Constant(value=TO_NODES)))
    steps = op.Max(1 - op.Abs(op.Min(sigma / STEP, MOST_STEPS) - op.Constant(value=STEPS)), 0.0)
    changes = op.ReduceSum(steps * op.Constant(value=BRIGHTENINGS), [1], keepdims=0)
    change, of_channels = op.Split(changes, op.Constant(value_ints=[1, 3]), axis=0)
    mean = op.ReduceSum(op.MatMul(change, op.Constant(value=TO_TABLE)) * share, keepdims=0)
    much = mean >= LEAST * op.ReduceSum(share, keepdims=0)
    coloured = op.ReduceSum(colour, keepdims=0) >= COLOURED * op.ReduceSum(fine, keepdims=0)
    seen, foreseen = op.Reshape(seen, [-1, 1]), op.Reshape(foreseen, [-1, 1])
    chosen, bright, black = op.Reshape(chosen, [-1, 1]), op.Reshape(bright, [-1, 1]), op.Reshape(black, [-1, 1])
    left_to_lean = 1 - LESS * op.Log(op.Max(black / CUT_OFF, 1.0))
    telling = chosen * op.Cast(op.And(black < TELLING, foreseen * left_to_lean < HARDLY), to=FLOAT32)
    lean, error, _ = leaning(telling, seen, foreseen * left_to_lean)
    leans = op.Clip((lean - 2 * error - UNBENT) / (BENT - UNBENT), 0.0, 1.0)
    certain = leans * (1 - op.Clip((lean - ASTRAY) / (TOO_FAR - ASTRAY), 0.0, 1.0))
    enough = op.ReduceSum(telling * left_to_lean * left_to_lean, keepdims=0)
    certain = op.Squeeze(certain) * op.Clip((enough - FEWEST) / op.Cast(ENOUGH - FEWEST, to=FLOAT32), 0.0, 1.0)
    bent = op.And(op.And(much, coloured), certain > 0.0)
    left = uncut(chosen, seen, foreseen, bright, black)
    unsmoothed = ROUNDING * COARSEST * op.ReduceSum(colour) / op.Max(op.ReduceSum(coarse), 1e-9)
    fine_enough = op.ReduceSum(coarse) <= COARSEST_LEANING * op.ReduceSum(colour)
    kept = op.Where(op.And(bent, fine_enough), op.Min(unsmoothed, 1.0), op.Cast(1.0, to=FLOAT32))
    told, _ = as_white(found * op.Pad(kept, LAST_ROW, 1.0), doubt, op.Not(bent))
    all_of_it = op.Cast(bent, to=FLOAT32) * certain * left
    return told, all_of_it * op.Squeeze(change, [0]), all_of_it * of_channels, op.Or(bent, too_strong(told))


@script()
def mend(image: IMAGE, estimated: IMAGE, channel_brightening: BRIGHTENINGS_OF_CHANNELS, bent: BENT_OR_NOT):
    """The estimate with the photo's local means where noise is bent, and that brightened (see denoise/photo.py)."""
    if bent:
        across = op.AveragePool(image - estimated, kernel_shape=MEAN_ACROSS, pads=MEAN_BESIDE)
        centred = estimated + op.AveragePool(across, kernel_shape=MEAN_DOWN, pads=MEAN_BELOW)
        red, green, blue = op.Split(centred, num_outputs=3, axis=1)
        of_red, of_green, of_blue = op.Split(channel_brightening, num_outputs=3, axis=0)
        clean = centred + op.Concat(
            between(red, op.Squeeze(of_red, [0])),
            between(green, op.Squeeze(of_green, [0])),
            between(blue, op.Squeeze(of_blue, [0])),
            axis=1,
        )
    else:
        centred = op.Identity(estimated)
        clean = op.Identity(estimated)
    return centred, clean
