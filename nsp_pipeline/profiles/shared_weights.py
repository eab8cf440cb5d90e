"""Graphs of a bundle that keep their weights in its weights file, so that it holds them once and not in every graph.

ONNX has a way of its own to say so (TensorProto.external_data), so that a bundle unpacked to a folder is still what any
other program reads. In memory a graph is whole again, byte by byte as it was exported.

Both ways are taken on protobuf's wire format (https://protobuf.dev/programming-guides/encoding/), because reading a
profile does not need the package onnx.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

GRAPH, INITIALIZER = 7, 5
"""Fields of ModelProto and GraphProto."""

RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14
"""Fields of TensorProto, which are written in the order of their numbers."""

KEY, VALUE = 1, 2
"""Fields of an entry of `external_data`."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""

Piece = bytes | memoryview

MOST_FIELDS = 100_000
"""Of a message, whose parts are held one by one: the graphs that ship have fewer than 200."""

LEAST = 256
"""Bytes of a tensor below which saying where it lies would take as much room as the tensor."""


def without_weights(model: bytes, weights: bytes, weights_file: str) -> bytes:
    """Return an ONNX file that takes from `weights_file` what of its tensors lies there; anything else as it is.

    Args:
        weights: content of `weights_file`, in the format of safetensors.
    """
    try:
        places = _places(weights)

        def outside(tensor: bytes) -> list[Piece] | None:
            fields = list(_fields(tensor))
            raw = [field for field in fields if field.number == RAW_DATA]
            content = raw[0].content(tensor) if len(raw) == 1 else b""
            if content not in places or any(field.number >= EXTERNAL_DATA for field in fields):
                return None
            entries = {"location": weights_file, "offset": str(places[content]), "length": str(len(content))}
            return [
                tensor[: raw[0].start],
                tensor[raw[0].end :],
                *(_entry(EXTERNAL_DATA, key, value) for key, value in entries.items()),
                _varint(DATA_LOCATION << 3 | VARINT) + b"\x01",
            ]

        stored = _with_tensors(model, outside)
        same = stored != model and with_weights(stored, weights, weights_file, len(model)) == model
    except (ValueError, LookupError, TypeError, AttributeError):  # no ONNX file, or no safetensors
        return model
    return stored if same else model


def with_weights(model: bytes, weights: bytes, weights_file: str, most: int) -> bytes:
    """Return an ONNX file that holds all the tensors it took from `weights_file`.

    Tensors that lie in another file stay there, and what does not name `weights_file` stays as it is.

    Args:
        most: bytes that it may take, however often it takes the same.

    Raises:
        ValueError, IndexError: it takes something that is not there, or too much, or is no ONNX file.
    """
    if weights_file.encode() not in model:
        return model
    left, stored = most, memoryview(weights)

    def inside(tensor: bytes) -> list[Piece] | None:
        nonlocal left
        fields = list(_fields(tensor))
        entries = dict(_read_entry(field.content(tensor)) for field in fields if field.number == EXTERNAL_DATA)
        if entries.get("location") != weights_file:
            return None
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        if offset < 0 or length < 0 or offset + length > len(weights):
            raise ValueError(f"it asks for {length} bytes at {offset}, of {len(weights)}")
        left -= length
        if left < 0:
            raise ValueError(f"it asks for more than {most} bytes")
        kept = [field for field in fields if field.number not in (RAW_DATA, EXTERNAL_DATA, DATA_LOCATION)]
        before, after = (
            b"".join(tensor[field.start : field.end] for field in kept if (field.number < RAW_DATA) is first)
            for first in (True, False)
        )
        return [before + _start(RAW_DATA, length), stored[offset : offset + length], after]

    return _with_tensors(model, inside)


@dataclass(frozen=True)
class _Field:
    """A field of a message: where its tag starts, where what it holds starts, and where that ends."""

    number: int
    start: int
    inside: int
    end: int

    def content(self, message: bytes) -> bytes:
        return message[self.inside : self.end]


def _with_tensors(model: bytes, change: Callable[[bytes], list[Piece] | None]) -> bytes:
    """Change each of the tensors that an ONNX file's graph stores; None leaves one as it is."""
    return b"".join(_changed(model, GRAPH, lambda graph: _changed(graph, INITIALIZER, change)))


def _changed(message: bytes, number: int, change: Callable[[bytes], list[Piece] | None]) -> list[Piece]:
    """The pieces of a message whose fields of a number were changed: joined once, for weights may be large."""
    pieces: list[Piece] = []
    for field in _fields(message):
        changed = change(field.content(message)) if field.number == number else None
        if changed is None:
            pieces.append(message[field.start : field.end])
        else:
            pieces.append(_start(number, sum(map(len, changed))))
            pieces.extend(changed)
    return pieces


def _fields(message: bytes) -> Iterator[_Field]:
    """Raises ValueError or IndexError for what is no message."""
    place, count = 0, 0
    while place < len(message):
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"more than {MOST_FIELDS} fields")
        start = place
        tag, place = _read_varint(message, place)
        kind = tag & 7
        if kind == VARINT:
            end = _read_varint(message, place)[1]
        elif kind == BYTES:
            length, place = _read_varint(message, place)
            end = place + length
        elif kind in (FIXED64, FIXED32):
            end = place + (8 if kind == FIXED64 else 4)
        else:
            raise ValueError(f"wire type {kind} at {start}")
        if end > len(message):
            raise ValueError(f"a field at {start} that ends at {end}, of {len(message)} bytes")
        yield _Field(tag >> 3, start, place, end)
        place = end


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError(f"a number of more than 64 bits before {place}")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _start(number: int, length: int) -> bytes:
    """What stands before the bytes of a field."""
    return _varint(number << 3 | BYTES) + _varint(length)


def _entry(number: int, key: str, value: str) -> bytes:
    both = b"".join(_start(part, len(word)) + word.encode() for part, word in ((KEY, key), (VALUE, value)))
    return _start(number, len(both)) + both


def _read_entry(content: bytes) -> tuple[str, str]:
    found = {field.number: field.content(content).decode() for field in _fields(content)}
    return found.get(KEY, ""), found.get(VALUE, "")


def _places(weights: bytes) -> Mapping[bytes, int]:
    """Where in a safetensors file each of its tensors starts, by their bytes."""
    start = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:start])
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return {weights[start + first : start + last]: start + first for first, last in spans if last - first >= LEAST}
