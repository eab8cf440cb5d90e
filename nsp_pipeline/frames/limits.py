"""How large a photo may claim to be: headers are checked before memory is taken for what they promise."""

from pathlib import Path

from nsp_pipeline.errors import PhotoError

MOST_PIXELS = 512_000_000
LONGEST_FILE = 4 << 30
"""Bytes of a JPEG or PNG, which are read whole."""
DEFLATE_RATIO = 1100
"""Deflate cannot make data smaller than 1 in 1032; a header that promises more lies."""
JPEG_RATIO = 4000
"""JPEG takes at least a bit for 64 values."""


def size_text(size: int) -> str:
    """Bytes in words: 48 kB, 3.1 MB."""
    return f"{size / 1e6:.1f} MB" if size >= 10**6 else f"{size / 1e3:.0f} kB" if size >= 10**4 else f"{size} bytes"


def check_size(path: Path, width: int, height: int) -> None:
    """Raise PhotoError for sides of zero and for more than 512 megapixels."""
    if width < 1 or height < 1:
        raise PhotoError(path, f"the header claims {width}×{height} pixels: the file is damaged")
    if width * height > MOST_PIXELS:
        raise PhotoError(
            path, f"{width}×{height} is {width * height / 1e6:.0f} megapixels; nsp takes up to {MOST_PIXELS // 10**6}"
        )


def check_promise(path: Path, promised: int, stored: int, ratio: int) -> None:
    """Raise PhotoError when `stored` bytes, compressed up to 1 : `ratio`, cannot hold `promised` bytes of pixels."""
    if promised > ratio * (stored + 64):
        raise PhotoError(
            path,
            f"the file is damaged: it promises {size_text(promised)} of pixels but holds {size_text(stored)} of data",
        )
