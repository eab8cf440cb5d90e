"""How groups of photos share the time that calibrations may take, and which of them comes first."""

from collections.abc import Mapping
from math import sqrt
from typing import TypeVar

from nsp_pipeline.calibration.archive.groups import Group

Key = TypeVar("Key")

LEAST_SECONDS = 60.0
"""Reading photos, some steps and one judgement take about this long: a share that is smaller teaches nothing."""


def worth(group: Group) -> float:
    """Return how much there is to gain by a group's calibration, to compare it with others: by photos, and noise.

    Noise is not measured for that: its standard deviation grows about as the root of ISO. A group of several ISO counts
    with the middle one, in stops.
    """
    low, high = group.iso or (100, 100)
    middle = sqrt(low * high)
    return len(group.paths) * sqrt(middle / 100)


def share_of(key: Key, photos: Mapping[Key, int], seconds: float, spent: Mapping[Key, float]) -> float:
    """Return how long (s) a group may take in all, what it has taken already included.

    Time is shared by the number of photos. What finished groups left of their shares, or overdrew, is the others'.

    Args:
        photos: number of photos of each group that is not finished, this one among them.
        seconds: what all groups may take together.
        spent: seconds taken so far, of finished groups too; of those that are in `photos` it is part of their share.
    """
    gone = sum(taken for other, taken in spent.items() if other not in photos)
    return max(0.0, seconds - gone) * photos[key] / sum(photos.values())


def with_time_enough(
    photos: Mapping[Key, int], seconds: float, spent: Mapping[Key, float], least: float = LEAST_SECONDS
) -> dict[Key, int]:
    """Leave groups out, the one with the fewest photos first, until the share of every other is `least` seconds."""
    kept = dict(photos)
    while kept:
        fewest = min(kept, key=lambda key: kept[key])
        if share_of(fewest, kept, seconds, spent) >= least:
            break
        del kept[fewest]
    return kept
