"""How a RAW file becomes a picture: white balance, highlights, colour space, exposure; or the colours of its sensor.

None of this touches a photo that is no RAW file.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nsp_pipeline.errors import UsageError

CAMERA_RGB, MOSAIC = "camera", "mosaic"
COLOUR_SPACES = ("srgb", "p3", "adobe", "prophoto", "rec2020")
HIGHLIGHTS = ("clip", "blend", "rebuild")
WHITE_BALANCES = ("camera", "auto", "daylight")
MULTIPLIERS = re.compile(r"(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")
MOST_EXPOSURE = 8.0


@dataclass(frozen=True)
class Development:
    """The settings with which a RAW file is developed.

    `white_balance` is the camera's, the mean of the picture taken for grey ("auto"), that of daylight, or three
    multipliers ("2.1,1,1.5"). `highlights` says what becomes of places where the sensor was full: white ("clip"), a
    blend of what is left, or a guess ("rebuild"). `colour_space` is that of the developed picture; CAMERA_RGB means
    the sensor's own colours in linear light, as a DNG holds them, MOSAIC the sensor's pixels. `exposure` is in stops.
    """

    white_balance: str = "camera"
    highlights: str = "clip"
    colour_space: str = "srgb"
    exposure: float = 0.0

    def __post_init__(self) -> None:
        """Raise UsageError for words and numbers that make no sense."""
        if self.white_balance not in WHITE_BALANCES and not self.multipliers:
            words = ", ".join(WHITE_BALANCES)
            raise UsageError(
                f"white balance '{self.white_balance}' is none of {words}, nor multipliers such as 2.1,1,1.5"
            )
        if self.highlights not in HIGHLIGHTS:
            raise UsageError(f"highlights '{self.highlights}' is none of {', '.join(HIGHLIGHTS)}")
        if self.colour_space not in (*COLOUR_SPACES, CAMERA_RGB, MOSAIC):
            raise UsageError(f"colour space '{self.colour_space}' is none of {', '.join(COLOUR_SPACES)}")
        if not (math.isfinite(self.exposure) and abs(self.exposure) <= MOST_EXPOSURE):
            raise UsageError(f"exposure {self.exposure} is no number from -{MOST_EXPOSURE:g} to {MOST_EXPOSURE:g}")

    @property
    def multipliers(self) -> tuple[float, float, float] | None:
        """The multipliers of red, green and blue that were asked for; None where the white balance is a word."""
        found = MULTIPLIERS.fullmatch(self.white_balance)
        if not found:
            return None
        red, green, blue = map(float, found.groups())
        return (red, green, blue) if min(red, green, blue) > 0 else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


DEVELOPED = Development()
"""As RAW is developed where nobody asks for anything else."""
UNDEVELOPED = Development(colour_space=CAMERA_RGB)
"""Demosaiced only: what goes into a DNG."""
UNTOUCHED = Development(colour_space=MOSAIC)
"""Not even demosaiced."""
DOMAINS = {"developed": DEVELOPED.colour_space, "demosaiced": CAMERA_RGB, "raw": MOSAIC}
"""Where RAW is denoised, and the colour space in which it is read for that: after developing; in the sensor's colours,
demosaiced; on the sensor's mosaic."""


def domain_of(stated: Mapping[str, Any]) -> str:
    """The domain of photos that were developed as stated, by the names of Development's fields."""
    return {CAMERA_RGB: "demosaiced", MOSAIC: "raw"}.get(str(stated.get("colour_space")), "developed")


def development_asked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that name a field of Development, and are not None; raises UsageError for nonsense."""
    names = (field.name for field in fields(Development))
    asked = {name: options[name] for name in names if options.get(name) is not None}
    Development(**asked)
    return asked
