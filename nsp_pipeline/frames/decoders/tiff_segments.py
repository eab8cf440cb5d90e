"""Decode the strips or tiles of a TIFF's page one by one, and notice those that are damaged."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from nsp_pipeline.machine.disk_array import PIECE, Allocate, let_go

UNCOMPRESSED, LZW, JPEG, PACKBITS = 1, 5, 7, 32773
COUNTED: dict[int, Callable[[bytes | bytearray], bytes | bytearray]] = {
    LZW: imagecodecs.lzw_decode,
    PACKBITS: imagecodecs.packbits_decode,
}
"""Compressions without a checksum, whose decoders stop where the picture is full: what is left shows the damage."""
OURS = (MemoryError, OSError, ImportError)
"""Failures that say nothing about the file."""


class BrokenSegmentError(ValueError):
    """A strip or tile that cannot be decoded; `words` says so to people, and the text is the library's."""

    def __init__(self, words: str, details: str) -> None:
        super().__init__(details)
        self.words = words


def decode_page(
    page: Any, *, keep_damaged: bool = False, allocate: Allocate = np.zeros
) -> tuple[NDArray[Any], str | None]:
    """Samples of a tifffile page in tifffile's normalised shape (S, D, H, W, C), and what is wrong with them.

    Strips and tiles that cannot be decoded are black where damaged pictures are wanted; else the first of them raises
    BrokenSegmentError.
    """
    samples = allocate(page.shaped, page._dtype)
    count = int(np.prod(page.chunked))
    broken, looked_at = 0, 0
    file = page.parent.filehandle
    for number, (offset, length) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        if number >= count:
            break
        data = b""
        if offset < file.size:
            file.seek(offset)
            data = file.read(min(length, file.size - offset))
        try:
            if len(data) < length:
                raise EOFError(f"{len(data)} of {length} bytes are there")
            _inspect(page, data, number)
            _put(page, data, number, samples)
        except OURS:
            raise
        except Exception as error:
            # Decoders fail on damaged data in more ways than they document.
            if not keep_damaged:
                raise BrokenSegmentError(_words(number, count), f"{type(error).__name__}: {error}") from error
            broken += 1
            _put_what_is_left(page, data, length, number, samples)
        if (looked_at := looked_at + samples.nbytes // count) > PIECE:
            looked_at = 0
            let_go(samples)
    broken += max(0, count - min(len(page.dataoffsets), len(page.databytecounts)))
    return samples, f"{broken} of the {count} parts that its picture is stored in are damaged" if broken else None


def decode_in_order(
    page: Any, samples: NDArray[Any], first: Sequence[range], come: Callable[[int], None]
) -> Iterator[None]:
    """Decode a page into an array of tifffile's normalised shape: what holds the rows of `first`, then the rest.

    Yields once when these are there. `come` hears of how many rows, from the top, are there.

    Raises BrokenSegmentError, also for a page that lacks strips or tiles.
    """
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    down, across = -(-page.imagelength // high), -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
    wanted = sorted({row // high for rows in first for row in (*rows[::high], rows[-1])})
    done, whole = set[int](), 0
    for line in (*wanted, None, *range(down)):
        if line is None:
            yield
        elif line not in done:
            for number in range(line * across, (line + 1) * across):
                _decode_one(page, number, samples)
            done.add(line)
            while whole in done:
                whole += 1
            come(min(whole * high, page.imagelength))
            let_go(samples)


def _decode_one(page: Any, number: int, samples: NDArray[Any]) -> None:
    file = page.parent.filehandle
    try:
        file.seek(page.dataoffsets[number])
        data = file.read(page.databytecounts[number])
        if len(data) < page.databytecounts[number]:
            raise EOFError(f"{len(data)} of {page.databytecounts[number]} bytes are there")
        _put(page, data, number, samples)
    except OURS:
        raise
    except Exception as error:
        # Decoders fail on damaged data in more ways than they document.
        count = int(np.prod(page.chunked))
        raise BrokenSegmentError(_words(number, count), f"{type(error).__name__}: {error}") from error


def _words(number: int, count: int) -> str:
    return f"part {number + 1} of the {count} that its picture is stored in cannot be decoded"


def _put(page: Any, data: bytes, number: int, samples: NDArray[Any]) -> None:
    tables = {"jpegtables": page.jpegtables} if page.compression == JPEG else {}
    segment, (plane, depth, top, left, _), shape = page.decode(data, number, **tables)
    place = samples[plane, depth : depth + shape[0], top : top + shape[1], left : left + shape[2]]
    place[...] = segment[: page.imagedepth - depth, : page.imagelength - top, : page.imagewidth - left]


def _put_what_is_left(page: Any, data: bytes, length: int, number: int, samples: NDArray[Any]) -> None:
    if page.compression == UNCOMPRESSED:
        data = data.ljust(length, b"\0")
    try:
        _put(page, data, number, samples)
    except OURS:
        raise
    except Exception:
        return  # this part stays black


def _inspect(page: Any, data: bytes, number: int) -> None:
    """Raise ValueError for damage that the decoder would pass over."""
    if page.compression == JPEG:
        tables = page.jpegtables
        stream = tables[:-2] + data[2:] if tables else data
        channels = page.samplesperpixel if page.planarconfig == 1 else 1
        if channels in (1, 3) and page.bitspersample == 8:
            simplejpeg.decode_jpeg(stream, "RGB" if channels == 3 else "GRAY")
    if page.compression in COUNTED:
        expected = _stored_bytes(page, number)
        found = len(COUNTED[page.compression](data if page.fillorder == 1 else imagecodecs.bitorder_decode(data)))
        # A byte that fills the part up to an even length reads as one more in PackBits.
        if found not in expected and (page.compression != PACKBITS or found - 1 not in expected):
            raise ValueError(f"{found} bytes where {expected[0]} should be")


def _stored_bytes(page: Any, number: int) -> tuple[int, int]:
    """How many bytes a strip or tile decodes to: as it should, and as a last strip that was filled up."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width, rows = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    row = (width * samples * page.bitspersample + 7) // 8
    if page.is_tiled:
        return row * rows, row * rows
    strips = -(-page.imagelength // rows)
    left = page.imagelength - number % strips * rows
    return row * min(rows, left), row * rows
