"""Develop one RAW file, as a process of its own: PATH, then perhaps --camera to learn about the camera only.

See `isolated.py` for why.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from nsp_pipeline.frames.decoders.isolated import answer, refuse
from nsp_pipeline.frames.limits import MOST_PIXELS

SMALLEST_SIDE = 16
XTRANS_PERIOD, XTRANS_SMALLEST_SIDE = 6, 512
LEAST_BITS_PER_PIXEL = 0.25
SRGB_GAMMA = (2.4, 12.92)
UNREADABLE = "this RAW file cannot be read"
REASONS = {
    rawpy.LibRawIOError: "the RAW file ends early or is damaged",
    rawpy.LibRawDataError: "the RAW file is damaged",
    rawpy.LibRawFileUnsupportedError: "the RAW file is damaged or of a camera that LibRaw does not know",
}
MOST_EMPTY_ROWS = 3


def main() -> None:
    """Send pixels, what LibRaw knows of the shot, and the embedded JPEG preview; or the reason why nothing is sent."""
    path, only_camera = Path(sys.argv[1]), "--camera" in sys.argv
    try:
        with rawpy.imread(str(path)) as raw:
            facts, preview = _shot(raw), _preview(raw)
            if only_camera:
                answer(facts, preview, np.empty(0, np.uint16))
                return
            doubt = _doubt_header(raw, path.stat().st_size) or _doubt_data(raw)
            if not doubt:
                pixels = develop(raw)
                doubt = _doubt_result(pixels)
    except rawpy.LibRawError as error:
        words = str(error).removeprefix("b'").removesuffix("'")
        refuse(f"{REASONS.get(type(error), UNREADABLE)} (LibRaw: {words})")
        return
    if doubt:
        refuse(doubt)
    else:
        answer(facts, preview, pixels)


def develop(raw: rawpy.RawPy) -> NDArray[np.uint16]:
    """Develop to 16-bit sRGB, (H, W, 3) or (H, W, 1): the camera's white balance, its exposure, turned upright."""
    pixels: NDArray[np.uint16] = raw.postprocess(
        use_camera_wb=True,
        no_auto_bright=True,
        output_bps=16,
        output_color=rawpy.ColorSpace.sRGB,
        gamma=SRGB_GAMMA,
    )
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _doubt_header(raw: rawpy.RawPy, size: int) -> str | None:
    width, height = raw.sizes.raw_width, raw.sizes.raw_height
    if width * height > MOST_PIXELS:
        return f"{width}×{height} is {width * height / 1e6:.0f} megapixels; nsp takes up to {MOST_PIXELS // 10**6}"
    if size * 8 < width * height * LEAST_BITS_PER_PIXEL:
        return f"the file ends early: {size / 1e3:.0f} kB cannot hold the {width}×{height} pixels of its sensor"
    if min(raw.sizes.width, raw.sizes.height) < SMALLEST_SIDE:
        return f"{raw.sizes.width}×{raw.sizes.height} pixels are too few to develop"
    pattern = raw.raw_pattern
    if pattern is not None and len(pattern) == XTRANS_PERIOD and min(width, height) < XTRANS_SMALLEST_SIDE:
        return f"LibRaw cannot develop X-Trans pictures with sides under {XTRANS_SMALLEST_SIDE} pixels"
    return None


def _doubt_data(raw: rawpy.RawPy) -> str | None:
    """LibRaw fills what is missing at the end of some files with a constant."""
    if raw.raw_type != rawpy.RawType.Flat:
        return None
    image = raw.raw_image_visible
    lowest, highest = image.min(axis=1), image.max(axis=1)
    empty = (lowest == highest) & (highest == highest[-1]) & (int(highest[-1]) < raw.white_level)
    rows = len(empty) if empty.all() else int(np.argmin(empty[::-1]))
    if rows > MOST_EMPTY_ROWS:
        return f"the file is damaged or ends early: the last {rows} of {len(empty)} rows are empty"
    return None


def _doubt_result(pixels: NDArray[np.uint16]) -> str | None:
    if pixels.min() == pixels.max():
        return "it develops to a picture of one colour: the file is damaged, or nothing was exposed"
    return None


def _shot(raw: rawpy.RawPy) -> dict[str, Any]:
    """What LibRaw knows of the shot; values that it does not know are 0 or empty."""
    other = raw.other
    return {
        "iso": round(other.iso_speed),
        "exposure": other.shutter_speed,
        "aperture": other.aperture,
        "focal_length": other.focal_length,
        "taken": other.timestamp.strftime("%Y:%m:%d %H:%M:%S") if other.timestamp.year > 1970 else "",
        "artist": other.artist,
    }


def _preview(raw: rawpy.RawPy) -> bytes:
    """The embedded JPEG, whose EXIF says the most where the RAW file is no TIFF inside."""
    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return b""
    return bytes(preview.data) if preview.format == rawpy.ThumbFormat.JPEG else b""


if __name__ == "__main__":
    main()
