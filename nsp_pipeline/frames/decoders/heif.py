"""HEIF, the photos of iPhones: read by pillow-heif, which is installed apart since its codecs have patents on them."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = "HEIF photos are read by pillow-heif, which is not installed: pip install pillow-heif"
COLOUR_CODES = ("color_primaries", "transfer_characteristics")


@dataclass(frozen=True)
class HeifFacts:
    """What a HEIF says of its main picture.

    Size as it is to be looked at, bits of a sample, metadata, H.273's codes of primaries and curve, and in words what
    lies beside the picture.
    """

    width: int
    height: int
    bits: int
    exif: bytes | None
    icc: bytes | None
    xmp: bytes | None
    codes: tuple[int, int] | None
    beside: tuple[str, ...]


def heif_facts(data: bytes) -> HeifFacts:
    """Read them; raises ImportError without pillow-heif, and RuntimeError and others for damaged files."""
    container = _opened(data)
    main = container[container.primary_index]
    info = main.info
    exif = bytes(info.get("exif") or b"")
    if len(exif) > 4 and exif[:4] != b"Exif" and exif[:2] not in (b"II", b"MM"):
        exif = exif[4 + struct.unpack(">I", exif[:4])[0] :]
    stated = info.get("nclx_profile")
    auxiliary = " ".join(info.get("aux") or ())
    beside = {
        "the gain map (HDR)": "gainmap" in auxiliary,
        "the depth map": bool(info.get("depth_images")) or "disparity" in auxiliary or "depth" in auxiliary,
        "further pictures": len(container) > 1,
    }
    width, height = main.size
    return HeifFacts(
        width=width,
        height=height,
        bits=int(info["bit_depth"]),
        exif=exif.removeprefix(b"Exif\0\0") or None,
        icc=info.get("icc_profile") or None,
        xmp=info.get("xmp") or None,
        codes=(int(stated[COLOUR_CODES[0]]), int(stated[COLOUR_CODES[1]])) if stated else None,
        beside=tuple(name for name, there in beside.items() if there),
    )


def decode_heif(data: bytes) -> NDArray[Any]:
    """Decode the main picture, upright: (H, W) or (H, W, S), uint8, or uint16 of the picture's own bits."""
    container = _opened(data)
    return np.asarray(container[container.primary_index])


def _opened(data: bytes) -> Any:
    import pillow_heif

    try:
        return pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    except ValueError as error:
        # For it a damaged file is a wrong value; for who reads it, ValueError is a picture that cannot be given right.
        raise RuntimeError(str(error)) from error
