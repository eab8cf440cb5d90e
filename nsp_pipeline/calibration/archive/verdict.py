"""What a group of photos means for its owner, in words: how noisy it is, and whether a profile can be made of it."""

from collections import Counter
from collections.abc import Sequence

from nsp_pipeline.calibration.archive.groups import Group

LEVELS = ((0.7, "next to no"), (2.0, "little"), (5.0, "moderate"), (10.0, "strong"))
"""Standard deviations, of 255, up to which noise is called so."""
STRONGEST = "very strong"
FEWEST, PLENTY = 3, 12
"""Photos that a training needs to be judged by, and that it does well with."""


def noise_in_words(sigma: float | None) -> str:
    """How strong noise is: "moderate noise"; that it is unknown for None."""
    if sigma is None:
        return "unknown noise"
    return f"{next((word for most, word in LEVELS if sigma <= most), STRONGEST)} noise"


def can_calibrate(group: Group) -> bool:
    """Whether a profile can be made of these photos."""
    return not group.edited and len(group.paths) >= FEWEST


def calibration_in_words(group: Group, seconds: float | None = None) -> str:
    """Whether a profile can be made of these photos, and how long that takes here, where it is known."""
    if group.edited:
        return "edited, so no profile can be made of them"
    if not can_calibrate(group):
        return f"too few to calibrate ({FEWEST} needed, {PLENTY} better)"
    words = "enough to calibrate" if len(group.paths) >= PLENTY else f"enough to calibrate ({PLENTY} are better)"
    return words if seconds is None else f"{words}, about {time_in_words(seconds)} here"


def enough_together(groups: Sequence[Group]) -> dict[str, int]:
    """Cameras of which no group makes a profile, but all of their photos do, of any ISO; and how many these are."""
    photos: Counter[str] = Counter()
    for group in groups:
        if group.camera and not group.edited:
            photos[group.camera] += len(group.paths)
    alone = {group.camera for group in groups if can_calibrate(group)}
    return {camera: count for camera, count in photos.items() if count >= FEWEST and camera not in alone}


def time_in_words(seconds: float) -> str:
    """Some time, as a person says it: "12 minutes"."""
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{minutes / 60:.1f} hours"


def verdict(group: Group, seconds: float | None = None) -> str:
    """The group in a sentence, such as "moderate noise; 38 photos, enough to calibrate, about 12 minutes here"."""
    count = len(group.paths)
    photos = "1 photo" if count == 1 else f"{count} photos"
    return f"{noise_in_words(group.sigma)}; {photos}, {calibration_in_words(group, seconds)}"
