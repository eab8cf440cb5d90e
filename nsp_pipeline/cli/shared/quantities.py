"""Option types: durations ("8h"), sizes ("1.5GiB", "1024x768"), shards ("2/8"), devices, numbers that may be "auto"."""

import math
import re
from typing import Any

import click

from nsp_pipeline.batch.job import MOST_SHARDS, Shard

SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
BYTES = {
    "b": 1,
    "k": 1024, "kib": 1024, "kb": 1000,
    "m": 1024**2, "mib": 1024**2, "mb": 1000**2,
    "g": 1024**3, "gib": 1024**3, "gb": 1000**3,
    "t": 1024**4, "tib": 1024**4, "tb": 1000**4,
}  # fmt: skip
LONGEST_SECONDS = 10 * 366 * 86400.0
LARGEST_BYTES = 1 << 60


class DurationType(click.ParamType):  # type: ignore[type-arg]
    """A duration as seconds: "8h", "90m", "1h30m", "30s"."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a duration; a bare number is refused, since nobody knows its unit."""
        if re.fullmatch(r"\d+(\.\d+)?", str(value).strip()):
            self.fail(f"'{value}' has no unit: it is no duration; write {value}m, {value}h or {value}s", param, ctx)
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(value).lower())
        rest = re.sub(r"\d+(?:\.\d+)?\s*[a-z]+|\s", "", str(value).lower())
        if not parts or rest or any(unit not in SECONDS for _, unit in parts):
            self.fail(f"'{value}' is no duration; write it like 8h, 90m, 1h30m or 30s", param, ctx)
        seconds = float(sum(float(number) * SECONDS[unit] for number, unit in parts))
        if not 0 < seconds <= LONGEST_SECONDS:
            self.fail(f"'{value}' is no duration that makes sense; write it like 8h, 90m, 1h30m or 30s", param, ctx)
        return seconds


class SizeType(click.ParamType):  # type: ignore[type-arg]
    """A size as bytes, `least` (in MiB) or more: "1.5GiB", "800MB", "2G"."""

    name = "size"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size; a bare number is refused, since nobody means bytes."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if match and not match[2]:
            self.fail(f"'{value}' has no unit: it is no size; write {match[1]}MB or {match[1]}GB", param, ctx)
        if not match or match[2] not in BYTES or float(match[1]) * BYTES[match[2]] > LARGEST_BYTES:
            self.fail(f"'{value}' is no size; write it like 800MB or 1.5GiB", param, ctx)
        size = int(float(match[1]) * BYTES[match[2]])
        if size < self._least << 20:
            self.fail(f"'{value}' is too little to work with; give at least {self._least}MiB", param, ctx)
        return size


class NumberType(click.FloatRange):
    """A number within bounds, which "nan" is not, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"'{value}' is no number from {self.min:g} to {self.max:g}", param, ctx)
        return number


class ShareType(NumberType):
    """A number from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(0, 1)


class HeightWidthType(click.ParamType):  # type: ignore[type-arg]
    """Height and width, each from `smallest` to `largest` pixels: "1024x768" gives (1024, 768)."""

    name = "HxW"

    def __init__(self, smallest: int = 1, largest: int = 1 << 20) -> None:
        self._sides = range(smallest, largest + 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read height and width in pixels."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", str(value).strip().lower())
        if not match or not all(int(side) in self._sides for side in match.groups()):
            limits = f"{self._sides[0]} to {self._sides[-1]} pixels a side"
            self.fail(f"'{value}' is no size; write height and width like 1024x768, {limits}", param, ctx)
        return int(match[1]), int(match[2])


class ShardType(click.ParamType):  # type: ignore[type-arg]
    """A part of the photos: "2/8" gives Shard(2, 8)."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        """Read a shard."""
        if isinstance(value, Shard):
            return value
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if not match or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
            self.fail(f"'{value}' is no shard; the second of eight is 2/8 (at most {MOST_SHARDS})", param, ctx)
        return Shard(int(match[1]), int(match[2]))


class DeviceType(click.ParamType):  # type: ignore[type-arg]
    """A device: "auto", "cpu", "cuda" or "cuda:1"; where a command can use several GPUs also "cuda:0,1" and "all"."""

    name = "device"

    def __init__(self, *, several: bool = False) -> None:
        self._several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a device's name; whether it is there, the engine says."""
        match = re.fullmatch(r"auto|cpu|all|cuda(?::\d+)?|(cuda:\d+)(?:,\d+)+", str(value))
        if not match:
            there = "auto, cpu, cuda, cuda:N, cuda:N,M and all" if self._several else "auto, cpu, cuda and cuda:N"
            self.fail(f"'{value}' is no device; there are {there}", param, ctx)
        if not self._several and (match[1] or value == "all"):
            one = match[1] or "cuda"
            self.fail(f"'{value}' is several GPUs, and this command works on one: take {one}", param, ctx)
        return str(value)


class IsoRangeType(click.ParamType):  # type: ignore[type-arg]
    """A range of ISO, both ends included: "800-3200", or "1600" alone."""

    name = "ISO range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read a range, ends included."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value).strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            self.fail(f"'{value}' is no range of ISO; write it like 800-3200 or 1600", param, ctx)
        return low, high


class OrWord(click.ParamType):  # type: ignore[type-arg]
    """A number of another type, or one word that stands for None."""

    def __init__(self, word: str, number: "click.ParamType[Any]") -> None:
        self.word = word
        self.number = number
        self.name = f"{word}|{number.name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the word (as None) or the number."""
        if value is None or str(value).lower() == self.word:
            return None
        return self.number.convert(value, param, ctx)


class PlaceType(click.ParamType):  # type: ignore[type-arg]
    """A pixel of a photo, counted from its upper left corner: "2100,1500" gives (2100, 1500)."""

    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read a pixel; whether the photo has it, the photo says."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,7}),(\d{1,7})", str(value).strip())
        if not match:
            self.fail(f"'{value}' is no pixel; write how far from left and top, like 2100,1500", param, ctx)
        return int(match[1]), int(match[2])
