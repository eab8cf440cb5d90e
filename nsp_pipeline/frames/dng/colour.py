"""The colours of a DNG: the curve that its pixels are denoised on, the tags that say what they mean, a rendering."""

import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.dng.corrections import fractions
from nsp_pipeline.frames.dng.tags import (
    AS_SHOT_NEUTRAL,
    AS_SHOT_WHITE_XY,
    CALIBRATION_ILLUMINANT_1,
    CALIBRATION_ILLUMINANT_2,
    COLOR_MATRIX_1,
    COLOR_MATRIX_2,
    D65,
    NOISE_PROFILE,
    OPCODE_LIST_3,
    STANDARD_LIGHT_A,
    UNIQUE_CAMERA_MODEL,
)
from nsp_pipeline.frames.frame import RawSource
from nsp_pipeline.frames.metadata.ifd import (
    MAKE,
    MODEL,
    Directory,
    Entry,
    Order,
    Structure,
    rational_entry,
    short_entry,
    text_entry,
)
from nsp_pipeline.machine.disk_array import beside, let_go

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
FULL = 65535
ROWS_AT_ONCE = 128
SIGNED_RATIONAL, DOUBLE = 10, 12
MATRIX_SCALE, NEUTRAL_SCALE = 10_000, 1_000_000
CARRIED = (
    *(COLOR_MATRIX_1, COLOR_MATRIX_2, 50723, 50724, 50727, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, 50730, 50731, 50732),
    *(50734, 50735, 50736, 50739, 50740, 50741, CALIBRATION_ILLUMINANT_1, CALIBRATION_ILLUMINANT_2, 50827),
    *(50831, 50832, 50833, 50834, 50879, *range(50931, 50933), 50934, *range(50936, 50943), 50964, 50965, 50981, 50982),
    *(51043, 51044, 51058, 51081, 51105, 51107, 51108, 51109, 51110, 52529, 52530, 52531, 52532, *range(52533, 52536)),
    *(52537, UNIQUE_CAMERA_MODEL, 50709),
)
"""Of a DNG's main directory: calibration, white balance, exposure, profiles, names. What points into the file, sums up
its pixels or tells of its previews is left out."""
LENS = (50737, 50738, OPCODE_LIST_3, NOISE_PROFILE, 51125, 52525)
"""Of the picture's directory: what holds of a demosaiced picture too."""


def seen(light: NDArray[np.uint16], source: RawSource) -> NDArray[np.float32]:
    """A demosaiced picture in linear light (see RawSource) as networks see pictures: sRGB on its curve, 0..1."""
    pixels = beside(light)(light.shape, np.float32)
    for top in range(0, len(light), ROWS_AT_ONCE):
        pixels[top : top + ROWS_AT_ONCE] = _curve()[_in_srgb(light[top : top + ROWS_AT_ONCE], source)]
        let_go(light, pixels)
    return pixels


