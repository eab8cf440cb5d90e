"""Why LibRaw cannot read a RAW file, as far as the file's own directories show."""

import re
from pathlib import Path

from nsp_pipeline.frames.dng.tags import COMPRESSION, raw_directory
from nsp_pipeline.frames.metadata.ifd import (
    MAKE,
    MODEL,
    Directory,
    FileSlices,
    Structure,
    StructureError,
    parse,
)
from nsp_pipeline.frames.sniff import DNG_VERSION, PHOTOMETRIC

COMPLAINTS = {
    "early": "the RAW file ends early: its picture is incomplete",
    "corrupt": "the RAW file is damaged: parts of its picture data make no sense",
}
COMPLAINT = re.compile(
    r"(?P<early>Premature end of JPEG file|Unexpected end of file)|(?P<corrupt>Corrupt JPEG data|data corrupted at)"
)
"""What LibRaw, and libjpeg inside it, print of a picture that they deliver all the same."""
COMPRESSIONS = {
    2: "CCITT fax codes",
    5: "LZW",
    6: "old-style JPEG",
    9: "JBIG",
    32773: "PackBits",
    34712: "JPEG 2000",
    50000: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
LIBRAW_READS = (1, 7, 8, 34892)
"""Compressions of DNG: none, lossless JPEG, deflate (of floating-point numbers), lossy JPEG."""
BITS, SAMPLES = 258, 277
JPEG_XL_ADVICE = "; convert it with Adobe DNG Converter to a DNG of version 1.6 or older"


def unreadable(path: Path, *, certain: bool) -> str | None:
    """Say why LibRaw does not read a file; None where its directories do not show it. Raises OSError.

    Args:
        certain: look only for what LibRaw never reads; else, as it has refused the file, say what kind of file it is.
    """
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            structure = parse(content)
        except StructureError:
            return None
        picture = raw_directory(structure, content)
    code = (*structure.numbers(picture.entries.get(COMPRESSION)), 0)[0]
    is_dng = DNG_VERSION in structure.root.entries
    if is_dng and code and code not in LIBRAW_READS:
        called = COMPRESSIONS.get(code, f"a way that has the number {code}")
        advice = JPEG_XL_ADVICE if "XL" in called else "; save it with another compression"
        return f"the DNG is compressed with {called}, which LibRaw, which reads RAW, does not know{advice}"
    if certain or not is_dng:
        return None
    return _kind(structure, picture)


def _kind(structure: Structure, picture: Directory) -> str | None:
    """What kind of picture it is, where LibRaw refuses that and the file is sound as far as can be seen."""
    photometric = structure.numbers(picture.entries.get(PHOTOMETRIC))
    bits, samples = (structure.numbers(picture.entries.get(tag)) for tag in (BITS, SAMPLES))
    if not photometric or not bits:
        return None
    names = (structure.text(structure.root.entries.get(tag)) for tag in (MAKE, MODEL))
    camera = " ".join(name for name in names if name) or "an unknown camera"
    kind = {32803: "a mosaic", 34892: "linear RAW"}.get(
        photometric[0], f"a picture of photometric kind {photometric[0]}"
    )
    return (
        f"LibRaw, which reads RAW, refuses this DNG of {camera}: {kind} of {(samples or (1,))[0]} channels, "
        f"{bits[0]} bits; it is damaged, or of a kind that LibRaw lacks"
    )
