"""Moments by which what is learnt from should be prepared, on the clock of `time.monotonic`; None is never."""

import time


def is_past(moment: float | None) -> bool:
    """Whether it has come."""
    return moment is not None and time.monotonic() >= moment


def part_of_the_way(moment: float | None, share: float) -> float | None:
    """The moment when so much of the time from now to it has passed."""
    if moment is None:
        return None
    now = time.monotonic()
    return now + share * (moment - now)