def sensor_of(pixels: NDArray[np.floating[Any]], source: RawSource) -> NDArray[np.uint16]:
    """What a DNG holds, (H, W, C) of 16 bits, of a picture as networks see it, after denoising.

    What was changed there is changed in the sensor's colours; what was not is what the sensor saw, to the bit.
    """
    assert source.light is not None
    back = np.linalg.inv(np.array(source.to_srgb)).T.astype(np.float32) if source.to_srgb else None
    gains = np.array(source.gains, np.float32) / (1 + source.pedestal)
    stored = beside(pixels)(pixels.shape, np.uint16)
    for top in range(0, len(pixels), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        before = _light_before()[_in_srgb(source.light[rows], source)]
        change = _light()[_steps(pixels[rows])] - before
        if back is not None:
            change = change @ (back * np.float32(min(source.gains) * (1 + source.pedestal)))
        signal = (source.light[rows] + change) / gains - np.float32(source.pedestal * FULL)
        stored[rows] = np.clip(np.rint(signal), 0, FULL)
        let_go(source.light, pixels, stored)
    return stored


def linear_of(encoded: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Linear light of 16 bits of what is on sRGB's curve, of any shape."""
    return np.asarray(np.rint(_light()[_steps(encoded)]), np.uint16)


def signal_of(encoded: NDArray[np.floating[Any]], gains: tuple[float, ...], pedestal: float) -> NDArray[np.float64]:
    """The sensor's signal (..., C), white at 1, black at 0 and noise below it, of what is on the curve."""
    values = np.clip(encoded, 0, 1).astype(np.float64)
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.asarray(light * (1 + pedestal) / np.array(gains) - pedestal)


def colour_tags(described: Structure, dng: Structure | None, facts: Mapping[str, Any]) -> dict[int, Entry]:
    """What a DNG's main directory says of colour, in the byte order of `described`.

    Args:
        described: EXIF of the shot, for the camera's name.
        dng: the directory of the file, where that is a DNG.
        facts: what LibRaw knows (see decoders/develop_raw.py).
    """
    order = described.order
    known = dng.root.entries if dng else {}
    tags = {tag: known[tag] for tag in CARRIED if tag in known}
    make, model = (described.text(described.root.entries.get(tag)) or "" for tag in (MAKE, MODEL))
    name = model if model.lower().startswith(make.split(" ")[0].lower()) else f"{make} {model}"
    tags.setdefault(UNIQUE_CAMERA_MODEL, text_entry(name.strip() or "Unknown camera"))
    if len(facts["gains"]) == 1:
        return tags
    if COLOR_MATRIX_1 not in tags and COLOR_MATRIX_2 not in tags:
        matrix = np.array(facts["xyz_to_camera"])
        # Where nobody knows the camera's colours, LibRaw takes them for sRGB's.
        matrix = matrix if np.linalg.matrix_rank(matrix) == 3 else np.linalg.inv(SRGB_TO_XYZ)
        tags[COLOR_MATRIX_1] = _signed_rationals(order, matrix.ravel())
    both = COLOR_MATRIX_1 in tags and COLOR_MATRIX_2 in tags
    lights = (CALIBRATION_ILLUMINANT_1, STANDARD_LIGHT_A if both else D65), (CALIBRATION_ILLUMINANT_2, D65)
    for light, usual in lights[: 2 if both else 1]:
        if not any((described if dng is None else dng).numbers(tags.get(light))):
            tags[light] = short_entry(order, usual)
    neutral = np.array(facts["neutral"])
    if dng is None and (neutral > 0).all():
        seen = neutral.min() / neutral
        tags[AS_SHOT_NEUTRAL] = rational_entry(
            order, *((round(value * NEUTRAL_SCALE), NEUTRAL_SCALE) for value in seen)
        )
    return tags


def lens_tags(dng: Structure | None, picture: Directory) -> dict[int, Entry]:
    """What a DNG says of its picture that holds after demosaicing."""
    if dng is None:
        return {}
    entries = {**dng.root.entries, **picture.entries}
    return {tag: entries[tag] for tag in LENS if tag in entries}


def lowered_noise(order: Order, profile: Entry, share: float) -> Entry:
    """A NoiseProfile whose variances are this share of what they were."""
    if profile.type != DOUBLE:
        return profile
    values = struct.unpack(f"{order}{profile.count}d", profile.data)
    return Entry(DOUBLE, struct.pack(f"{order}{profile.count}d", *(value * share for value in values)))


def rendered(
    linear: NDArray[np.uint16], gains: tuple[float, ...], order: Order, tags: Mapping[int, Entry], side: int
) -> NDArray[np.uint8]:
    """A rendering in sRGB of a DNG's pixels (H, W, C), at most `side` pixels long: (h, w, 3), or (h, w, 1) grey."""
    step = max(1, -(-max(linear.shape[:2]) // side))
    rows, columns = linear.shape[0] // step, linear.shape[1] // step
    light = np.zeros((rows, columns, linear.shape[2]), np.float32)
    for down in range(step):
        for across in range(step):
            light += linear[down : rows * step : step, across : columns * step : step]
    light *= np.array(gains, np.float32) / (min(gains) * step**2 * FULL)
    structure = Structure(order, Directory(tags))
    if linear.shape[2] == 3:
        light = np.minimum(light, 1) @ to_srgb(structure).T.astype(np.float32)
    stops = (*fractions(structure, tags.get(50730)), 0.0)[0]
    encoded = srgb_curve(np.clip(light * 2.0 ** float(np.clip(stops, -4, 4)), 0, 1))
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def to_srgb(structure: Structure) -> NDArray[np.float64]:
    """From white-balanced camera RGB to linear sRGB, (3, 3), white to white."""
    tags = structure.root.entries
    second = structure.numbers(tags.get(CALIBRATION_ILLUMINANT_2)) == (D65,)
    values = fractions(structure, tags.get(COLOR_MATRIX_2 if second else COLOR_MATRIX_1))
    if len(values) != 9:
        return np.eye(3)
    from_srgb = np.array(values).reshape(3, 3) @ SRGB_TO_XYZ
    from_srgb /= from_srgb.sum(1, keepdims=True)
    return np.asarray(np.linalg.inv(from_srgb) if np.linalg.matrix_rank(from_srgb) == 3 else np.eye(3))


def _signed_rationals(order: Order, values: NDArray[np.float64]) -> Entry:
    parts = (struct.pack(order + "ii", round(value * MATRIX_SCALE), MATRIX_SCALE) for value in values)
    return Entry(SIGNED_RATIONAL, b"".join(parts))


def _in_srgb(light: NDArray[np.uint16], source: RawSource) -> NDArray[np.uint16]:
    if not source.to_srgb:
        return light
    matrix = np.array(source.to_srgb).T.astype(np.float32) / np.float32(min(source.gains))
    # The matrix makes noise stronger, so it needs as much room below black again.
    lift = np.float32(source.pedestal)
    values = (light.astype(np.float32) @ matrix + lift * FULL) / (1 + lift)
    return np.asarray(np.clip(np.rint(values), 0, FULL), np.uint16)


def _steps(encoded: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    return np.asarray(np.rint(np.clip(encoded, 0, 1) * np.float32(FULL)), np.uint16)


@cache
def _light() -> NDArray[np.float32]:
    """Linear light, 0 to 65535, of as many steps of sRGB's curve."""
    return (signal_of(np.arange(FULL + 1)[:, None] / FULL, (1.0,), 0.0)[:, 0] * FULL).astype(np.float32)


@cache
def _light_before() -> NDArray[np.float32]:
    """Linear light of what `seen` gives, by its steps: rounded in the same way as what comes back."""
    return np.asarray(_light()[_steps(_curve())])


@cache
def _curve() -> NDArray[np.float32]:
    return srgb_curve(np.arange(FULL + 1) / FULL).astype(np.float32)


def srgb_curve(light: NDArray[Any]) -> NDArray[Any]:
    """Linear light in 0..1 on sRGB's curve, of any shape."""
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055))
