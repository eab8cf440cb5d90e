"""ICC profiles of the colour spaces that RAW is developed to, the same bytes every time."""

import struct
from functools import cache

from nsp_pipeline.frames.colour.curves import LINEAR, SRGB, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, Primaries, rgb_profile

ICC_DATE = slice(24, 36)
WHITE_D50 = (0.3457, 0.3585)
SPACES = {
    "p3": (
        "Display P3",
        Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
        SRGB,
    ),
    "adobe": (
        "Compatible with Adobe RGB (1998)",
        Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
        Parametric(563 / 256),
    ),
    "prophoto": (
        "ProPhoto RGB",
        Primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), WHITE_D50),
        Parametric(1.8),
    ),
    "rec2020": (
        "Linear Rec. 2020",
        Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
        LINEAR,
    ),
}
"""Name, primaries and white, and the curve to linear light."""


@cache
def profile_of(space: str) -> bytes:
    """The profile of "srgb", "p3", "adobe", "prophoto" or "rec2020" (linear light)."""
    if space == "srgb":
        from PIL import ImageCms

        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        # The date of making would differ from run to run.
        profile[ICC_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
        return bytes(profile)
    name, primaries, curve = SPACES[space]
    return rgb_profile(primaries, curve, name)
