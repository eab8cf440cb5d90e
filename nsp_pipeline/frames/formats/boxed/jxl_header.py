"""The head of a JPEG XL codestream (ISO/IEC 18181-1, annex D): size, depth and colours."""

from dataclasses import dataclass, replace

from nsp_pipeline.frames.colour.curves import BT709, LINEAR, SRGB, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, Chromaticity, Primaries
from nsp_pipeline.frames.colour.statement import PRIMARIES, Statement

START = b"\xff\x0a"
SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
COORDINATE = ((19, 0), (19, 524_288), (20, 1_048_576), (21, 2_097_152))
RGB, GREY, OTHER_SPACES = 0, 1, (2, 3)
CUSTOM = 2
WHITES = {1: D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
PRIMARY_CODES = {1: 1, 9: 9, 11: 11}
"""JPEG XL's codes for primaries in H.273's."""
CURVES = {1: BT709, 8: LINEAR, 13: SRGB, 17: Parametric(2.6)}
HIGH_RANGE = {16: "PQ", 18: "HLG"}
ALPHA, SPOT, CFA = 0, 2, 5
PLAIN_END = 0b100
"""No extensions, and default transforms."""


@dataclass(frozen=True)
class JxlHeader:
    """Width and height, bits of a sample, whether it is grey, and the colours."""

    width: int
    height: int
    bits: int
    grey: bool
    colours: Statement


class _Bits:
    """Reads numbers of bits, the lowest first; raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def take(self, count: int) -> int:
        value = 0
        for bit in range(count):
            value |= (self._data[self.place >> 3] >> (self.place & 7) & 1) << bit
            self.place += 1
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choose(self, choices: tuple[tuple[int, int], ...]) -> int:
        """One of four ways to store a number: so many bits, and what is added."""
        count, added = choices[self.take(2)]
        return self.take(count) + added


def read_header(codestream: bytes) -> JxlHeader:
    """Read the head of a codestream; raises IndexError or KeyError for one that makes no sense."""
    if not codestream.startswith(START):
        raise IndexError("no codestream")
    bits = _Bits(codestream[len(START) :])
    width, height = _size(bits)
    if bits.flag():
        return JxlHeader(width, height, 8, False, Statement(PRIMARIES[1], SRGB, "sRGB"))
    if bits.flag():
        _skip_extra_fields(bits)
    depth = _up_to_colours(bits)
    grey, colours = _colours(bits)
    return JxlHeader(width, height, depth, grey, colours)


def restated(codestream: bytes, primaries: Primaries | None, curve: Parametric) -> bytes:
    """A codestream, as libjxl writes them, that states other colours; its picture is untouched.

    Args:
        codestream: one whose head says nothing beside size, depth, channels and colours.
        primaries: None for grey, and then the white is D65.

    Raises ValueError for a curve that cannot be stated, or a head of another kind.
    """
    bits = _Bits(codestream[len(START) :])
    _size(bits)
    if bits.flag() or bits.flag():
        raise ValueError("this head of a JPEG XL is not one that libjxl writes for a photo")
    _up_to_colours(bits)
    start = bits.place
    _colours(bits)
    if bits.take(3) != PLAIN_END:
        raise ValueError("this head of a JPEG XL is not one that libjxl writes for a photo")
    rest = len(START) + (bits.place + 7) // 8
    head = int.from_bytes(codestream[len(START) : rest], "little") & (1 << start) - 1
    written = _Written(head, start)
    _state(written, primaries, curve)
    written.put(PLAIN_END, 3)
    return START + written.value.to_bytes((written.size + 7) // 8, "little") + codestream[rest:]


class _Written:
    """Numbers of bits, the lowest first."""

    def __init__(self, value: int, size: int) -> None:
        self.value, self.size = value, size

    def put(self, number: int, count: int) -> None:
        self.value |= number << self.size
        self.size += count

    def put_choice(self, number: int, choices: tuple[tuple[int, int], ...]) -> None:
        selector = next(n for n, (count, added) in enumerate(choices) if added <= number < added + (1 << count))
        count, added = choices[selector]
        self.put(selector, 2)
        self.put(number - added, count)


def _state(written: _Written, primaries: Primaries | None, curve: Parametric) -> None:
    code = next((code for code, known in CURVES.items() if known == curve), None)
    gamma = None if code is not None or replace(curve, gamma=1.0) != LINEAR else round(10_000_000 / curve.gamma)
    if code is None and gamma is None:
        raise ValueError("the curve of its colour profile is one that JPEG XL cannot state")
    written.put(0, 2)  # neither sRGB by default, nor a profile
    written.put_choice(RGB if primaries else GREY, ENUM)
    if primaries is None:
        written.put_choice(1, ENUM)
    else:
        for points in ((primaries.white,), (primaries.red, primaries.green, primaries.blue)):
            written.put_choice(CUSTOM, ENUM)
            for value in (value for point in points for value in point):
                whole = round(value * 1_000_000)
                written.put_choice(2 * whole if whole >= 0 else -2 * whole - 1, COORDINATE)
    written.put(gamma is not None, 1)
    if gamma is not None:
        written.put(gamma, 24)
    else:
        written.put_choice(code or 0, ENUM)
    written.put_choice(1, ENUM)  # relative colorimetric


def _up_to_colours(bits: _Bits) -> int:
    """Read depth and channels; returns the bits of a sample."""
    depth = _depth(bits)
    bits.flag()
    for _ in range(bits.choose(((0, 0), (0, 1), (4, 2), (12, 1)))):
        _skip_extra_channel(bits)
    bits.flag()  # stored as XYB; decoders bring it to the colours that are stated
    return depth


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose(SIZES)

    height, ratio = side(), bits.take(3)
    if ratio == 0:
        return side(), height
    across, down = RATIOS[ratio]
    return height * across // down, height


def _skip_extra_fields(bits: _Bits) -> None:
    bits.take(3)
    if bits.flag():
        _size(bits)
    if bits.flag():
        raise KeyError("a preview")
    if bits.flag():
        raise KeyError("an animation")


def _depth(bits: _Bits) -> int:
    if bits.flag():
        depth = bits.choose(((0, 32), (0, 16), (0, 24), (6, 1)))
        bits.take(4)
        return depth
    return bits.choose(((0, 8), (0, 10), (0, 12), (6, 1)))


def _skip_extra_channel(bits: _Bits) -> None:
    if bits.flag():
        return
    kind = bits.choose(ENUM)
    _depth(bits)
    bits.choose(((0, 0), (0, 3), (0, 4), (3, 1)))
    for _ in range(bits.choose(((0, 0), (4, 0), (5, 16), (10, 48)))):
        bits.take(8)
    if kind == ALPHA:
        bits.flag()
    elif kind == SPOT:
        bits.take(64)
    elif kind == CFA:
        bits.choose(((0, 1), (2, 0), (4, 3), (8, 19)))


def _colours(bits: _Bits) -> tuple[bool, Statement]:
    """Whether it is grey, and the colours."""
    if bits.flag():
        return False, Statement(PRIMARIES[1], SRGB, "sRGB")
    has_profile, space = bits.flag(), bits.choose(ENUM)
    if has_profile or space in OTHER_SPACES:
        where = "in a profile inside the JPEG XL data" if has_profile else "of no stated kind"
        return False, Statement(PRIMARIES[1], SRGB, "", f"its colours are {where}")
    white = bits.choose(ENUM)
    white_point = _point(bits) if white == CUSTOM else WHITES[white]
    primaries = PRIMARIES[1]
    if space == RGB and (code := bits.choose(ENUM)) == CUSTOM:
        primaries = Primaries(_point(bits), _point(bits), _point(bits), white_point)
    elif space == RGB:
        primaries = PRIMARIES[PRIMARY_CODES[code]]
    primaries = Primaries(primaries.red, primaries.green, primaries.blue, white_point)
    if bits.flag():
        curve, trouble = Parametric(10_000_000 / max(1, bits.take(24))), None
    else:
        transfer = bits.choose(ENUM)
        curve = CURVES.get(transfer, SRGB)
        trouble = None if transfer in CURVES else "its brightness is stored in a way that no profile can say"
        if transfer in HIGH_RANGE:
            trouble = f"its brightness is stored for high dynamic range ({HIGH_RANGE[transfer]})"
    bits.choose(ENUM)  # what to do with colours that a screen lacks
    return space == GREY, Statement(primaries, curve, "Colours of a JPEG XL", trouble)


def _point(bits: _Bits) -> Chromaticity:
    return _coordinate(bits), _coordinate(bits)


def _coordinate(bits: _Bits) -> float:
    packed = bits.choose(COORDINATE)
    return (packed >> 1 ^ -(packed & 1)) / 1_000_000
