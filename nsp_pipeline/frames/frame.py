"""A photo in memory: its pixels as stored, and everything needed to write its metadata again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from nsp_pipeline.frames.rows import Rows

Tag = tuple[int, bytes]
"""Type code and raw value of an entry in a TIFF directory, in its structure's byte order."""
CONTENT_CREDENTIALS = "content credentials (C2PA), which no changed picture can keep"


class Kind(StrEnum):
    """What a file's content is, whatever the file is called."""

    JPEG = "jpeg"
    PNG = "png"
    TIFF = "tiff"
    RAW = "raw"
    JXL = "jxl"
    AVIF = "avif"
    HEIF = "heif"
    WEBP = "webp"
    JP2 = "jp2"


@dataclass(frozen=True)
class Camera:
    """What a photo's EXIF says of its making; names as written there, blanks and NULs stripped."""

    make: str | None = None
    model: str | None = None
    iso: int | None = None


@dataclass(frozen=True)
class Facts:
    """What a file says of itself without its picture being decoded.

    `size` is (width, height) as stored, and `shot_size` what EXIF says the camera made; None where it is not said.
    """

    kind: Kind
    camera: Camera
    software: str | None = None
    size: tuple[int, int] | None = None
    shot_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class JpegSource:
    """How a JPEG was stored: enough to store another picture in the same way."""

    segments: bytes
    """All APPn and COM segments, byte for byte, in their order."""
    tables: tuple[tuple[int, ...], ...]
    """Quantisation tables of 64 values, luma first."""
    subsampling: int
    """Pillow's number: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0; -1 is none of these."""
    process: int
    """Second byte of the frame header's marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive."""
    stored_as_rgb: bool
    trailer: bytes
    """What follows the picture (previews, gain maps), empty where nothing does."""
    trailer_offset: int


@dataclass(frozen=True)
class PngSource:
    """The ancillary chunks of a PNG, whole (length, type, data, CRC), before and after its pixels."""

    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


@dataclass(frozen=True)
class CarriedPage:
    """A page of a TIFF that goes along as it is (a scanner's infrared, a mask): its tags, and its strips or tiles.

    `tags` are type codes and raw values, in the file's byte order, by tag.
    """

    name: str
    tags: Mapping[int, tuple[int, bytes]]
    offsets_tag: int
    segments: tuple[bytes, ...]


@dataclass(frozen=True)
class TiffSource:
    """How a TIFF was stored."""

    compression: int
    big: bool
    alpha_kind: int | None
    """TIFF's ExtraSamples code of the alpha channel."""
    white_is_zero: bool
    half: bool
    """Stored as 16-bit floats."""
    pages: tuple[CarriedPage, ...] = ()


@dataclass(frozen=True)
class RawSource:
    """How a RAW file was read, and what a DNG of its picture must say.

    Of a picture in the sensor's own colours, `gains` are what each channel was multiplied by (the largest is 1)
    before it was put on sRGB's curve, and `pedestal` what was added to the light before, so that noise is not cut off
    at black; no gains where the picture was developed. `linear` says that a developed picture is
    stored in linear light, whatever curve its pixels have in memory. `crop` is left, top, width and height of the
    picture proper; None where that is all of it. `tags` are the DNG's own, for the main directory, and `lens` those of
    the picture's. `noise_left` is the share of the noise's variance that denoising left.
    """

    gains: tuple[float, ...] = ()
    pedestal: float = 0.0
    light: NDArray[Any] | None = None
    """The demosaiced picture (H, W, C) uint16 in linear light, with gains and pedestal, of which the frame's pixels are
    a view: in sRGB, as the eye and networks see it, where what sRGB has no place for is cut off."""
    to_srgb: tuple[tuple[float, ...], ...] = ()
    """From white-balanced sensor colours to linear sRGB (3, 3), white to white; empty for grey."""
    mosaic: tuple[int, ...] = ()
    """Of a Bayer mosaic: colours (0 red, 1 green, 2 blue) of the four pixels of a cell, row by row. The frame's pixels
    are then (H/2, W/2, 4), a channel for each of them."""
    mosaic_size: tuple[int, int] = (0, 0)
    """Rows and columns of the mosaic, which may be odd."""
    linear: bool = False
    orientation: int = 1
    crop: tuple[int, int, int, int] | None = None
    tags: Mapping[int, Tag] = field(default_factory=dict)
    lens: Mapping[int, Tag] = field(default_factory=dict)
    maker_note: tuple[int, Tag] | None = None
    """Where it lay in its file, and what it was."""
    noise_left: float = 1.0


@dataclass(frozen=True)
class Metadata:
    """What a photo says besides its pixels.

    `exif` is TIFF-structured: byte order mark, IFD0 and the directories below it; `xmp` is its packet; `icc` the
    colour profile. `source` serves to write the same kind of file again, byte for byte where it can be, and `size`
    (width, height) to notice that a picture was enlarged. `maker_note_at` is where the MakerNote lay in the photo's
    file, where it does not lie there in `exif`. `left_out` names what the file holds and no output will.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    source: JpegSource | PngSource | TiffSource | RawSource | None = None
    size: tuple[int, int] | None = None
    maker_note_at: int | None = None
    left_out: tuple[str, ...] = ()
    photoshop: bytes | None = None
    """Photoshop's resource block, which holds IPTC, of a JPEG or PNG on its way into another kind of file."""
    comments: tuple[bytes, ...] = ()
    """Of a JPEG on such a way."""


@dataclass(frozen=True)
class Frame:
    """One photo.

    `pixels` is (H, W, C), uint8, uint16 or float32 (black 0, white 1; a TIFF's may lie outside), with C = 1 (grey) or
    3 (RGB), in the stored orientation: what the orientation tag asks for is left to the viewer, and the tag is kept.
    RAW photos come turned upright, with the tag set to match. `alpha` is (H, W) of the same type, or None. `damage`
    says what is wrong with a picture that was read although it is damaged; None for a sound one.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None
    kind: Kind
    metadata: Metadata
    camera: Camera
    damage: str | None = None
    bits: int | None = None
    """Of a sample in the photo's file, where these are fewer than those of `pixels`."""
    rows: Rows | None = None
    """Of pixels that are still to come: how far they are. None: all of them are there."""

    @property
    def depth(self) -> int:
        """Bits of a sample in the photo's file."""
        return self.bits or 8 * self.pixels.dtype.itemsize
