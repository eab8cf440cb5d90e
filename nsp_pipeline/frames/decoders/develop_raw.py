"""Develop one RAW file, as a process of its own: PATH, then perhaps --camera to learn about the camera only, or --keep.

With --keep a picture of which a part is missing is developed all the same. --as JSON says how to develop (see
`development.py`). See `isolated.py` for why.
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from nsp_pipeline.frames.decoders.isolated import Answer, Refusal, respond
from nsp_pipeline.frames.development import CAMERA_RGB, DEVELOPED, MOSAIC, Development
from nsp_pipeline.frames.dng.colour import SRGB_TO_XYZ
from nsp_pipeline.frames.dng.corrections import Corrections, correct, read_corrections
from nsp_pipeline.frames.limits import MOST_PIXELS

SMALLEST_SIDE = 16
XTRANS_PERIOD, XTRANS_SMALLEST_SIDE = 6, 512
LEAST_BITS_PER_PIXEL = 0.25
SRGB_GAMMA, ADOBE_GAMMA, PROPHOTO_GAMMA, LINEAR = (2.4, 12.92), (563 / 256, 0.0), (1.8, 0.0), (1.0, 1.0)
SPACES = {
    "srgb": (rawpy.ColorSpace.sRGB, SRGB_GAMMA),
    "p3": (rawpy.ColorSpace.P3D65, SRGB_GAMMA),
    "adobe": (rawpy.ColorSpace.Adobe, ADOBE_GAMMA),
    "prophoto": (rawpy.ColorSpace.ProPhoto, PROPHOTO_GAMMA),
    "rec2020": (rawpy.ColorSpace.Rec2020, SRGB_GAMMA),
}
"""What LibRaw calls them, and the curve that the picture is stored with."""
HIGHLIGHTS = {
    "clip": rawpy.HighlightMode.Clip,
    "blend": rawpy.HighlightMode.Blend,
    "rebuild": rawpy.HighlightMode.ReconstructDefault,
}
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
FULL = 65535
BAYER_PERIOD, SECOND_GREEN, SAMPLED_SIDE = 2, 3, 800
RGB, DARK, BRIGHT, FEWEST_SAMPLES, RANK_TOLERANCE = 3, 0.005, 0.95, 64, 1e-3
"""Light between which a colour matrix shows, and how many samples of it there must be."""
RARE, BELOW_RARE = 5e-4, 1.2
"""The darkest pixels but so few show how far noise goes below black; the rest goes hardly farther than that much."""
MOST_EMPTY_ROWS = 3
MISSING_AT_MOST = 64 << 20
"""Bytes of a picture that may be missing, besides as many again as there are."""


def main(arguments: list[str]) -> Answer:
    """Give pixels, what LibRaw knows of the shot, and the embedded JPEG preview; raises Refusal."""
    path, keep = Path(arguments[0]), "--keep" in arguments
    asked = arguments[arguments.index("--as") + 1] if "--as" in arguments else "{}"
    development = Development(**json.loads(asked)) if asked != "{}" else DEVELOPED
    try:
        try:
            return _answer(path, path, "--camera" in arguments, keep, development)
        except rawpy.LibRawIOError:
            data = path.read_bytes()  # a disk that cannot be read is not the file's fault: OSError
            if not keep:
                raise
            # What is missing at the end is taken for black.
            return _answer(path, BytesIO(data + bytes(len(data) + MISSING_AT_MOST)), False, keep, development)
    except tuple(REASONS) as error:
        words = str(error).removeprefix("b'").removesuffix("'")
        keepable = isinstance(error, rawpy.LibRawIOError) and not keep
        raise Refusal(REASONS[type(error)], f"LibRaw: {words}", keepable=keepable) from error


def _answer(path: Path, source: Path | BytesIO, only_camera: bool, keep: bool, development: Development) -> Answer:
    with rawpy.imread(str(source) if isinstance(source, Path) else source) as raw:
        facts, preview = _shot(raw), _preview(raw)
        if only_camera:
            return Answer(facts, preview, np.empty(0, np.uint16))
        if doubt := _doubt_header(raw, path.stat().st_size):
            raise Refusal(doubt)
        if doubt := _doubt_data(raw):
            if not keep:
                raise Refusal(doubt, keepable=True)
            facts["damage"] = doubt
        corrections = read_corrections(path)
        facts["left_out"] = correct(raw, corrections)
        facts["crop"] = crop = _crop_inside(raw, corrections)
        if development.colour_space in (CAMERA_RGB, MOSAIC) and raw.num_colors == RGB:
            facts |= _colours(raw, source)
        if development.colour_space == CAMERA_RGB:
            pixels, facts["gains"], facts["pedestal"] = demosaic(raw, facts["neutral"])
        elif development.colour_space == MOSAIC:
            pixels, facts["mosaic"] = _mosaic(raw, facts["neutral"])
        else:
            pixels = develop(raw, development, corrections.exposure)
            pixels = _upright(_cropped(pixels, facts["size"], crop), facts["flip"])
        # A picture that its exposure makes white all over is what was asked for.
        brightened = corrections.exposure + development.exposure > 0 and bool((pixels == FULL).all())
        if not brightened and (doubt := _doubt_result(pixels)):
            raise Refusal(doubt)
        return Answer(facts, preview, pixels)


def develop(raw: rawpy.RawPy, development: Development, baseline: float) -> NDArray[np.uint16]:
    """Develop to 16 bits, (H, W, 3) or (H, W, 1), not turned; `baseline` are stops that the file itself asks for."""
    space, curve = SPACES[development.colour_space]
    multipliers = development.multipliers
    pixels: NDArray[np.uint16] = raw.postprocess(
        use_camera_wb=development.white_balance == "camera",
        use_auto_wb=development.white_balance == "auto",
        user_wb=[*multipliers, multipliers[1]] if multipliers else None,
        highlight_mode=HIGHLIGHTS[development.highlights],
        no_auto_bright=True,
        bright=2.0 ** (baseline + development.exposure),
        output_bps=16,
        output_color=space,
        gamma=curve,
        user_flip=0,
    )
    return pixels[..., None] if pixels.ndim == 2 else pixels


def demosaic(raw: rawpy.RawPy, multipliers: list[float]) -> tuple[NDArray[np.uint16], list[float], float]:
    """Demosaic to linear light in the camera's own colours, (H, W, 3) or (H, W, 1), not turned.

    The channels are multiplied by gains, the largest of which is 1: interpolation compares channels, and goes wrong
    where grey is not grey. Nothing is cut off that the sensor has: what noise took below black is kept by a pedestal.

    Returns:
        The picture, white at 65535; the gains; and the pedestal, as a share of white. No gains where the sensor has
        four colours, of which it is a developed picture.
    """
    if raw.num_colors == 4:
        return develop(raw, DEVELOPED, 0.0), [], 0.0
    lift = _below_black(raw)
    lifted: dict[str, Any] = {}
    if lift:
        levels = [int(level) for level in raw.black_level_per_channel]
        lowest = min(levels)
        lifted = {"user_black": lowest - lift, "user_cblack": [level - lowest for level in levels]}
    pedestal = lift / (raw.white_level - min(raw.black_level_per_channel)) if lift else 0.0
    pixels: NDArray[np.uint16] = raw.postprocess(
        user_wb=[*multipliers, multipliers[1]],
        highlight_mode=rawpy.HighlightMode.Ignore,
        adjust_maximum_thr=0.0,
        no_auto_bright=True,
        output_bps=16,
        output_color=rawpy.ColorSpace.raw,
        gamma=LINEAR,
        user_flip=0,
        **lifted,
    )
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return pixels.reshape(*pixels.shape[:2], 1), [1.0], pedestal
    return pixels, [value / max(multipliers) for value in multipliers], pedestal


def _mosaic(raw: rawpy.RawPy, multipliers: list[float]) -> tuple[NDArray[np.uint16], dict[str, Any]]:
    """The sensor's pixels (H, W, 1); and colours (0 to 2), black levels and gains of a cell's four. Raises Refusal."""
    pattern = raw.raw_pattern
    if raw.raw_type != rawpy.RawType.Flat or pattern is None or len(pattern) != BAYER_PERIOD or raw.num_colors != 3:
        kind = "X-Trans" if pattern is not None and len(pattern) == XTRANS_PERIOD else "no Bayer pattern"
        raise Refusal(f"--domain raw denoises Bayer mosaics, and this sensor's is {kind}: use --domain demosaiced")
    cell = [int(raw.raw_colors_visible[row, column]) for row in (0, 1) for column in (0, 1)]
    colours = [1 if colour == SECOND_GREEN else colour for colour in cell]
    black = [int(raw.black_level_per_channel[colour]) for colour in cell]
    facts = {
        "colours": colours,
        "black": black,
        "white": int(raw.white_level),
        "gains": [multipliers[colour] / max(multipliers) for colour in colours],
        "pedestal": _below_black(raw) / (raw.white_level - min(black)),
    }
    return np.array(raw.raw_image_visible)[..., None], facts


def _below_black(raw: rawpy.RawPy) -> int:
    """How far noise goes below black, in the sensor's numbers; 0 where black levels are of no simple kind."""
    pattern = raw.raw_pattern
    if raw.raw_type != rawpy.RawType.Flat or pattern is None or len(pattern) != BAYER_PERIOD:
        return 0
    black = raw.black_level_per_channel
    rows, columns = (
        slice(None, None, BAYER_PERIOD * max(1, size // SAMPLED_SIDE)) for size in raw.raw_image_visible.shape
    )
    image, colours = raw.raw_image_visible, raw.raw_colors_visible
    depths = []
    for row in range(BAYER_PERIOD):
        for column in range(BAYER_PERIOD):
            plane = image[row:, column:][rows, columns]
            depths.append(black[int(colours[row, column])] - float(np.quantile(plane, RARE)))
    return int(np.clip(round(BELOW_RARE * max(depths)), 0, min(black)))


def _colours(raw: rawpy.RawPy, source: Path | BytesIO) -> dict[str, Any]:
    """White balance and colour matrix, as `develop` has them, where the file or LibRaw does not tell them."""
    stated = [float(value) for value in raw.camera_whitebalance[:3]]
    told = raw.rgb_xyz_matrix[:3]
    if min(stated) > 0 and np.linalg.matrix_rank(told) == RGB:
        return {"neutral": stated}
    # A file of its own: LibRaw does not develop twice without a trace.
    with rawpy.imread(str(source) if isinstance(source, Path) else source) as another:
        multipliers = stated if min(stated) > 0 else own_white_balance(another)
        found = told if np.linalg.matrix_rank(told) == RGB else xyz_to_camera(another, multipliers)
    return {"neutral": multipliers, "xyz_to_camera": found.tolist()}


def own_white_balance(raw: rawpy.RawPy) -> list[float]:
    """The white balance that LibRaw gives a picture where the file states none."""
    raw.postprocess(use_camera_wb=True, half_size=True)
    made = [float(value) for value in raw.auto_whitebalance[:3]]
    return made if min(made) > 0 else [1.0, 1.0, 1.0]


def xyz_to_camera(raw: rawpy.RawPy, multipliers: list[float]) -> NDArray[np.float64]:
    """From XYZ to the camera's colours, (3, 3), each row of any scale; zeros where it cannot be found.

    Of some cameras LibRaw has colours that it does not tell: developing with and without them shows what they are.
    """
    camera, srgb = (_light(raw, multipliers, space) for space in (rawpy.ColorSpace.raw, rawpy.ColorSpace.sRGB))
    sound = ((srgb > DARK) & (srgb < BRIGHT) & (camera > DARK) & (camera < BRIGHT)).all(1)
    if sound.sum() >= FEWEST_SAMPLES:
        matrix = np.linalg.lstsq(camera[sound], srgb[sound], rcond=None)[0].T
        if np.linalg.matrix_rank(matrix, RANK_TOLERANCE) == RGB:
            return np.linalg.inv(SRGB_TO_XYZ @ matrix)
    return np.zeros((RGB, RGB))


def _light(raw: rawpy.RawPy, multipliers: list[float], space: rawpy.ColorSpace) -> NDArray[np.float64]:
    """Linear light (N, 3) of the picture at half its size, 0..1."""
    pixels = raw.postprocess(
        user_wb=[*multipliers, multipliers[1]],
        highlight_mode=rawpy.HighlightMode.Ignore,
        adjust_maximum_thr=0.0,
        no_auto_bright=True,
        output_bps=16,
        output_color=space,
        gamma=LINEAR,
        half_size=True,
    )
    return np.asarray(pixels.reshape(-1, pixels.shape[-1]) / FULL)


def _crop_inside(raw: rawpy.RawPy, corrections: Corrections) -> list[int] | None:
    """Left, top, width and height of the picture proper inside what LibRaw delivers; None: all of it."""
    sizes = raw.sizes
    if corrections.crop is None or sizes.pixel_aspect != 1:
        return None
    left, top = (
        max(0, corrections.crop[0] - sizes.left_margin),
        max(0, corrections.crop[1] - sizes.top_margin),
    )
    width, height = min(corrections.crop[2], sizes.width - left), min(corrections.crop[3], sizes.height - top)
    return [left, top, width, height] if min(width, height) >= SMALLEST_SIDE else None


def _cropped(pixels: NDArray[np.uint16], size: tuple[int, int], crop: list[int] | None) -> NDArray[np.uint16]:
    if crop is None or pixels.shape[1::-1] != size:
        return pixels
    left, top, width, height = crop
    return pixels[top : top + height, left : left + width]


def _upright(pixels: NDArray[np.uint16], flip: int) -> NDArray[np.uint16]:
    """Turn as LibRaw would: bit 2 turns it upside down, 1 mirrors it, then 4 swaps rows and columns."""
    pixels = pixels[:: -1 if flip & 2 else 1, :: -1 if flip & 1 else 1]
    return np.ascontiguousarray(pixels.transpose(1, 0, 2) if flip & 4 else pixels)


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
        "flip": raw.sizes.flip,
        "neutral": [float(value) for value in raw.camera_whitebalance[:3]],
        "xyz_to_camera": [[float(value) for value in row] for row in raw.rgb_xyz_matrix[:3]],
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
