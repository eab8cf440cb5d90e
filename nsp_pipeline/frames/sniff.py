"""What a file's content is: decided by its first bytes and its directory, never by its name alone."""

from contextlib import suppress
from pathlib import Path

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Kind
from nsp_pipeline.frames.metadata.ifd import (
    RAW_MAGIC,
    Buffer,
    Directory,
    Structure,
    StructureError,
    following_directories,
    parse,
    parse_directory,
)

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos"}
    | {".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)
FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".webp", ".jp2", ".j2k", ".jpf", ".jpx"})
"""Of files that are read and not written: they become TIFF."""
PHOTO_SUFFIXES = (
    frozenset({".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".png", ".tif", ".tiff", ".jxl", ".avif"})
    | FOREIGN_SUFFIXES
    | RAW_SUFFIXES
)
"""Suffixes (lower case) of files that are looked at in a folder."""
OTHER_IMAGE_SUFFIXES = frozenset(
    {".bmp", ".exr", ".gif", ".hdr", ".ico", ".mpo"}
    | {".pbm", ".pgm", ".pnm", ".ppm", ".psb", ".psd", ".raw", ".svg", ".tga", ".xcf"}
)
"""Suffixes (lower case) of pictures that are known and not read."""

DNG_VERSION, PHOTOMETRIC, SUB_IFDS = 50706, 262, 330
SUBFILE_TYPE = 254
CFA, LINEAR_RAW = 32803, 34892
DEVELOPED_PHOTOMETRICS = (0, 1, 2, 6)
"""Grey (two ways), RGB, YCbCr."""
MOST_SUB_IFDS = 16

JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PHOTO_MAGIC, LONGEST_MAGIC = (JPEG_MAGIC, PNG_MAGIC, *TIFF_MAGIC), 8
FOREIGN_MAGIC = {
    b"\x00\x00\x00\x0cjP": Kind.JP2,
    b"\xff\x4f\xff\x51": Kind.JP2,
    b"\xff\x0a": Kind.JXL,
    b"\x00\x00\x00\x0cJXL": Kind.JXL,
}
HEIF_BRANDS, MOST_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"heim"), 256
OTHER_MAGIC = {
    b"BM": "a BMP picture",
    b"GIF8": "a GIF picture",
    b"8BPS": "a Photoshop document",
    b"v/1\x01": "an OpenEXR picture",
    b"#?R": "a Radiance HDR picture",
    b"\x00\x00\x01\x00": "an icon",
    **{b"P%d" % number: "a PPM, PGM or PBM picture" for number in range(1, 8)},
    b"%PDF": "a PDF document",
    b"PK": "a zip archive",
    b"<?xml": "an XML text",
    b"<svg": "an SVG drawing",
}


def sniff(path: Path, content: Buffer) -> Kind:
    """Say what a file is; raises PhotoError, saying what it is instead, for anything that is not a photo we read."""
    head = content[0:64]
    if not head:
        raise PhotoError(path, "the file is empty (0 bytes)")
    if head.startswith(JPEG_MAGIC):
        return Kind.JPEG
    if head.startswith(PNG_MAGIC):
        return Kind.PNG
    if _is_other_raw(head):
        return Kind.RAW
    if kind := next((kind for magic, kind in FOREIGN_MAGIC.items() if head.startswith(magic)), None):
        return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[4:8] == b"ftyp" and b"avif" in content[8 : int.from_bytes(head[:4])][:MOST_BRANDS]:
        return Kind.AVIF
    if head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in HEIF_BRANDS):
        return Kind.HEIF
    try:
        structure = parse(content)
    except StructureError as error:
        if head.startswith(TIFF_MAGIC):
            raise PhotoError(path, f"the TIFF is damaged: {error}") from error
        raise PhotoError(path, f"this is {_what(head)}, not a photo that nsp reads") from None
    if _is_raw(head, content, structure):
        return Kind.RAW
    suffix = path.suffix.lower()
    called_dng = suffix == ".dng" or DNG_VERSION in structure.root.entries
    if suffix in RAW_SUFFIXES - {".dng"} or (called_dng and not _is_developed(structure)):
        return Kind.RAW
    return Kind.TIFF


def begins_like_photo(path: Path) -> bool:
    """Whether a file begins as JPEG, PNG and TIFF do; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_MAGIC).startswith(PHOTO_MAGIC)
    except OSError:
        return False


def _is_raw(head: bytes, content: Buffer, structure: Structure) -> bool:
    """RAW files that are TIFF inside: Canon's CR2, and whatever stores a colour filter array or linear RAW.

    DNGVersion alone says nothing: programs leave it in the pictures that they develop.
    """
    if head[8:10] == b"CR" or structure.magic in RAW_MAGIC:
        return True
    directories = picture_directories(structure, content)
    photometrics = [structure.numbers(directory.entries.get(PHOTOMETRIC)) for directory in directories]
    return any(photometric and photometric[0] in (CFA, LINEAR_RAW) for photometric in photometrics)


def _is_developed(structure: Structure) -> bool:
    """Whether the main directory is of a picture in full size that needs no developing."""
    photometric, kind = (structure.numbers(structure.root.entries.get(tag)) for tag in (PHOTOMETRIC, SUBFILE_TYPE))
    return bool(photometric) and photometric[0] in DEVELOPED_PHOTOMETRICS and not (kind and kind[0] & 1)


def picture_directories(structure: Structure, content: Buffer) -> list[Directory]:
    """The main directory of a TIFF structure, those that its SubIFDs tag lists and those that follow it.

    Each may describe a picture.
    """
    directories = [structure.root]
    for offset in structure.numbers(structure.root.entries.get(SUB_IFDS))[:MOST_SUB_IFDS]:
        with suppress(StructureError):
            directories.append(parse_directory(content, structure.order, structure.big, offset))
    with suppress(StructureError):
        directories += following_directories(structure, content)
    return directories


def _is_other_raw(head: bytes) -> bool:
    """RAW files that are no TIFF inside: Fuji, Minolta, Sigma, Canon's CRW and CR3."""
    return (
        head.startswith((b"FUJIFILMCCD-RAW", b"\0MRM", b"FOVb"))
        or head[6:14] == b"HEAPCCDR"
        or head[4:12] == b"ftypcrx "
    )


def _what(head: bytes) -> str:
    for magic, name in OTHER_MAGIC.items():
        if head.startswith(magic):
            return name
    if head[36:40] == b"acsp":
        return "a colour profile"
    if head[4:8] == b"ftyp":
        return "a film, or a picture of a kind that nsp does not know"
    if not head.strip(b"\0"):
        return "a file that begins with zeros, as failed copies do"
    if head.isascii() and all(byte >= 32 or byte in b"\t\n\r" for byte in head):
        return "a text"
    return "a file of unknown kind or a damaged one"
