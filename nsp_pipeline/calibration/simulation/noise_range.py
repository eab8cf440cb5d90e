"""The ranges that a simulated camera draws from, crop by crop: what a distillation recipe may say of them."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ANY_SIGMA = 0.7, 30.0
"""The noise of photos of any camera at middle grey, in 8-bit steps."""

SOFT_ALREADY: Mapping[str, float] = {
    "soft_share": 0.3,
    "softest": 0.5,
    "soft_colour_share": 0.5,
    "softest_colour": 1.5,
}
"""Of a NoiseRange for pictures that a camera made, at their own size: lens and demosaicing have softened them."""

Share = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(gt=0, le=100)]
Amount = Annotated[float, Field(ge=0, le=8)]


class NoiseRange(BaseModel):
    """Ranges from which the noise of each crop is drawn.

    Levels are standard deviations of about the grey noise at middle grey, in 8-bit steps; shares are of the crops.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    least_sigma: Sigma | None = None
    most_sigma: Sigma | None = None
    """Range of the simulated noise. None: around what is measured in the noisy photos, or 0.7 to 30 where there are
    none."""
    clean_share: Share = 0.05
    """Crops without noise: a photo that has none must come back as it is."""
    sensor_share: Share = 0.4
    longest_blur: Amount = 1.6
    """Standard deviation in pixels of the blur that correlates noise; now and then twice that."""
    least_colour_left: Annotated[float, Field(gt=0, le=8)] = 0.15
    most_colour_left: Annotated[float, Field(gt=0, le=8)] = 1.5
    """Range of the colour noise that a finished picture has, in parts of its grey noise."""
    untouched_share: Share = 0.2
    """Share of the finished pictures whose channels have independent noise, as if no camera had processed colour."""
    most_colour: Amount = 1.4
    """A camera's colour matrix makes what is colour in its noise stronger by up to this, and what is grey not."""
    smoothed_share: Share = 0.6
    """Of the photos from a sensor, those whose colour noise the camera has smoothed."""
    adapted_share: Share = 0.75
    """Of the photos, those whose camera has smoothed flat places more than texture, which keeps its noise."""
    most_kept: Amount = 1.5
    """There texture has noise up to so many times stronger on top of that of flat places."""
    most_colour_kept: Annotated[float, Field(ge=0, le=16)] = 9.0
    """The same of its colour, beyond that of grey: cameras wipe colour noise off flat places and spare edges. In
    noisy photos of twelve cameras there is 2.8 times as much of it where grey varies most, and 7 in one of ten."""
    soft_share: Share = 0.85
    """Of the photos, those that lens and demosaicing leave softer than shrunk ones are: at 100 % most are."""
    softest: Amount = 1.2
    """Standard deviation in pixels of their blur, at most."""
    soft_colour_share: Share = 0.85
    """Of the photos, those with softer colours than greys, by up to `softest_colour` pixels."""
    softest_colour: Annotated[float, Field(ge=0.5, le=8)] = 2.5
    jpeg_share: Share = 0.8

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name, (least, most) in {"sigma": self.sigma, "colour_left": self.colour_left}.items():
            if least > most:
                raise ValueError(f"least_{name} = {least:g} is above most_{name} = {most:g}")
        return self

    @property
    def reach(self) -> int:
        """Pixels that the widest blur of a noisy crop looks away from its own: no crop may be smaller than that.

        Three standard deviations of the blotches of colour noise, which are three times as wide as the blur itself, and
        that up to twice the longest.
        """
        return round(3 * 3 * 2 * self.longest_blur)

    @property
    def sigma(self) -> tuple[float, float]:
        """Least and most noise at middle grey, in 8-bit steps; an end that is not given is ANY_SIGMA's or the other."""
        least, most = ANY_SIGMA
        return (
            self.least_sigma or min(least, self.most_sigma or least),
            self.most_sigma or max(most, self.least_sigma or most),
        )

    @property
    def colour_left(self) -> tuple[float, float]:
        """Least and most colour noise, in parts of grey noise, in what a camera has finished."""
        return self.least_colour_left, self.most_colour_left
