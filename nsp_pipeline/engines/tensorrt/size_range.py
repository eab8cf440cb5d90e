"""Which sizes of image an engine was built for."""

from collections.abc import Sequence
from dataclasses import dataclass

from nsp_pipeline.errors import UsageError

BEST_SIDE, MOST_SIDE = 1024, 2048
"""Of the range where nothing else is said: the tiles of `nsp denoise` with their halo lie well inside."""

Size = tuple[int, int]
"""Height and width in pixels."""


class SizeRangeError(UsageError):
    """An image is smaller or larger than what an engine was built for."""


@dataclass(frozen=True)
class SizeRange:
    """Heights and widths of `image` from `least` to `most`; the engine is fastest near `best`."""

    least: Size
    best: Size
    most: Size

    @property
    def fixed(self) -> bool:
        """Whether there is one size only."""
        return self.least == self.most

    def require(self, size: Sequence[int]) -> None:
        """Raise SizeRangeError for an image of another size; the message names the range."""
        if not all(low <= side <= high for low, side, high in zip(self.least, size, self.most, strict=True)):
            raise SizeRangeError(
                f"an image of {as_text(size)} pixels (height x width) is outside the sizes this engine was built for, "
                f"{self}; run it in tiles (--tile), or build an engine for its size"
            )

    def wider(self, times: int) -> "SizeRange":
        """The range of images of the same heights that are so many times as wide."""
        least, best, most = ((height, width * times) for height, width in (self.least, self.best, self.most))
        return SizeRange(least, best, most)

    def __str__(self) -> str:
        return as_text(self.best) if self.fixed else f"{as_text(self.least)} to {as_text(self.most)}"


def as_text(size: Sequence[int]) -> str:
    """(1024, 768) -> "1024x768"."""
    return "x".join(str(side) for side in size)


def fixed_size(size: Size, multiple: int) -> SizeRange:
    """One size only; raises UsageError unless both sides are multiples of `multiple`."""
    return size_range(size, size, size, multiple)


def default_range(multiple: int, tile: int | None) -> SizeRange:
    """The range for a network whose sides must be multiples of `multiple`, and that works best at tiles of `tile`."""
    least = multiple
    most = -(-max(MOST_SIDE, 2 * (tile or 0)) // multiple) * multiple
    best = -(-(tile or BEST_SIDE) // multiple) * multiple
    return size_range((least, least), (best, best), (most, most), multiple)


def chosen_range(least: Size | None, most: Size | None, multiple: int, tile: int | None) -> SizeRange:
    """The default range with one end or both chosen; raises UsageError as `size_range` does."""
    default = default_range(multiple, tile)
    least, most = least or default.least, most or default.most
    height, width = (
        min(max(low, side), max(low, high)) for low, side, high in zip(least, default.best, most, strict=True)
    )
    return size_range(least, (height, width), most, multiple)


def size_range(least: Size, best: Size, most: Size, multiple: int) -> SizeRange:
    """A checked range; raises UsageError for sides that are no multiples of `multiple`, or not in order."""
    for size in (least, best, most):
        if any(side < 1 or side % multiple for side in size):
            raise UsageError(f"size {as_text(size)}: both sides must be multiples of {multiple} for this network")
    if not all(low <= mid <= high for low, mid, high in zip(least, best, most, strict=True)):
        raise UsageError(f"sizes from {as_text(least)} to {as_text(most)}: the first must be the smaller")
    return SizeRange(least, best, most)
