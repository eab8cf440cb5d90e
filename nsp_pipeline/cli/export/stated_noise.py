"""`nsp export --noise`: what the network is told of every image, from a number, a file or a profile."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.core.noise_prior import NoisePrior, level_of
from nsp_pipeline.core.noise_table import StatedNoise, camera_table
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.noise import measured_noise, told_of

INPUT, INSIDE, UNKNOWN = "input", "inside", "unknown"
WORDS = f"{INPUT}|{INSIDE}|{UNKNOWN}|SIGMA|TABLE|PROFILE"
STRONGEST = 255.0
STRONGEST_LEVEL, LEAST_SURE = 1.0, 10.0
"""What a table of pixels in 0..1 holds at most, and how far the logarithm of a level may be off at most."""


def stated_noise(text: str, iso: int | None = None) -> StatedNoise:
    """Read a level of noise: "unknown", a standard deviation in 8-bit steps, a .json file, or a profile, at an ISO.

    Raises UsageError where it is none of them, and where there is no noise in it.
    """
    if iso is not None and (text == UNKNOWN or _number(text) is not None or text.lower().endswith(".json")):
        raise UsageError(f"--iso {iso}: --noise {text} is of no ISO; leave one of them out")
    if text == UNKNOWN:
        return StatedNoise.unknown()
    sigma = _number(text)
    if sigma is not None:
        if not 0 < sigma <= STRONGEST:
            raise UsageError(f"--noise {text}: a level is a standard deviation in 8-bit steps, above 0 and up to 255")
        return StatedNoise(f"sigma {sigma:g}", camera_table(sigma))
    if text.lower().endswith(".json"):
        path = Path(text)
        return StatedNoise(f"table {path.name}", _table(path))
    try:
        profile = find_profile(text)
    except ProfileError as error:
        raise UsageError(f"--noise {text}: not a number, not a .json file, and no profile: {error}") from None
    found = measured_noise(profile, iso)
    if found is None:
        raise UsageError(f"--noise {text}: profile {profile.name} holds no measured noise; nsp calibrate measures it")
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else 0.0


def _table(path: Path) -> NDArray[np.float32]:
    """Read a table (1, TABLE_ROWS, TABLE_NODES) from what `nsp scan --noise --json` prints, or four rows of numbers.

    Where the file says how far the next photo may be off it, the network is told what `nsp denoise` tells.
    """
    try:
        found = _found(json.loads(path.read_text(encoding="utf-8")), path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON: {error}") from None
    rows = found.get("table")
    if not _is_table(rows, STRONGEST_LEVEL):
        raise UsageError(
            f"{path}: a noise table is {TABLE_ROWS} rows of {TABLE_NODES} standard deviations each, for pixels in 0 to "
            "1 (8-bit steps divided by 255); docs/engines.md says which row is what"
        )
    table = np.array(rows, dtype=np.float32)[None]
    unsure = found.get("unsure")
    if unsure is None:
        return table
    if not _is_table(unsure, LEAST_SURE):
        raise UsageError(
            f'{path}: "unsure" is {TABLE_ROWS} rows of {TABLE_NODES} numbers up to {LEAST_SURE:g}: how far the '
            "logarithm of the table may be off"
        )
    return told_of(NoisePrior(level_of(table[0]), np.array(unsure, dtype=np.float64)))


def _is_table(rows: Any, most: float) -> bool:
    """Whether these are the rows of a table, all numbers from 0 to the most."""
    if not isinstance(rows, list) or len(rows) != TABLE_ROWS or not all(isinstance(row, list) for row in rows):
        return False
    return all(len(row) == TABLE_NODES and all(_is_number(value, most) for value in row) for row in rows)


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _found(document: Any, path: Path) -> dict[str, Any]:
    """Find the table in a document: alone, in a group's `noise`, or in that of the only group that has one.

    With it comes whatever stands beside it.
    """
    if not isinstance(document, dict):
        # A graph's own default is [1, rows, nodes].
        return {"table": document[0] if isinstance(document, list) and len(document) == 1 else document}
    if "groups" in document:
        groups = document["groups"] if isinstance(document["groups"], list) else []
        measured = [group for group in groups if "table" in _in_group(group)]
        if len(measured) != 1:
            names = "; ".join(f"{group.get('camera')} ISO {group.get('iso_min')}" for group in measured)
            raise UsageError(
                f"{path}: one level of noise is needed, and this holds {len(measured)}{f' ({names})' * bool(names)}; "
                "scan the photos of one camera and ISO: nsp scan --noise --json PHOTOS"
            )
        return _in_group(measured[0])
    return document if "table" in document else _in_group(document)


def _in_group(group: Any) -> dict[str, Any]:
    noise = group.get("noise") if isinstance(group, dict) else None
    return noise if isinstance(noise, dict) else {}
