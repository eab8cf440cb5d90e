"""Measuring the engines of a machine, in another process; one process of this machine at a time."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nsp_pipeline.engines.candidates import Candidate
from nsp_pipeline.engines.measured.speeds import Speed, SpeedKey, keep_speeds, known_speeds
from nsp_pipeline.file_lock import try_lock
from nsp_pipeline.machine.apart import RefusedTrialError, ask_module
from nsp_pipeline.profiles.bundle import Profile

TRIAL = "nsp_pipeline.engines.speed_trial"
LONGEST_TRIAL = 60.0
"""Seconds after which an engine is taken to hang: opening it and a few small pictures take seconds."""

LONGEST_WAIT = 30.0
"""Seconds that a process waits for another one's measurement."""

POLL_SECONDS = 0.2


def measure_speeds(
    profile: Profile, key: SpeedKey, contenders: Sequence[Candidate], say: Callable[[str], None]
) -> list[Speed]:
    """Measure candidates, and keep what comes out; nothing that happens to them ends this process.

    Where another process is measuring the same, its result is waited for.

    Args:
        say: takes lines for the user.

    Returns:
        The speeds, those with `trouble` included; nothing where another process took too long.
    """
    say(f"measuring once which engine is the fastest here with {profile.name}; it takes a few seconds")
    with _alone(key) as alone:
        if known := known_speeds(key):
            return known
        if not alone:
            return []
        speeds = _measured(profile, key, contenders)
        # What no engine could do says more of this moment (no memory, no processes) than of the engines.
        if all(speed.trouble for speed in speeds):
            return speeds
        if trouble := keep_speeds(key, speeds):
            say(f"the measurement cannot be kept, and the next run makes it again: {trouble}")
    return speeds


def _measured(profile: Profile, key: SpeedKey, contenders: Sequence[Candidate]) -> list[Speed]:
    """Measure candidates side by side; each alone, where one of them takes the others along."""
    asked = {
        "profile": str(profile.path.absolute()),
        "mode": key.mode,
        "engines": [(one.engine, one.precision) for one in contenders],
        "threads": key.threads,
    }
    try:
        answers = ask_module(TRIAL, asked, threads=key.threads, longest=LONGEST_TRIAL)["speeds"]
        return [Speed(one.engine, one.precision, **said) for one, said in zip(contenders, answers, strict=True)]
    except RefusedTrialError as error:
        if len(contenders) > 1:
            return [speed for one in contenders for speed in _measured(profile, key, [one])]
        (alone,) = contenders
        return [Speed(alone.engine, alone.precision, trouble=str(error))]


@contextmanager
def _alone(key: SpeedKey) -> Iterator[bool]:
    """Whether this process is the only one that measures this; waits for another one that does.

    Where the folder cannot be written, or its disk has no locks, every process measures for itself.
    """
    try:
        key.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(key.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        yield True
        return
    try:
        yield _locked(descriptor)
    finally:
        # Closing it frees the lock as well.
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            if try_lock(descriptor, 0, 1):
                return True
        except OSError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
