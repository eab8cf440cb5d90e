"""TBSN's attentions and changes of size as single operators, each with its own translation to ONNX.

torch.export proves the divisibility of every reshape of a dynamic side, which takes minutes for what these functions
cut and join. As operators they are opaque to it; here is what they become in ONNX instead. The parity check of every
export (see onnx_file) holds both sides together.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset18 as op
from torch import nn

from nsp_pipeline.models import tbsn, tbsn_attention
from nsp_pipeline.models.tbsn_attention import KEYS, OVERLAP, WINDOW

HALF, HALF_KEYS = WINDOW // 2, KEYS // 2


@torch.library.custom_op("nsp::attend_windows", mutates_args=())
def _attend_windows(qkv: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return tbsn_attention.attend_windows(qkv, places)


@torch.library.custom_op("nsp::attend_channels", mutates_args=())
def _attend_channels(qkv: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    return tbsn_attention.attend_channels(qkv, temperature)


@torch.library.custom_op("nsp::phase_unshuffle", mutates_args=())
def _phase_unshuffle(features: torch.Tensor) -> torch.Tensor:
    return tbsn.phase_unshuffle(features)


@torch.library.custom_op("nsp::phase_shuffle", mutates_args=())
def _phase_shuffle(features: torch.Tensor) -> torch.Tensor:
    return tbsn.phase_shuffle(features)


@_attend_windows.register_fake
@_attend_channels.register_fake
def _like_values(qkv: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = qkv.shape
    return qkv.new_empty(batch, channels // 3, height, width)


@_phase_unshuffle.register_fake
def _halved(features: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = features.shape
    return features.new_empty(batch, 4 * channels, height // 2, width // 2)


@_phase_shuffle.register_fake
def _doubled(features: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = features.shape
    return features.new_empty(batch, channels // 4, 2 * height, 2 * width)


def use_operators(graph: nn.Module) -> None:
    """Let the TBSN inside a graph, if there is one, call the operators above; what it computes stays the same."""
    for module in graph.modules():
        if isinstance(module, tbsn_attention.WindowAttention):
            module.attend = _attend_windows
        elif isinstance(module, tbsn_attention.ChannelAttention):
            module.attend = _attend_channels
        elif isinstance(module, tbsn.Resample):
            module.resize = _phase_unshuffle if module.resize is tbsn.phase_unshuffle else _phase_shuffle


def _numbers(*values: int) -> Any:
    return op.Constant(value=onnx.numpy_helper.from_array(np.array(values, np.int64)))


def _sides(image: Any, divisor: int) -> tuple[Any, Any]:
    """Height and width over a divisor, as vectors of one number."""
    height, width = op.Shape(image, start=2, end=3), op.Shape(image, start=3, end=4)
    return op.Div(height, _numbers(divisor)), op.Div(width, _numbers(divisor))


def _windows_to_onnx(qkv: Any, places: Any) -> Any:
    channels, head_dim = qkv.shape[1] // 3, places.shape[2]
    down, across = _sides(qkv, WINDOW)
    query, key, value = op.Split(qkv, axis=1, num_outputs=3)

    def by_phase(windows: Any, half: int) -> Any:
        """(·, down, 2·half, across, 2·half) -> (N, half², d); N: B, head, down, across, phase row, phase column."""
        shape = op.Concat(_numbers(-1, head_dim), down, _numbers(half, 2), across, _numbers(half, 2), axis=0)
        split = op.Transpose(op.Reshape(windows, shape), perm=[0, 2, 5, 4, 7, 3, 6, 1])
        return op.Reshape(split, _numbers(-1, half * half, head_dim))

    def overlapping(image: Any) -> Any:
        late = WINDOW - OVERLAP
        padded = op.Pad(image, _numbers(0, 0, OVERLAP, OVERLAP, 0, 0, late, late))
        wide = op.Add(op.Shape(image, start=3, end=4), _numbers(WINDOW))
        last, more = np.iinfo(np.int64).max, KEYS - WINDOW
        shape = op.Concat(_numbers(-1), down, _numbers(WINDOW), wide, axis=0)
        here = op.Reshape(op.Slice(padded, _numbers(0), _numbers(-WINDOW), _numbers(2)), shape)
        after = op.Reshape(op.Slice(padded, _numbers(WINDOW), _numbers(last), _numbers(2)), shape)
        rows = op.Concat(here, op.Slice(after, _numbers(0), _numbers(more), _numbers(2)), axis=2)
        shape = op.Concat(_numbers(-1), down, _numbers(KEYS), across, _numbers(WINDOW), axis=0)
        here = op.Reshape(op.Slice(rows, _numbers(0), _numbers(-WINDOW), _numbers(3)), shape)
        after = op.Reshape(op.Slice(rows, _numbers(WINDOW), _numbers(last), _numbers(3)), shape)
        return op.Concat(here, op.Slice(after, _numbers(0), _numbers(more), _numbers(4)), axis=4)

    scale = op.Constant(value=onnx.numpy_helper.from_array(np.float32(head_dim**-0.5)))
    queries = op.Mul(by_phase(query, HALF), scale)
    keys, values = by_phase(overlapping(key), HALF_KEYS), by_phase(overlapping(value), HALF_KEYS)
    logits = op.MatMul(queries, op.Transpose(keys, perm=[0, 2, 1]))
    placed = op.MatMul(op.Transpose(queries, perm=[1, 0, 2]), op.Transpose(places, perm=[0, 2, 1]))
    logits = op.Add(logits, op.Transpose(placed, perm=[1, 0, 2]))
    mixed = op.MatMul(op.Softmax(logits, axis=-1), values)

    shape = op.Concat(_numbers(-1), down, across, _numbers(2, 2, HALF, HALF, head_dim), axis=0)
    image = op.Transpose(op.Reshape(mixed, shape), perm=[0, 7, 1, 5, 3, 2, 6, 4])
    return op.Reshape(image, op.Concat(_numbers(-1, channels), op.Shape(qkv, start=2), axis=0))


def _channels_to_onnx(qkv: Any, temperature: Any) -> Any:
    channels, heads = qkv.shape[1] // 3, temperature.shape[0]
    apart = _numbers(0, heads, channels // heads, -1)
    query, key, value = (op.Reshape(part, apart) for part in op.Split(qkv, axis=1, num_outputs=3))
    tiny = op.Constant(value=onnx.numpy_helper.from_array(np.float32(1e-12)))

    def unit(rows: Any) -> Any:
        return op.Div(rows, op.Max(op.ReduceL2(rows, _numbers(3)), tiny))

    similarity = op.MatMul(unit(query), op.Transpose(unit(key), perm=[0, 1, 3, 2]))
    mixed = op.MatMul(op.Softmax(op.Mul(similarity, temperature), axis=-1), value)
    return op.Reshape(mixed, op.Concat(_numbers(-1, channels), op.Shape(qkv, start=2), axis=0))


def _unshuffle_to_onnx(features: Any) -> Any:
    channels = features.shape[1]
    down, across = _sides(features, 4)
    split = op.Reshape(
        features, op.Concat(_numbers(-1, channels), down, _numbers(2, 2), across, _numbers(2, 2), axis=0)
    )
    joined = op.Transpose(split, perm=[0, 1, 3, 6, 2, 4, 5, 7])
    return op.Reshape(joined, op.Concat(_numbers(-1, 4 * channels), *_sides(features, 2), axis=0))


def _shuffle_to_onnx(features: Any) -> Any:
    channels = features.shape[1] // 4
    down, across = _sides(features, 2)
    split = op.Reshape(
        features, op.Concat(_numbers(-1, channels, 2, 2), down, _numbers(2), across, _numbers(2), axis=0)
    )
    joined = op.Transpose(split, perm=[0, 1, 4, 2, 5, 6, 3, 7])
    height, width = (op.Mul(side, _numbers(4)) for side in (down, across))
    return op.Reshape(joined, op.Concat(_numbers(-1, channels), height, width, axis=0))


def _cells_to_onnx(image: Any, factor: int) -> Any:
    """Pixel unshuffle. ONNX has it with the channels in another order, which one channel does not have.

    The exporter's own translation cuts and turns six dimensions, which takes engines five times as long.
    """
    single = op.Reshape(image, _numbers(-1, 1, 0, 0))
    return op.Reshape(op.SpaceToDepth(single, blocksize=factor), _numbers(-1, image.shape[1] * factor**2, 0, 0))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.nsp.attend_windows.default: _windows_to_onnx,
    torch.ops.nsp.attend_channels.default: _channels_to_onnx,
    torch.ops.nsp.phase_unshuffle.default: _unshuffle_to_onnx,
    torch.ops.nsp.phase_shuffle.default: _shuffle_to_onnx,
    torch.ops.aten.pixel_unshuffle.default: _cells_to_onnx,
}
"""For `torch.onnx.export(custom_translation_table=...)`."""
