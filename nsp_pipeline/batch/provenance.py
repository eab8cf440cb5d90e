"""What a photo was made with, and what came of it: one value for the manifest, the log and JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LOST_BETWEEN = "; "
DIGITS = 4
"""Behind the point, in documents."""


def joined(losses: Iterable[str]) -> str:
    """Names of what is lost, as a record keeps them."""
    return LOST_BETWEEN.join(name.replace(";", ",") for name in losses)


@dataclass(frozen=True)
class Provenance:
    """How a photo was made. None everywhere: it was not made, or that is not known any more."""

    engine: str | None = None
    """The back end, such as "onnx"."""
    provider: str | None = None
    """What really computed, such as "CPUExecutionProvider"."""
    precision: str | None = None
    fallback: str | None = None
    """Why a faster engine or precision did not make it, if one was tried."""
    seconds: float | None = None
    """From the start of reading to the end of inference."""
    megapixels: float | None = None
    """Of the photo that was read."""
    strength: float | None = None
    """Mean share of the removed noise, 0 to 1."""
    noise_before: float | None = None
    """Sigma in 8-bit steps, as is `noise_after`."""
    noise_after: float | None = None
    damaged: str | None = None
    """What is wrong with the picture in the photo's file, whether it was made all the same or failed of it."""

    lost: str | None = None
    """What the photo's file says and its output does not (see frames/inventory.py), joined by LOST_BETWEEN;
    empty where nothing is lost."""

    noise_known: float | None = None
    """How much of `noise_before` is what the profile knows of the camera's noise, 0 to 1; 0 where the photo's own is
    too unlike that. None where the profile knows none of such photos."""
    brightened: float | None = None
    """By how many 8-bit steps values became brighter at most, since a tone curve had bent the noise."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, with as many digits as mean something; what is not known is left out."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        values: dict[str, Any] = {
            name: round(value, DIGITS) if isinstance(value, float) else value for name, value in known.items()
        }
        return values | ({"lost": list(self.losses)} if self.lost is not None else {})

    @property
    def losses(self) -> tuple[str, ...]:
        """`lost`, one by one."""
        return tuple(filter(None, (self.lost or "").split(LOST_BETWEEN)))
