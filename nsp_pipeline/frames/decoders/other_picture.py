"""Decode a JPEG XL, AVIF, HEIF, JPEG 2000 or WebP picture, as a process of its own: PATH and the kind of file.

See `isolated.py` for why.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.frames.decoders.heif import decode_heif
from nsp_pipeline.frames.decoders.isolated import Answer, Refusal, respond

NAMES = {"jxl": "JPEG XL", "avif": "AVIF", "heif": "HEIF", "jp2": "JPEG 2000", "webp": "WebP"}


def main(arguments: list[str]) -> Answer:
    """Give the samples, (H, W) or (H, W, S); raises Refusal."""
    path, kind = arguments
    data = Path(path).read_bytes()
    try:
        samples = DECODERS[kind](data)
    except (MemoryError, ImportError, Refusal):
        raise
    except Exception as error:
        # Libraries fail on damaged data in more ways than they document.
        details = f"{type(error).__name__}: {error}"
        raise Refusal(f"the {NAMES[kind]} file is damaged: its picture cannot be decoded", details) from error
    return Answer({}, b"", samples)


def _webp(data: bytes) -> NDArray[Any]:
    with Image.open(BytesIO(data), formats=("WEBP",)) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise Refusal("this WebP holds several pictures, as animations do")
        return np.asarray(image)


DECODERS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    "jxl": imagecodecs.jpegxl_decode,
    "avif": imagecodecs.avif_decode,
    "heif": decode_heif,
    "jp2": imagecodecs.jpeg2k_decode,
    "webp": _webp,
}


if __name__ == "__main__":
    respond(main)
