"""The colours that a PNG states without a profile (cICP, sRGB, gAMA, cHRM), and a profile that says the same."""

import struct
from dataclasses import dataclass

from nsp_pipeline.frames.colour.curves import BT709, LINEAR, SMPTE240, SRGB, Curve, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, SRGB_PRIMARIES, Primaries, grey_profile, rgb_profile

ILLUMINANT_C, DCI_WHITE, EQUAL_ENERGY = (0.310, 0.316), (0.314, 0.351), (1 / 3, 1 / 3)
PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), ILLUMINANT_C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), ILLUMINANT_C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), DCI_WHITE),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
"""ITU-T H.273, table 2."""
CURVES = {
    **dict.fromkeys((1, 6, 14, 15), BT709),
    4: Parametric(2.2),
    5: Parametric(2.8),
    7: SMPTE240,
    8: LINEAR,
    13: SRGB,
}
"""ITU-T H.273, table 3: those that a profile of ours can say."""
NAMES = {(12, 13): "Display P3", (1, 13): "sRGB", (9, 14): "BT.2020", (9, 15): "BT.2020", (9, 8): "Linear BT.2020"}
HIGH_RANGE = {16: "PQ", 18: "HLG"}
GAMMA_SCALE = 100_000
SRGB_GAMMA = range(45_400, 45_500)
"""gAMA of sRGB, as encoders round 1 / 2.2: the chunk says roughly what sRGB's curve is."""

SAME_POINT = 0.002


@dataclass(frozen=True)
class Statement:
    """Primaries and curve; `trouble` says in words why no profile can say the same."""

    primaries: Primaries
    curve: Parametric
    name: str
    trouble: str | None = None

    def profile(self, *, grey: bool) -> bytes:
        """An ICC profile that says the same; raises ValueError where none can."""
        if self.trouble:
            raise ValueError(self.trouble)
        if grey:
            return grey_profile(self.primaries.white, self.curve, f"{self.name} grey")
        return rgb_profile(self.primaries, self.curve, self.name)


def stated_colours(chunks: dict[bytes, bytes]) -> Statement | None:
    """What chunks (by name) state, in the order in which PNG lets them count; None where they state nothing."""
    if len(cicp := chunks.get(b"cICP", b"")) == 4:
        return _of_code_points(*cicp)
    if b"sRGB" in chunks:
        return Statement(SRGB_PRIMARIES, SRGB, "sRGB")
    gamma = _gamma(chunks.get(b"gAMA", b""))
    primaries = _primaries(chunks.get(b"cHRM", b""))
    if gamma is None and primaries is None:
        return None
    like_srgb = gamma is not None and round(gamma * GAMMA_SCALE) in SRGB_GAMMA and _are_srgb(primaries)
    curve = SRGB if gamma is None or like_srgb else Parametric(1 / gamma)
    words = "" if gamma is None else f", gamma {1 / gamma:.2f}"
    return Statement(primaries or SRGB_PRIMARIES, curve, f"Colours of a PNG{words}")


def stated_curve(chunks: dict[bytes, bytes]) -> Curve | None:
    """The curve that chunks state; None where they state none, or one for a high range."""
    statement = stated_colours(chunks)
    return statement.curve if statement and not statement.trouble else None


def _of_code_points(primaries: int, transfer: int, matrix: int, full_range: int) -> Statement:
    trouble = None
    if transfer in HIGH_RANGE:
        trouble = f"its brightness is stored for high dynamic range ({HIGH_RANGE[transfer]})"
    elif primaries not in PRIMARIES or transfer not in CURVES or matrix != 0:
        trouble = f"its colours are stated by code points ({primaries}, {transfer}, {matrix}) that nsp cannot translate"
    elif full_range != 1:
        trouble = "its colours are stored in the narrow range of video"
    name = NAMES.get((primaries, transfer), f"Colours of a PNG ({primaries}, {transfer})")
    return Statement(PRIMARIES.get(primaries, SRGB_PRIMARIES), CURVES.get(transfer, SRGB), name, trouble)


def _gamma(body: bytes) -> float | None:
    if len(body) != 4:
        return None
    (value,) = struct.unpack(">I", body)
    return value / GAMMA_SCALE if value else None


def _are_srgb(primaries: Primaries | None) -> bool:
    """Whether primaries are sRGB's, or unsaid; of others (Adobe RGB) a gamma is meant as it stands."""
    if primaries is None:
        return True
    mine, known = (
        [value for point in (p.red, p.green, p.blue, p.white) for value in point] for p in (primaries, SRGB_PRIMARIES)
    )
    return all(abs(one - other) < SAME_POINT for one, other in zip(mine, known, strict=True))


def _primaries(body: bytes) -> Primaries | None:
    if len(body) != 32:
        return None
    white, red, green, blue = ((x / GAMMA_SCALE, y / GAMMA_SCALE) for x, y in struct.iter_unpack(">II", body))
    return Primaries(red, green, blue, white)
