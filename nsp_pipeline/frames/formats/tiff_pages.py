"""Which page of a TIFF is the photo, what its tags are, and what becomes of the pages beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.formats.tiff_tags import (
    OLD_JPEG,
    PHOTOMETRIC,
    PHOTOSHOP_LAYERS,
    STRIP_OFFSETS,
    STRIP_SIZES,
    STRUCTURAL_TAGS,
    SUB_IFDS,
    SUBFILE_TYPE,
    TILE_OFFSETS,
    TILE_SIZES,
    TRANSPARENCY_MASK,
)
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS, CarriedPage
from nsp_pipeline.frames.metadata.ifd import (
    CREDENTIALS,
    Directory,
    FileSlices,
    Structure,
    StructureError,
    parse_directory,
    pinned_once,
)

REDUCED, MASK = 1, 4
THUMBNAIL_SIDE = 512
MOST_PAGES = 1000
Position = tuple[int, ...]
"""A page's number, or a page's and a sub-page's."""


def import_tifffile() -> ModuleType:
    """Import tifffile, which takes 40 ms that photos of other kinds need not wait for."""
    import tifffile

    return tifffile  # type: ignore[no-any-return]


def open_tiff(path: Path, file: BinaryIO) -> Any:
    """Open a TIFF in `file`, which `path` names in messages, as a tifffile.TiffFile."""
    return import_tifffile().TiffFile(file, name=path.name)


@dataclass(frozen=True)
class Pages:
    """The page that is the photo (as tifffile has it), where it is, those that go along, and what does not."""

    page: Any
    position: Position
    beside: tuple[Any, ...]
    left_out: tuple[str, ...]


def choose_page(path: Path, tiff: Any) -> Pages:
    """The one picture at full resolution; raises PhotoError where there is none, or several.

    Thumbnails are passed over; grey pages of the picture's size beside a colour one (a scanner's infrared), and
    masks, go along.
    """
    pages: list[tuple[Position, Any]] = [
        ((number,), tiff.pages[number]) for number in range(min(len(tiff.pages), MOST_PAGES))
    ]
    masks = [page for _, page in pages if _is_mask(page)]
    pictures = [(position, page) for position, page in pages if not page.subfiletype & REDUCED and page not in masks]
    thumbnails = len(pages) - len(masks) - len(pictures)
    if not pictures:
        pictures = [
            ((*position, number), page)
            for position, parent in pages
            for number, page in enumerate(parent.pages or ())
            if not page.subfiletype & REDUCED
        ]
    if not pictures:
        raise PhotoError(path, "the TIFF holds no picture, or only a thumbnail")
    if len(pictures) == 2 and _is_thumbnail(pictures[1][1], of=pictures[0][1]):
        pictures.pop()
        thumbnails += 1
    position, page = pictures[0]
    beside = []
    if len(pictures) > 1:
        colour = [entry for entry in pictures if entry[1].samplesperpixel >= 3]
        others = [other for _, other in pictures if other.samplesperpixel == 1]
        if len(colour) != 1 or len(others) != len(pictures) - 1 or any(_size(p) != _size(colour[0][1]) for p in others):
            raise PhotoError(path, f"the TIFF has {len(pictures)} pages; nsp takes files with one picture")
        position, page = colour[0]
        beside = others
    return Pages(page, position, (*beside, *masks), _named("thumbnail", thumbnails))


def _named(what: str, count: int) -> tuple[str, ...]:
    return (f"{count} {what}s" if count > 1 else f"a {what}",) if count else ()


def _is_mask(page: Any) -> bool:
    return bool(page.subfiletype & MASK) or page.tags.valueof(PHOTOMETRIC) == TRANSPARENCY_MASK


def _size(page: Any) -> tuple[int, int]:
    return page.imagewidth, page.imagelength


def _is_thumbnail(page: Any, *, of: Any) -> bool:
    """Cameras put a thumbnail on a second page without saying so, as EXIF has it."""
    longest = int(max(page.imagewidth, page.imagelength))
    return longest <= THUMBNAIL_SIDE and 2 * longest < int(max(of.imagewidth, of.imagelength))


def tags_of(structure: Structure, file: BinaryIO, page: Any) -> Structure:
    """The tags of a page, filled up with what the first page alone says of the photo."""
    root = structure.root
    try:
        own = parse_directory(FileSlices(file), structure.order, structure.big, int(page.offset))
    except StructureError:
        return structure
    described = root.without(STRUCTURAL_TAGS)
    entries = {**described.entries, **own.entries}
    root = pinned_once(Directory(entries, {**described.children, **own.children}))
    return replace(structure, root=root)


def without_pixels(root: Directory) -> tuple[Directory, tuple[str, ...]]:
    """The tags that do not say how pixels are stored; and what is left out with the others, in words."""
    names = {PHOTOSHOP_LAYERS: "Photoshop layers", CREDENTIALS: CONTENT_CREDENTIALS}
    words = tuple(name for tag, name in names.items() if tag in root.entries)
    subfile = root.entries.get(SUBFILE_TYPE)
    full = {SUBFILE_TYPE} if subfile and not any(subfile.data) else set()
    return root.without((STRUCTURAL_TAGS | {CREDENTIALS}) - full), words


def carry_pages(
    structure: Structure, file: BinaryIO, pages: Pages, size: int
) -> tuple[tuple[CarriedPage, ...], tuple[str, ...]]:
    """The pages beside the picture, whole; and those that cannot be carried, in words."""
    carried, left_out = [], []
    for page in pages.beside:
        name = "mask" if _is_mask(page) else "infrared"
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        if page.compression == OLD_JPEG or any(offset + length > size for offset, length in spans):
            left_out.append(f"the {name} page, which is damaged")
            continue
        try:
            own = parse_directory(FileSlices(file), structure.order, structure.big, int(page.offset))
        except StructureError:
            left_out.append(f"the {name} page, which is damaged")
            continue
        kind = TILE_OFFSETS if page.is_tiled else STRIP_OFFSETS
        kept = own.without((*STRIP_TAGS, SUB_IFDS)).entries
        tags = {tag: (entry.type, entry.data) for tag, entry in kept.items()}
        carried.append(CarriedPage(name, tags, kind, tuple(_segments(file, spans))))
    previews = _named("preview", len(pages.page.pages or ()) if len(pages.position) == 1 else 0)
    return tuple(carried), (*left_out, *previews)


STRIP_TAGS = (STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES)


def _segments(file: BinaryIO, spans: list[tuple[int, int]]) -> Iterator[bytes]:
    for offset, length in spans:
        file.seek(offset)
        yield file.read(length)
