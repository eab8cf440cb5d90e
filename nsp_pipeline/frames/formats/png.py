"""PNG: decode with every check on, and store pixels again together with the source's other chunks."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.formats.pixel_planes import samples_of
from nsp_pipeline.frames.formats.png_data import (
    CHANNELS,
    PALETTE,
    Header,
    doubt_picture_data,
    mended_picture_data,
    unpacked_size,
)
from nsp_pipeline.frames.formats.png_metadata import (
    TEXT_CHUNKS,
    XMP_KEYWORD,
    chunk,
    inflate,
    new_chunks,
    raw_profiles,
    texts,
)
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS, Frame, Kind, Metadata, PngSource
from nsp_pipeline.frames.limits import DEFLATE_RATIO, check_promise, check_size, size_text
from nsp_pipeline.frames.metadata.exif import camera_of, read_structure

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CREDENTIALS_CHUNK = b"caBX"
KEPT_CHUNKS = frozenset(b"cHRM gAMA iCCP sRGB cICP mDCV cLLI pHYs tEXt zTXt iTXt eXIf tIME".split())
"""Chunks that stay true when pixels change. Unknown ones say it of themselves by a lower-case fourth letter."""
DEPEND_ON_STORAGE = frozenset((b"sBIT", b"bKGD"))
"""Chunks that stay true when pixels change, but not when their depth or their channels do."""
CRITICAL = {b"IHDR": "header", b"PLTE": "colour table", b"IDAT": "picture data", b"IEND": "end"}
NEEDED_TO_DECODE = frozenset((b"IHDR", b"PLTE", b"tRNS"))
NEVER_KEPT = frozenset(b"PLTE tRNS hIST sPLT acTL fcTL fdAT iDOT dSIG caBX".split())
Chunk = tuple[bytes, memoryview]
"""Name and content."""


def read_png(path: Path, data: bytes, *, keep_damaged: bool = False) -> Frame:
    """Decode a PNG; raises PhotoError as `read_frame` does."""
    chunks, damage = _chunks(data)
    header = _header(path, chunks)
    check_size(path, header.width, header.height)
    _check_chunks(path, chunks, header)
    damage = damage or doubt_picture_data(_bodies(chunks, b"IDAT"), header)
    if damage:
        if not keep_damaged:
            raise DamagedPhotoError(path, damage)
        data = _mended(chunks, header)
    try:
        decoded: NDArray[np.generic] = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:
        raise PhotoError(path, "the PNG is damaged: its picture cannot be decoded", f"libpng: {error}") from error
    if decoded.shape[:2] != (header.height, header.width):
        raise PhotoError(path, "the PNG is damaged: its header contradicts its picture")
    if decoded.ndim == 2:
        decoded = decoded[..., None]
    colours = decoded.shape[2] - (decoded.shape[2] in (2, 4))
    alpha = np.ascontiguousarray(decoded[..., colours]) if colours < decoded.shape[2] else None
    pixels = np.ascontiguousarray(decoded[..., :colours])
    as_stored = header.colour != PALETTE and decoded.shape[2] == CHANNELS[header.colour]
    metadata = replace(_metadata(chunks, as_stored=as_stored), size=(header.width, header.height))
    return Frame(pixels, alpha, Kind.PNG, metadata, camera_of(read_structure(metadata.exif)), damage)


def read_png_facts(path: Path, file: BinaryIO) -> tuple[bytes | None, tuple[int, int]]:
    """The EXIF of a PNG, wherever it lies, and its width and height; its picture data are not read.

    Raises PhotoError where it has no header that can be read.
    """
    chunks, _ = _chunks(_without_picture_data(file))
    header = _header(path, chunks)
    said = ((name, bytes(body)) for name, body in chunks if name in TEXT_CHUNKS)
    exif = next(_bodies(chunks, b"eXIf"), None) or raw_profiles(texts(said)).get("exif")
    return exif, (header.width, header.height)


def _without_picture_data(file: BinaryIO) -> bytes:
    """A PNG without the chunks that hold its picture, as far as the file goes."""
    file.seek(0)
    parts, position = [file.read(len(SIGNATURE))], len(SIGNATURE)
    while len(start := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", start)
        position += 12 + size
        if name == b"IDAT":
            file.seek(position)
        else:
            parts += start, file.read(size + 4)
        if name == b"IEND":
            break
    return b"".join(parts)


def read_png_header(path: Path, data: bytes) -> Header:
    """What the header of a PNG says, of which the beginning suffices; raises PhotoError."""
    return _header(path, _chunks(data)[0])


def _bodies(chunks: list[Chunk], wanted: bytes) -> Iterator[bytes]:
    return (bytes(body) for name, body in chunks if name == wanted)


def _chunks(data: bytes) -> tuple[list[Chunk], str | None]:
    """Name and content of every chunk up to the last, and what is wrong with them.

    What is no part of the picture is left out where its checksum is wrong. Of picture data that end early, what there
    is is kept.
    """
    view = memoryview(data)
    position = len(SIGNATURE)
    chunks: list[Chunk] = []
    damage = None
    while position + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        name = data[position + 4 : position + 8]
        body = view[position + 8 : position + 8 + size]
        checksum = data[position + 8 + size : position + 12 + size]
        sound = len(checksum) == 4 and zlib.crc32(body, zlib.crc32(name)) == int.from_bytes(checksum)
        if not sound and len(checksum) == 4:
            what = CRITICAL.get(name, "metadata")
            damage = damage or f"the PNG is damaged: the checksum of its {what} is wrong"
        if sound or name in CRITICAL:
            chunks.append((name, body))
        if name == b"IEND":
            return chunks, damage
        position += 12 + size
    return chunks, damage or f"the file ends early: {size_text(len(data))} of PNG data, the picture is incomplete"


def _mended(chunks: list[Chunk], header: Header) -> bytes:
    """A sound PNG of what a damaged one holds."""
    needed = [chunk(name, body) for name, body in chunks if name in NEEDED_TO_DECODE]
    coding = chunk(b"IDAT", mended_picture_data(_bodies(chunks, b"IDAT"), header))
    return b"".join((SIGNATURE, *needed, coding, chunk(b"IEND", b"")))


def _header(path: Path, chunks: list[Chunk]) -> Header:
    if not chunks:
        raise PhotoError(path, "the file ends early: nothing of its picture is there")
    name, body = chunks[0]
    if name == b"CgBI":
        raise PhotoError(path, "this is Apple's own variant of PNG, which nsp does not read")
    if name != b"IHDR" or len(body) != 13:
        raise PhotoError(path, "the PNG is damaged: it does not begin with its header")
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", body)
    if depth not in DEPTHS.get(colour, ()) or interlaced > 1:
        raise PhotoError(path, "the PNG is damaged: its header names colours that PNG does not have")
    return Header(width, height, depth, colour, interlaced)


def _check_chunks(path: Path, chunks: list[Chunk], header: Header) -> None:
    names = [name for name, _ in chunks]
    if b"IDAT" not in names:
        raise PhotoError(path, "the PNG holds no picture data")
    if any(name == b"acTL" and len(body) >= 4 and int.from_bytes(body[:4]) > 1 for name, body in chunks):
        raise PhotoError(path, "this is an animated PNG; nsp would lose its other frames")
    stored = sum(len(body) for name, body in chunks if name == b"IDAT")
    check_promise(path, unpacked_size(header), stored, DEFLATE_RATIO)


def _metadata(chunks: list[Chunk], *, as_stored: bool) -> Metadata:
    first = next(place for place, (name, _) in enumerate(chunks) if name == b"IDAT")
    kept = [
        (place, chunk(name, body))
        for place, (name, body) in enumerate(chunks)
        if name in KEPT_CHUNKS
        or (as_stored and name in DEPEND_ON_STORAGE)
        or (name not in NEVER_KEPT and name[0] & 32 and name[3] & 32)
    ]
    bodies = {name: bytes(body) for name, body in reversed(chunks) if name != b"IDAT"}
    said = texts((name, bytes(body)) for name, body in chunks if name in TEXT_CHUNKS)
    raw = raw_profiles(said)
    packet = next((content for keyword, content in said if keyword == XMP_KEYWORD), None)
    return Metadata(
        exif=bodies.get(b"eXIf") or raw.get("exif"),
        icc=_icc(bodies.get(b"iCCP")) or raw.get("icc"),
        xmp=packet or raw.get("xmp"),
        left_out=(CONTENT_CREDENTIALS,) if CREDENTIALS_CHUNK in bodies else (),
        source=PngSource(
            before=tuple(chunk for place, chunk in kept if place < first),
            after=tuple(chunk for place, chunk in kept if place > first),
        ),
    )


def _icc(body: bytes | None) -> bytes | None:
    if body is None:
        return None
    return inflate(body[body.find(b"\0") + 2 :]) or None


def encode_png(frame: Frame) -> bytes:
    """Store uint8 or uint16 pixels (H, W, C) and alpha as PNG, with the source's chunks or ones made from metadata."""
    data = bytes(imagecodecs.png_encode(samples_of(frame), level=1, strategy=imagecodecs.PNG.STRATEGY.RLE))
    chunks, _ = _chunks(data)
    source = frame.metadata.source
    made = source if isinstance(source, PngSource) else PngSource(new_chunks(frame.metadata), ())
    coding = b"".join(chunk(name, body) for name, body in chunks if name == b"IDAT")
    return b"".join((SIGNATURE, chunk(*chunks[0]), *made.before, coding, *made.after, chunk(b"IEND", b"")))


def without_storage_chunks(source: PngSource) -> PngSource:
    """Leave out what is true of the source's depth and channels only."""
    kept = (
        tuple(chunk for chunk in chunks if chunk[4:8] not in DEPEND_ON_STORAGE)
        for chunks in (source.before, source.after)
    )
    return PngSource(*kept)


def with_exif(source: PngSource, exif: bytes) -> PngSource:
    """Put other EXIF where EXIF is."""
    swapped = (
        tuple(chunk(b"eXIf", exif) if old[4:8] == b"eXIf" else old for old in chunks)
        for chunks in (source.before, source.after)
    )
    return PngSource(*swapped)
