"""Parts of photos as a page or a sheet shows them: 8 bits, in sRGB, upright."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.tone import Tone
from nsp_pipeline.frames.frame import Frame, Metadata, RawSource
from nsp_pipeline.frames.light import tone_for

EIGHT_BIT = np.dtype(np.uint8)


class Screen:
    """How the photos of one file are brought to a screen: `frame` is the photo, `light` as the user says."""

    def __init__(self, frame: Frame, light: str = "auto") -> None:
        self._tone: Tone | None = tone_for(frame, light)
        # What was brought to a curve for the eye is not what the file's profile speaks of.
        self._icc = None if self._tone else _icc_of(frame.metadata)

    def shown(self, pixels: NDArray[Any]) -> Image.Image:
        """A part (h, w, C) of the photo, as stored, as a picture in sRGB."""
        seen = self._tone.seen(pixels) if self._tone else pixels
        eight = seen if seen.dtype == np.uint8 else from_unit(to_unit(seen), EIGHT_BIT)
        image = Image.fromarray(np.ascontiguousarray(eight[..., 0] if eight.shape[2] == 1 else eight[..., :3]))
        return _in_srgb(image, self._icc).convert("RGB")


def _icc_of(metadata: Metadata) -> bytes | None:
    # Pixels of a picture that will be stored in linear light are on a curve in memory.
    linear = isinstance(metadata.source, RawSource) and metadata.source.linear
    return None if linear else metadata.icc


def _in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if not icc:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A damaged profile, or one of another kind of picture: most are near sRGB.
        return image
    return converted or image


def jpeg(image: Image.Image, quality: int) -> bytes:
    """A picture as JPEG with full colour resolution, for colour noise must be seen as it is."""
    # Not Pillow, whose buffer strong noise overflows.
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB")))
    return bytes(simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="444"))


def data_address(image: bytes, kind: str = "jpeg") -> str:
    """What stands in the place of an address where a page holds a picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
