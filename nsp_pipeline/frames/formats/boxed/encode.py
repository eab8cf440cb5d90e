"""Write JPEG XL, with EXIF, XMP and colours; and turn pictures upright, as it and AVIF want them."""

from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.frames.colour.curves import BT709, LINEAR, SRGB, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, SRGB_PRIMARIES, Primaries, grey_profile, rgb_profile
from nsp_pipeline.frames.colour.read_profile import SAME_LIGHT, curve_of, equivalent, primaries_of
from nsp_pipeline.frames.formats.boxed.boxes import box, boxes
from nsp_pipeline.frames.formats.boxed.jxl_header import restated
from nsp_pipeline.frames.formats.jpeg_segments import NOT_FOR_EXIF
from nsp_pipeline.frames.formats.pixel_planes import samples_of
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.metadata.exif import embeddable, structure_of, upright, with_structure
from nsp_pipeline.frames.metadata.ifd import ORIENTATION

LONGEST_EXIF = (1 << 31) - 1
LOSSLESS_EFFORT, LOSSY_EFFORT = 2, 5
"""Of libjxl, up to which more makes photos smaller by little and takes several times as long."""
TURNS: dict[int, Any] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
"""How each orientation is brought upright, (H, W, ...)."""


def turned_upright(frame: Frame) -> Frame:
    """The photo as it is to be looked at, its orientation normal: viewers of JPEG XL and AVIF do not heed EXIF's."""
    structure = structure_of(frame.metadata)
    turn = TURNS.get((structure.numbers(structure.root.entries.get(ORIENTATION)) or (1,))[0]) if structure else None
    if structure is None or turn is None:
        return frame
    alpha = None if frame.alpha is None else np.ascontiguousarray(turn(frame.alpha))
    metadata = with_structure(frame.metadata, upright(structure))
    return replace(frame, pixels=np.ascontiguousarray(turn(frame.pixels)), alpha=alpha, metadata=metadata)


def encode_jxl(frame: Frame, quality: int | None) -> bytes:
    """Store (H, W, C) uint8, uint16 or float32 and alpha as JPEG XL, lossless unless a quality is asked for.

    Raises ValueError for colours that JPEG XL cannot state without a profile, and for others than sRGB with a loss.
    """
    grey = frame.pixels.shape[2] == 1
    primaries, curve = (None, SRGB) if grey else (SRGB_PRIMARIES, SRGB)
    icc = frame.metadata.icc
    if icc and not equivalent(icc, grey_profile(D65, SRGB, "") if grey else rgb_profile(SRGB_PRIMARIES, SRGB, "")):
        if quality is not None:
            raise ValueError("JPEG XL with --quality is written in sRGB only; without it, other profiles can be kept")
        primaries, curve = _stated(icc, grey=grey)
    how: dict[str, Any] = {"lossless": True, "effort": LOSSLESS_EFFORT}
    if quality is not None:
        how = {"distance": _distance(quality), "effort": LOSSY_EFFORT}
    samples = samples_of(frame)
    plain = quality is not None and samples.dtype == np.uint8
    if quality is not None and not plain:
        samples = _as_light(samples)
    exif = embeddable(frame.metadata, LONGEST_EXIF, NOT_FOR_EXIF)
    written = b""
    for part in boxes(bytes(imagecodecs.jpegxl_encode(samples, usecontainer=True, **how))):
        content = part.content
        if part.name == b"jxlc":
            written += box(b"Exif", bytes(4) + exif) if exif else b""
            written += box(b"xml ", frame.metadata.xmp) if frame.metadata.xmp else b""
            content = content if plain else restated(content, primaries, curve)
        written += box(part.name, content)
    return written


def _as_light(samples: NDArray[Any]) -> NDArray[Any]:
    """Samples of more than 8 bits as imagecodecs takes them to be."""
    light = SRGB.light(to_unit(samples).astype(np.float64))
    return np.rint(65535 * light).astype(np.uint16) if samples.dtype == np.uint16 else light.astype(np.float32)


def _stated(icc: bytes, *, grey: bool) -> tuple[Primaries | None, Parametric]:
    """Primaries, as they are beside D50, and the curve that a profile stands for."""
    curve, primaries = curve_of(icc), None if grey else primaries_of(icc)
    if not isinstance(curve, Parametric) or (primaries is None and not grey):
        raise ValueError("its colour profile is one that JPEG XL can hold only whole, which imagecodecs does not write")
    named = next((known for known in (SRGB, LINEAR, BT709) if _alike(known, curve)), curve)
    return primaries, named


def _alike(one: Parametric, other: Parametric) -> bool:
    ramp = np.linspace(0, 1, 65)
    return bool(np.abs(one.light(ramp) - other.light(ramp)).max() < SAME_LIGHT)


def _distance(quality: int) -> float:
    """JPEG XL's distance for a quality of JPEG, as libjxl translates it."""
    if quality >= 100:
        return 0.0
    return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
