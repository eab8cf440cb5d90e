"""What a group of photos means for its owner, in words: how noisy it is, and whether a profile can be made of it."""

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


def calibration_in_words(group: Group) -> str:
    """Whether a profile can be made of these photos."""
    count = len(group.paths)
    if group.edited:
        return "edited, so no profile can be made of them"
    if count < FEWEST:
        return f"too few to calibrate ({FEWEST} needed, {PLENTY} better)"
    return "enough to calibrate" if count >= PLENTY else f"enough to calibrate ({PLENTY} are better)"


def verdict(group: Group) -> str:
    """The group in a sentence, such as "moderate noise; 38 photos, enough to calibrate"."""
    count = len(group.paths)
    photos = "1 photo" if count == 1 else f"{count} photos"
    return f"{noise_in_words(group.sigma)}; {photos}, {calibration_in_words(group)}"
