"""JPEGs damaged in their picture data, in ways that disks and cables have, each the same for the same number."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from photos import jpeg_bytes, scene

from nsp_pipeline.frames.formats.jpeg_layout import parse_layout

VARIANTS: dict[str, tuple[int, dict[str, object]]] = {
    "baseline 4:2:0": (3, {}),
    "baseline 4:4:4": (3, {"subsampling": 0}),
    "grey": (1, {}),
    "restart markers 4:2:0": (3, {"restart_marker_blocks": 8}),
    "restart markers 4:4:4": (3, {"restart_marker_rows": 1, "subsampling": 0}),
    "progressive 4:2:0": (3, {"progressive": True}),
    "progressive 4:4:4": (3, {"progressive": True, "subsampling": 0}),
    "progressive grey": (1, {"progressive": True}),
    "own tables": (3, {"optimize": True}),
}
"""Channels and Pillow's options."""


def swapped(data: bytearray, at: int, size: int) -> None:
    data[at : at + size], data[at + size : at + 2 * size] = data[at + size : at + 2 * size], data[at : at + size]


def overwritten(data: bytearray, at: int, size: int) -> None:
    data[at : at + size] = np.random.default_rng(at).integers(0, 256, size, dtype=np.uint8).tobytes()


def zeroed(data: bytearray, at: int, size: int) -> None:
    data[at : at + size] = bytes(size)


def lost(data: bytearray, at: int, size: int) -> None:
    del data[at : at + size]


DAMAGES = {"swapped": swapped, "overwritten": overwritten, "zeroed": zeroed, "lost": lost}


@cache
def sound_jpeg(variant: str) -> bytes:
    channels, options = VARIANTS[variant]
    return jpeg_bytes(scene(400, 600, channels), quality=90, **options)


def damaged_jpegs(variant: str, damage: str, size: int, count: int) -> Iterator[bytes]:
    """So many JPEGs, each with `size` bytes of damage in the middle three fifths of its picture data."""
    data = sound_jpeg(variant)
    start = parse_layout(Path("sound.jpg"), data).scans_start
    fifth = (len(data) - start) // 5
    places = np.random.default_rng(size).integers(start + fifth, len(data) - fifth, count)
    for place in places:
        broken = bytearray(data)
        DAMAGES[damage](broken, int(place), size)
        yield bytes(broken)
