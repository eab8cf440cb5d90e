"""A simulated camera that writes RAW: a scene in, a Bayer DNG out, and the truth that no real camera tells.

Light of a known colour falls on a scene; the lens shades the corners; the sensor sees it through three filters that are
linear in CIE XYZ, counts electrons (Poisson), adds read noise (Gauss), and stores a mosaic over a black level.
"""

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.dng.opcodes import GainMap, opcode_of, serialise_opcodes
from nsp_pipeline.frames.metadata.ifd import (
    BYTE,
    EXIF_IFD,
    MAKE,
    MODEL,
    ORIENTATION,
    RATIONAL,
    XMP,
    Directory,
    Entry,
    long_entry,
    rational_entry,
    serialise_directory,
    short_entry,
    text_entry,
)

SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
WHITES = {"D65": (0.9505, 1.0, 1.089), "D50": (0.9642, 1.0, 0.8251), "A": (1.0985, 1.0, 0.3558)}
"""XYZ of light sources."""
LIGHT_CODES = {"D65": 21, "D50": 23, "A": 17}
XYZ_TO_CAMERA = ((0.7034, -0.0804, -0.1014), (-0.4420, 1.2564, 0.2058), (-0.0851, 0.1994, 0.5758))
"""Of a full-frame camera of 2012, rounded."""
SIGNED_RATIONAL, DOUBLE, FLOAT32 = 10, 12, 11
CELLS = {"RGGB": (0, 1, 1, 2), "BGGR": (2, 1, 1, 0), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1)}
GRID = 17


@dataclass(frozen=True)
class RawCamera:
    """The properties of a simulated camera."""

    model: str = "Camera One"
    xyz_to_camera: tuple[tuple[float, ...], ...] = XYZ_TO_CAMERA
    pattern: str = "RGGB"
    black: int = 512
    white: int = 16383
    electrons: float = 50_000.0
    """That fill a pixel to white at ISO 100."""
    read_noise: float = 3.0
    """Electrons."""
    shading: float = 0.0
    """Share of the light that the corners lose."""

    def noise(self, iso: int) -> tuple[float, float]:
        """The two numbers a and b of the noise's variance a·x + b, for signals x of 0 (black) to 1 (white)."""
        full = self.electrons * 100 / iso
        return 1 / full, (self.read_noise / full) ** 2

    def neutral(self, light: str) -> NDArray[np.float64]:
        """What it sees of white under a light, the largest of the three being 1."""
        seen = np.array(self.xyz_to_camera) @ WHITES[light]
        return np.asarray(seen / seen.max())

    def sees(self, scene: NDArray[np.floating], light: str = "D65") -> NDArray[np.float64]:
        """Camera RGB (H, W, 3) of a scene (H, W, 3) in linear sRGB; at its white, 1, the first channel is full."""
        cone, target = BRADFORD @ WHITES["D65"], BRADFORD @ WHITES[light]
        adapted = np.linalg.inv(BRADFORD) @ np.diag(target / cone) @ BRADFORD
        matrix = np.array(self.xyz_to_camera)
        whole = matrix @ adapted @ SRGB_TO_XYZ / (matrix @ WHITES[light]).max()
        return np.asarray(np.clip(scene @ whole.T, 0, None))


@dataclass(frozen=True)
class RawShot:
    """One shot: mosaic (H, W) uint16 with noise, the same without (float, 0..1, black at 0), and camera RGB of all."""

    camera: RawCamera
    iso: int
    light: str
    mosaic: NDArray[np.uint16]
    clean_mosaic: NDArray[np.float64]
    """With the lens's shading."""
    truth: NDArray[np.float64]
    """Camera RGB (H, W, 3) in 0..1 without noise and shading."""


@dataclass(frozen=True)
class DngOptions:
    """What a DNG says beside its picture.

    `border` is (top, left, bottom, right) masked pixels around the active area; `crop` is (left, top, width, height)
    inside it; `gain_map` has the file say how to undo the lens's shading.
    """

    orientation: int = 1
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    crop: tuple[int, int, int, int] | None = None
    gain_map: bool = False
    baseline_exposure: float | None = None
    neutral: bool = True
    illuminant: bool = True
    noise_profile: bool = False
    xmp: bytes | None = None
    entries: dict[int, Entry] = field(default_factory=dict)
    """More entries of the main directory."""
    exif: dict[int, Entry] = field(default_factory=dict)


