"""`noise.json` of a bundle: the camera's noise by ISO, as it is known from the photos that the profile was made of.

It is a file of its own and no field of `profile.json`, so that an nsp that does not know it reads the rest.
"""

from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.core.noise_prior import NoisePrior, level_of, sigma_of

NOISE_FILE = "noise.json"
LARGEST = 1 << 20
DIGITS = 4
LEAST_UNSURE, MOST_UNSURE = 1e-3, 1e6
"""Nothing is known of a photo's noise to a thousandth; squares of both, and of their reciprocals, are finite."""
MOST_PHOTOS = 10**9

Level = Annotated[float, Field(ge=0, le=1)]
Unsure = Annotated[float, Field(ge=LEAST_UNSURE, le=MOST_UNSURE)]
Rows, Columns = (
    Field(min_length=TABLE_ROWS, max_length=TABLE_ROWS),
    Field(min_length=TABLE_NODES, max_length=TABLE_NODES),
)


class _Known(BaseModel):
    # What a newer nsp adds is left alone.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _AtIso(_Known):
    """A noise table in 0..1 at an ISO, None for any, and the standard deviation of its logarithm."""

    iso: Annotated[int, Field(ge=1, le=1 << 30)] | None
    photos: Annotated[int, Field(ge=1, le=MOST_PHOTOS)]
    table: Annotated[list[Annotated[list[Level], Columns]], Rows]
    unsure: Annotated[list[Annotated[list[Unsure], Columns]], Rows]


class _NoiseFile(_Known):
    camera: Annotated[list[_AtIso], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _rising(self) -> "_NoiseFile":
        isos = [entry.iso for entry in self.camera]
        if len(isos) > 1 and not all(low and high and low < high for low, high in pairwise(isos)):
            raise ValueError("its ISO do not rise")
        return self


def read_noise(content: bytes) -> CameraNoise:
    """Read the file's content; raises ValueError where it is none."""
    if len(content) > LARGEST:
        raise ValueError("it is too large")
    known = _NoiseFile.model_validate_json(content).camera
    priors = tuple(NoisePrior(level_of(np.array(entry.table)), np.array(entry.unsure)) for entry in known)
    return CameraNoise(tuple(entry.iso for entry in known), priors, tuple(entry.photos for entry in known))


def noise_file(noise: CameraNoise) -> bytes:
    """The file's content; noise far from what was seen, where the line leads beyond what can be, is brought back."""
    entries = [
        _AtIso(
            iso=iso,
            photos=photos,
            table=_rounded(sigma_of(np.minimum(prior.level, level_of(np.ones(1))))),
            unsure=_rounded(prior.unsure.clip(LEAST_UNSURE, MOST_UNSURE)),
        )
        for iso, prior, photos in zip(noise.isos, noise.priors, noise.photos, strict=True)
    ]
    return _NoiseFile(camera=entries).model_dump_json(indent=1).encode() + b"\n"


def _rounded(rows: NDArray[np.float64]) -> list[list[float]]:
    return [[float(f"{value:.{DIGITS}g}") for value in row] for row in rows]
