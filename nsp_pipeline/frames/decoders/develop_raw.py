"""Develop one RAW file, as a process of its own: PATH, then perhaps --camera to learn about the camera only, or --keep.

With --keep a picture of which a part is missing is developed all the same. See `isolated.py` for why.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from nsp_pipeline.frames.decoders.isolated import Answer, Refusal, respond
from nsp_pipeline.frames.limits import MOST_PIXELS

SMALLEST_SIDE = 16
XTRANS_PERIOD, XTRANS_SMALLEST_SIDE = 6, 512
LEAST_BITS_PER_PIXEL = 0.25
SRGB_GAMMA = (2.4, 12.92)
REASONS = {
    rawpy.LibRawIOError: "the RAW file ends early or is damaged",
    rawpy.LibRawDataError: "the RAW file is damaged: its picture data make no sense",
    rawpy.LibRawFileUnsupportedError: "the RAW file is damaged, or of a camera that LibRaw, which reads RAW, lacks",
    rawpy.LibRawTooBigError: "the RAW file is damaged, or its picture is too large for LibRaw, which reads RAW",
    rawpy.LibRawNotImplementedError: "this kind of RAW file is one that LibRaw, which reads RAW, lacks",
    rawpy.LibRawRequestForNonexistentImageError: "the RAW file holds no picture",
    rawpy.LibRawBadCropError: "the RAW file is damaged: its picture is said to lie outside its sensor",
    rawpy.LibRawUnspecifiedError: "the RAW file is damaged or of an unknown kind",
}
"""What LibRaw says of a file. Its other errors, memory that runs out above all, are none of the file's making."""
MOST_EMPTY_ROWS = 3
MISSING_AT_MOST = 64 << 20
"""Bytes of a picture that may be missing, besides as many again as there are."""


def main(arguments: list[str]) -> Answer:
    """Give pixels, what LibRaw knows of the shot, and the embedded JPEG preview; raises Refusal."""
    path, keep = Path(arguments[0]), "--keep" in arguments
    try:
        try:
            return _answer(path, path.stat().st_size, "--camera" in arguments, keep)
        except rawpy.LibRawIOError:
            data = path.read_bytes()  # a disk that cannot be read is not the file's fault: OSError
            if not keep:
                raise
            # What is missing at the end is taken for black.
            return _answer(BytesIO(data + bytes(len(data) + MISSING_AT_MOST)), len(data), False, keep)
    except tuple(REASONS) as error:
        words = str(error).removeprefix("b'").removesuffix("'")
        keepable = isinstance(error, rawpy.LibRawIOError) and not keep
        raise Refusal(REASONS[type(error)], f"LibRaw: {words}", keepable=keepable) from error


def _answer(source: Path | BytesIO, size: int, only_camera: bool, keep: bool) -> Answer:
    with rawpy.imread(str(source) if isinstance(source, Path) else source) as raw:
        facts, preview = _shot(raw), _preview(raw)
        if only_camera:
            return Answer(facts, preview, np.empty(0, np.uint16))
        if doubt := _doubt_header(raw, size):
            raise Refusal(doubt)
        if doubt := _doubt_data(raw):
            if not keep:
                raise Refusal(doubt, keepable=True)
            facts["damage"] = doubt
        pixels = develop(raw)
        if doubt := _doubt_result(pixels):
            raise Refusal(doubt)
        return Answer(facts, preview, pixels)


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
        "sensor": (raw.sizes.raw_width, raw.sizes.raw_height),
        "size": (raw.sizes.width, raw.sizes.height),
    }


def _preview(raw: rawpy.RawPy) -> bytes:
    """The embedded JPEG, whose EXIF says the most where the RAW file is no TIFF inside."""
    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return b""
    return bytes(preview.data) if preview.format == rawpy.ThumbFormat.JPEG else b""


if __name__ == "__main__":
    respond(main)
