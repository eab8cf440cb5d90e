"""JPEG XL, AVIF, HEIF, WebP and JPEG 2000: pixels from their libraries, metadata from their boxes."""

import struct
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import DecoderFailedError, PhotoError
from nsp_pipeline.frames.colour.statement import stated_colours
from nsp_pipeline.frames.decoders.heif import MISSING, heif_facts
from nsp_pipeline.frames.decoders.isolated import ask
from nsp_pipeline.frames.formats.boxed.boxes import boxes, riff_chunks
from nsp_pipeline.frames.formats.boxed.jxl_header import START, read_header
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS, Frame, Kind, Metadata
from nsp_pipeline.frames.limits import check_size
from nsp_pipeline.frames.metadata.exif import SELF_CONTAINED, camera_of, read_structure, upright, without_maker_note
from nsp_pipeline.frames.metadata.ifd import ORIENTATION, pinned_entry, serialise

DECODER = "nsp_pipeline.frames.decoders.other_picture"
NAMES = {Kind.JXL: "JPEG XL", Kind.AVIF: "AVIF", Kind.HEIF: "HEIF", Kind.WEBP: "WebP", Kind.JP2: "JPEG 2000"}
PILLOW_FORMATS = {Kind.AVIF: "AVIF", Kind.WEBP: "WEBP", Kind.JP2: "JPEG2000"}
XMP_ID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
EXIF_ID = b"JpgTiffExif->JP2"
SRGB_CODES = (1, 13)
JP2_SRGB, JP2_GREY, JP2_SYCC = 16, 17, 18
C2PA_ID = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")
JUMBF_LABEL_WITHIN = 64
EXIF_MARK = b"Exif\0\0"
AVIF_HEAD = 1 << 16


@dataclass(frozen=True)
class Head:
    """What a file says before its picture is decoded: size, bits of a sample, metadata."""

    width: int
    height: int
    bits: int
    metadata: Metadata


def read_other(path: Path, data: bytes, kind: Kind) -> Frame:
    """Decode a JPEG XL, AVIF, WebP or JPEG 2000; raises PhotoError as `read_frame` does."""
    head = read_head(path, data, kind)
    check_size(path, head.width, head.height)
    samples = ask(path, DECODER, kind.value).pixels
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.ndim != 3 or samples.shape[2] > 4 or samples.dtype not in (np.uint8, np.uint16, np.float32, np.float16):
        raise PhotoError(path, f"the {NAMES[kind]} file holds {samples.shape} of {samples.dtype}, which is no photo")
    samples = _full_range(samples, head.bits)
    colours = samples.shape[2] - (samples.shape[2] in (2, 4))
    alpha = np.ascontiguousarray(samples[..., colours]) if colours < samples.shape[2] else None
    pixels = np.ascontiguousarray(samples[..., :colours])
    metadata = replace(head.metadata, size=(pixels.shape[1], pixels.shape[0]))
    if _is_signed(data, kind):
        metadata = replace(metadata, left_out=(*metadata.left_out, CONTENT_CREDENTIALS))
    bits = head.bits if 8 < head.bits < 16 else None
    return Frame(pixels, alpha, kind, metadata, camera_of(read_structure(metadata.exif)), bits=bits)


def _is_signed(data: bytes, kind: Kind) -> bool:
    """Whether content credentials (C2PA) sign the picture."""
    if kind is Kind.WEBP:
        return b"C2PA" in riff_chunks(data)
    return any(
        (part.name == b"uuid" and part.content.startswith(C2PA_ID))
        or (part.name == b"jumb" and b"c2pa" in part.content[:JUMBF_LABEL_WITHIN])
        for part in boxes(data)
    )


def read_head(path: Path, data: bytes, kind: Kind) -> Head:
    """Read what a file says of itself; raises PhotoError for what nsp cannot give right."""
    try:
        if kind is Kind.JXL:
            return _jxl_head(data)
        if kind is Kind.HEIF:
            return _heif_head(data)
        head = _pillow_head(data, kind)
        return _avif_head(data, head) if kind is Kind.AVIF else _jp2_head(data, head) if kind is Kind.JP2 else head
    except ImportError as error:
        raise DecoderFailedError(path, MISSING, str(error)) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(
            path, f"it has more pixels than Pillow takes, which reads {NAMES[kind]}", str(error)
        ) from error
    except (IndexError, KeyError, struct.error, OSError, SyntaxError, RuntimeError) as error:
        reason = f"the {NAMES[kind]} file is damaged, or of a kind that nsp does not read"
        raise PhotoError(path, reason, f"{type(error).__name__}: {error}") from error
    except ValueError as error:
        raise PhotoError(path, f"{error}; save it anew in sRGB, as one picture") from error