def photograph(
    camera: RawCamera,
    scene: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    iso: int = 100,
    light: str = "D65",
    exposure: float = 1.0,
) -> RawShot:
    """Take a picture of a scene (H, W, 3) in linear sRGB; the same generator state gives the same shot."""
    truth = camera.sees(scene, light) * exposure
    shaded = truth * (1 - camera.shading * _radius(*scene.shape[:2]) ** 2)[..., None]
    height, width = scene.shape[:2]
    planes = np.tile(np.array(CELLS[camera.pattern]).reshape(2, 2), (-(-height // 2), -(-width // 2)))[:height, :width]
    signal = np.take_along_axis(shaded, planes[..., None], axis=2)[..., 0]
    full = camera.electrons * 100 / iso
    counted = rng.poisson(np.minimum(signal, 2) * full) + rng.normal(0, camera.read_noise, signal.shape)
    stored = np.rint(camera.black + counted / full * (camera.white - camera.black))
    mosaic = np.clip(stored, 0, camera.white).astype(np.uint16)
    return RawShot(camera, iso, light, mosaic, signal, np.minimum(truth, 1))


def write_raw(path: Path, shot: RawShot, options: DngOptions | None = None) -> Path:
    """Write a shot as an uncompressed Bayer DNG, byte order little-endian; returns the path."""
    options = options or DngOptions()
    top, left, bottom, right = options.border
    stored = np.pad(shot.mosaic, ((top, bottom), (left, right)), constant_values=shot.camera.black)
    height, width = stored.shape
    storage = {
        254: long_entry("<", 0),
        256: long_entry("<", width),
        257: long_entry("<", height),
        258: short_entry("<", 16),
        259: short_entry("<", 1),
        262: short_entry("<", 32803),
        273: long_entry("<", 8),
        277: short_entry("<", 1),
        278: long_entry("<", height),
        279: long_entry("<", stored.nbytes),
        50829: long_entry("<", top, left, height - bottom, width - right),
    }
    exif = {34855: short_entry("<", shot.iso), **options.exif}
    root = Directory({**storage, **_colour(shot, options), **_lens(shot, options), **options.entries}, {})
    root = replace(root, children={EXIF_IFD: Directory(exif)})
    data = stored.astype("<u2").tobytes()
    start, directory = serialise_directory(root, "<", base=8 + len(data), big=False)
    path.write_bytes(b"II" + struct.pack("<HI", 42, start) + data + directory)
    return path


def _colour(shot: RawShot, options: DngOptions) -> dict[int, Entry]:
    camera = shot.camera
    matrix = [round(value * 10000) for row in camera.xyz_to_camera for value in row]
    entries = {
        MAKE: text_entry("Acme"),
        MODEL: text_entry(camera.model),
        ORIENTATION: short_entry("<", options.orientation),
        33421: short_entry("<", 2, 2),
        33422: Entry(BYTE, bytes(CELLS[camera.pattern])),
        50706: Entry(BYTE, bytes((1, 4, 0, 0))),
        50707: Entry(BYTE, bytes((1, 3, 0, 0))),
        50708: text_entry(f"Acme {camera.model}"),
        50714: short_entry("<", camera.black),
        50717: short_entry("<", camera.white),
        50721: Entry(SIGNED_RATIONAL, b"".join(struct.pack("<ii", value, 10000) for value in matrix)),
    }
    if options.illuminant:
        entries[50778] = short_entry("<", LIGHT_CODES["D65"])
    if options.neutral:
        neutral = [(round(value * 1_000_000), 1_000_000) for value in camera.neutral(shot.light)]
        entries[50728] = rational_entry("<", *neutral)
    if options.baseline_exposure is not None:
        value = round(options.baseline_exposure * 100)
        entries[50730] = Entry(SIGNED_RATIONAL, struct.pack("<ii", value, 100))
    if options.noise_profile:
        entries[51041] = Entry(DOUBLE, struct.pack("<6d", *camera.noise(shot.iso) * 3))
    if options.xmp:
        entries[XMP] = Entry(BYTE, options.xmp)
    return entries


def _lens(shot: RawShot, options: DngOptions) -> dict[int, Entry]:
    height, width = shot.mosaic.shape
    entries = {}
    if options.crop:
        across, down, wide, high = options.crop
        entries[50719] = Entry(RATIONAL, struct.pack("<4I", across, 1, down, 1))
        entries[50720] = Entry(RATIONAL, struct.pack("<4I", wide, 1, high, 1))
    if options.gain_map:
        gains = (1 / (1 - shot.camera.shading * _radius(GRID, GRID, corner=True) ** 2)).astype(np.float32)[..., None]
        maps = [
            GainMap((row, column, height, width), (2, 2), (0, 1), (1 / (GRID - 1),) * 2, (0.0, 0.0), gains)
            for row in (0, 1)
            for column in (0, 1)
        ]
        entries[51009] = Entry(7, serialise_opcodes([opcode_of(gain_map) for gain_map in maps]))
    return entries


def _radius(height: int, width: int, *, corner: bool = False) -> NDArray[np.float64]:
    """Distance (H, W) from the middle, 1 in the corners; of pixels, or of a grid whose points reach the corners."""
    rows, columns = (
        np.arange(size) / (size - 1) if corner else (np.arange(size) + 0.5) / size for size in (height, width)
    )
    return np.asarray(np.hypot(rows[:, None] - 0.5, columns[None] - 0.5) / np.sqrt(0.5))
