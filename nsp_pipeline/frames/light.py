"""In what encoding a photo is denoised: its own, or a perceptual one where it stores light, or more than white."""

import struct
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.tone import KNOTS, Tone, tone_of
from nsp_pipeline.frames.colour.curves import LINEAR, SRGB, Curve, Parametric, Table, is_credible, is_near_linear
from nsp_pipeline.frames.colour.read_profile import colours_of, curve_of
from nsp_pipeline.frames.colour.statement import stated_curve
from nsp_pipeline.frames.formats.png_metadata import contents_of
from nsp_pipeline.frames.formats.tiff_tags import TRANSFER_FUNCTION
from nsp_pipeline.frames.frame import Frame, Kind, PngSource
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import EXIF_IFD, SHORT, Directory, Structure

LIGHT_WORDS = ("auto", "linear", "encoded")
GAMMA = 42240
"""EXIF's tag for the exponent of stored values."""
RARE = 3e-4
"""This share of a photo's brightest and darkest values does not say how far its range goes: sparks, single pixels."""
SAMPLES = 1 << 20
SCENE_REFERRED = 1.5
"""Floating-point values so far above white, without a profile, are light: no display encoding goes there."""
FINE = 65537


def tone_for(frame: Frame, light: str = "auto") -> Tone | None:
    """How a photo's values are brought to a network and back; None where they are right as they are.

    Args:
        light: "auto" goes by what the file states (ICC profile, cICP, gAMA, TransferFunction, EXIF's Gamma); "linear"
            and "encoded" overrule it.
    """
    if frame.kind is Kind.RAW:
        return None  # developed onto a curve for the eye, whatever its profile will say
    floor, peak, outside = _range(frame.pixels)
    curve = stated_light(frame) if light == "auto" else LINEAR if light == "linear" else SRGB
    if curve is None and peak > SCENE_REFERRED:
        curve = LINEAR
    if curve is not None and is_near_linear(curve):
        return tone_of(_knots(curve), peak, floor)
    return tone_of(np.linspace(0, 1, KNOTS), peak, floor) if outside else None


def stated_light(frame: Frame) -> Curve | None:
    """The curve from stored values to light that a file states; None where it states none, or one that cannot be."""
    curve = _stated(frame)
    return curve if curve is not None and is_credible(curve) else None


def _stated(frame: Frame) -> Curve | None:
    metadata = frame.metadata
    if colours_of(metadata.icc) in ("RGB", "GRAY"):
        return curve_of(metadata.icc)
    if isinstance(metadata.source, PngSource) and (curve := stated_curve(dict(reversed(contents_of(metadata.source))))):
        return curve
    structure = read_structure(metadata.exif)
    return (_transfer_function(structure) or _gamma(structure)) if structure else None


def _transfer_function(structure: Structure) -> Curve | None:
    entry = structure.root.entries.get(TRANSFER_FUNCTION)
    if entry is None or entry.type != SHORT or entry.count < 2:
        return None
    values = structure.numbers(entry)
    one = values[: len(values) // 3] if len(values) % 3 == 0 else values
    return Table(tuple(value / 65535 for value in one))


def _gamma(structure: Structure) -> Curve | None:
    entry = structure.root.children.get(EXIF_IFD, Directory()).entries.get(GAMMA)
    if entry is None or len(entry.data) != 8:
        return None
    above, below = struct.unpack(structure.order + "II", entry.data)
    return Parametric(above / below) if above and below else None


def _range(pixels: NDArray[Any]) -> tuple[float, float, bool]:
    """From where to where floating-point values go, rare ones apart, and whether any lie outside 0..1."""
    if pixels.dtype.kind != "f":
        return 0.0, 1.0, False
    outside = float(pixels.min()) < 0 or float(pixels.max()) > 1
    flat = pixels.reshape(-1)
    step, row = max(1, flat.size // SAMPLES), pixels[0].size
    while gcd(step, row) > 1:  # or it would meet the same channel or columns every time
        step += 1
    sample = flat[::step]
    rare = 1 + int(RARE * (len(sample) - 1))
    ranked = np.partition(sample, sorted({min(rare, len(sample) - 1), max(0, len(sample) - 1 - rare)}))
    floor, peak = float(ranked[min(rare, len(sample) - 1)]), float(ranked[max(0, len(sample) - 1 - rare)])
    return min(0.0, floor), max(1.0, peak), outside


def _knots(curve: Curve) -> NDArray[np.float64]:
    """Stored values of equal steps of sRGB's curve."""
    stored = np.linspace(0, 1, FINE)
    light = SRGB.light(np.linspace(0, 1, KNOTS))
    return np.interp(light, curve.light(stored), stored)