def _full_range(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stretch numbers of 9 to 15 bits to 16."""
    if samples.dtype == np.float16:
        return samples.astype(np.float32)
    if samples.dtype != np.uint16 or not 8 < bits < 16:
        return samples
    largest = 2**bits - 1
    table = np.rint(np.arange(largest + 1) * (65535 / largest)).astype(np.uint16)
    return np.asarray(table[np.minimum(samples, largest)])


def _jxl_head(data: bytes) -> Head:
    if data.startswith(START):
        codestream, exif, xmp = data, None, None
    else:
        parts: dict[bytes, bytes] = {}
        for part in boxes(data):
            name, content = part.name, part.content
            if name == b"brob":
                name, content = content[:4], bytes(imagecodecs.brotli_decode(content[4:]))
            if name == b"jxlp":
                parts[b"jxlc"] = parts.get(b"jxlc", b"") + content[4:]
            else:
                parts.setdefault(name, content)
        codestream, xmp = parts.get(b"jxlc", b""), parts.get(b"xml ")
        exif = parts.get(b"Exif")
        exif = exif[4 + int.from_bytes(exif[:4]) :] if exif else None
    header = read_header(codestream)
    # Decoders turn the picture upright.
    structure = read_structure(exif)
    if structure and ORIENTATION in structure.root.entries:
        exif = serialise(upright(structure))
    return Head(header.width, header.height, header.bits, Metadata(exif, header.colours.profile(grey=header.grey), xmp))


def _pillow_head(data: bytes, kind: Kind) -> Head:
    with Image.open(BytesIO(data), formats=(PILLOW_FORMATS[kind],)) as image:
        info, (width, height) = image.info, image.size
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"this {NAMES[kind]} holds several pictures, as animations do")
    exif = info.get("exif")
    exif = exif.removeprefix(EXIF_MARK) if exif else None
    return Head(width, height, 8, Metadata(exif, info.get("icc_profile") or None, info.get("xmp") or None))


def _avif_head(data: bytes, head: Head) -> Head:
    start = data[:AVIF_HEAD]
    place = start.find(b"av1C")
    flags = start[place + 6] if place >= 0 else 0
    bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    metadata = _with_true_notes(head.metadata, data)
    place = start.find(b"colrnclx")
    if metadata.icc is None and place >= 0:
        metadata = replace(metadata, icc=_profile_of_codes(*struct.unpack_from(">HH", start, place + 8)))
    if b"tmap" in start:
        metadata = replace(metadata, left_out=(*metadata.left_out, "the gain map (HDR)"))
    return replace(head, bits=bits, metadata=metadata)


def _profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """A profile for H.273's codes; None for sRGB, and ValueError where no profile says it."""
    primaries, transfer = {2: 1}.get(primaries, primaries), {2: 13}.get(transfer, transfer)
    statement = stated_colours({b"cICP": bytes((primaries & 255, transfer & 255, 0, 1))})
    assert statement
    return statement.profile(grey=False) if (primaries, transfer) != SRGB_CODES else None


def _heif_head(data: bytes) -> Head:
    facts = heif_facts(data)
    exif, structure = facts.exif, read_structure(facts.exif)
    # The decoder turns the picture upright.
    if structure and ORIENTATION in structure.root.entries:
        exif = serialise(upright(structure))
    icc = facts.icc or (_profile_of_codes(*facts.codes) if facts.codes else None)
    return Head(facts.width, facts.height, facts.bits, Metadata(exif, icc, facts.xmp, left_out=facts.beside))


def _with_true_notes(metadata: Metadata, data: bytes) -> Metadata:
    """Without a MakerNote that was moved: Pillow writes EXIF anew where its orientation is not the picture's."""
    structure = read_structure(metadata.exif)
    note = pinned_entry(structure.root) if structure else None
    if structure is None or note is None or (metadata.exif or b"") in data or note.data.startswith(SELF_CONTAINED):
        return metadata
    bare = replace(structure, root=without_maker_note(structure.root))
    return replace(metadata, exif=serialise(bare), left_out=("the maker's notes",))


def _jp2_head(data: bytes, head: Head) -> Head:
    found: dict[bytes, bytes] = {}
    for part in boxes(data):
        if part.name == b"jp2h":
            for inner in boxes(part.content):
                found.setdefault(inner.name, inner.content)
        elif part.name == b"uuid":
            found.setdefault(part.content[:16], part.content[16:])
    bits = (found[b"ihdr"][10] & 0x7F) + 1 if len(found.get(b"ihdr", b"")) > 10 else 8
    colr = found.get(b"colr", b"\1\0\0" + struct.pack(">I", JP2_SRGB))
    icc = colr[3:] if colr[0] in (2, 3) else None
    if colr[0] == 1:
        (space,) = struct.unpack_from(">I", colr, 3)
        if space not in (JP2_SRGB, JP2_GREY):
            raise ValueError(
                "its colours are YCC" if space == JP2_SYCC else "its colours are of a kind nsp does not know"
            )
    if b"pclr" in found:
        raise ValueError("its colours are in a table")
    for channel, role, colour in struct.iter_unpack(">HHH", found.get(b"cdef", b"")[2:]):
        if role == 0 and colour not in (0, channel + 1):
            raise ValueError("its channels are in an unusual order")
    exif = found.get(EXIF_ID)
    return Head(head.width, head.height, bits, Metadata(exif, icc, found.get(XMP_ID)))
