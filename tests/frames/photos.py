"""Small photos made for these tests: pixels, metadata and whole files."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    GPS_IFD,
    MAKE,
    MAKER_NOTE,
    MODEL,
    ORIENTATION,
    RESOLUTION_UNIT,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Entry,
    Structure,
    rational_entry,
    serialise,
    short_entry,
    text_entry,
)

ISO = 34855
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def scene(height: int = 48, width: int = 64, channels: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """A smooth noisy picture, (H, W, C), that uses the whole range of its type (floats: 0..1)."""
    rng = np.random.default_rng(seed)
    rows, cols = np.linspace(0, 3, height)[:, None, None], np.linspace(0, 4, width)[None, :, None]
    smooth = 0.5 + 0.4 * np.sin(rows + cols * np.arange(1, channels + 1))
    unit = np.clip(smooth + rng.normal(0, 0.05, (height, width, channels)), 0, 1)
    if np.dtype(dtype).kind == "f":
        return unit.astype(dtype)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def exif(order: Literal["<", ">"] = "<", orientation: int = 1, maker_note: bytes = b"MAKER" * 20) -> bytes:
    """EXIF with a camera, an orientation, a resolution, a position and a MakerNote."""
    shot = Directory({ISO: short_entry(order, 3200), MAKER_NOTE: Entry(UNDEFINED, maker_note)})
    position = Directory({1: text_entry("N"), 2: rational_entry(order, (47, 1), (30, 1), (12, 1))})
    entries = {
        MAKE: text_entry("Canon "),
        MODEL: text_entry("EOS Test"),
        ORIENTATION: short_entry(order, orientation),
        X_RESOLUTION: rational_entry(order, (240, 1)),
        Y_RESOLUTION: rational_entry(order, (240, 1)),
        RESOLUTION_UNIT: short_entry(order, 2),
    }
    return serialise(Structure(order, Directory(entries, {EXIF_IFD: shot, GPS_IFD: position})))


def jpeg_bytes(pixels: NDArray[Any], **options: Any) -> bytes:
    """Encode as JPEG with Pillow's options."""
    stream = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def segment(marker: int, payload: bytes) -> bytes:
    """One JPEG segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Put segments at the head of a JPEG."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def nested_xmp(depth: int) -> bytes:
    """A packet with so many elements inside each other."""
    nested = b"<dc:subject>" * depth + b"</dc:subject>" * depth
    description = b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">%s</rdf:Description>'
    return XMP.replace(b"/></x:xmpmeta>", b">" + description % nested + b"</rdf:RDF></x:xmpmeta>")


def camera_jpeg(path: Path, pixels: NDArray[Any], *, orientation: int = 1, **options: Any) -> Path:
    """A JPEG as cameras write it: EXIF, XMP, an ICC profile in two parts, Photoshop resources, a comment."""
    half = len(ICC) // 2
    data = with_segments(
        jpeg_bytes(pixels, **options),
        segment(0xE1, b"Exif\0\0" + exif(">", orientation)),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        segment(0xE2, b"ICC_PROFILE\0\x01\x02" + ICC[:half]),
        segment(0xE2, b"ICC_PROFILE\0\x02\x02" + ICC[half:]),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x04test"),
        segment(0xFE, b"a comment"),
    )
    path.write_bytes(data)
    return path
