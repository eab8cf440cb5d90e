"""What is claimed of a gain: how large it is, and how far that may be off."""

from dataclasses import dataclass
from typing import Self

NOTHING = "nothing surely gained"
"""What is said where the weights that training started from stay."""


@dataclass(frozen=True)
class Claim:
    """PSNR gained in dB: the true one lies within `error` of `gain` in nine cases of ten, or so it should."""

    gain: float
    error: float

    @classmethod
    def between(cls, low: float, high: float) -> Self:
        """A claim of any gain in a range."""
        return cls((low + high) / 2, (high - low) / 2)

    @property
    def low(self) -> float:
        """The least gain that it leaves open."""
        return self.gain - self.error

    @property
    def sure(self) -> bool:
        """Whether no gain at all, and a loss, is out of its range."""
        return self.low > 0

    @property
    def likely(self) -> bool:
        """Whether a gain is likelier than a loss."""
        return self.gain > 0

    def __str__(self) -> str:
        said = f"{round(self.gain, 2) + 0:+.2f} ± {max(self.error, 0.01):.2f} dB"
        return said if self.sure or not self.likely else f"{said} (perhaps nothing)"
