"""The calibrations of a night, one group after the other, within the time that they have together."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nsp_pipeline.atomic_file import require_writable
from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.calibration.archive.groups import read_headers
from nsp_pipeline.calibration.archive.shares import LEAST_SECONDS, share_of, with_time_enough, worth
from nsp_pipeline.calibration.night.candidates import Candidate, LeftOut, counted, find_candidates
from nsp_pipeline.calibration.night.fitting import fitting_profile
from nsp_pipeline.calibration.night.ledger import Ledger
from nsp_pipeline.calibration.night.memory import Outcome, calibration_folder, held, noise_profiles, place_of, settled
from nsp_pipeline.cli.calibrate.one import calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night.apart import Interrupts, calibrate_apart, heard
from nsp_pipeline.cli.night.half_done import goes_on
from nsp_pipeline.cli.night.one_group import done_before
from nsp_pipeline.cli.night.task import GroupEnd, GroupTask, Train
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.errors import OutputError
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.profiles.choose import look_again

SAVED_EVERY = 5.0
"""Seconds from one note of the time spent to the next."""
SPENT = "this run's time for calibrations is spent; the next night has its own"

LOOK_SECONDS = 0.5
"""From one look at what another run holds to the next."""

OnEnd = Callable[[GroupEnd], None]


@dataclass(frozen=True)
class Night:
    """What was asked for: how much time, for which photos, and where to train."""

    seconds: float
    inputs: Sequence[Path]
    output: Path
    device: str
    threads: int | None
    train: Train = calibrate_one

    @property
    def ledger(self) -> Ledger:
        """The time that this command's earlier runs spent."""
        return Ledger(self.inputs, self.output)


@dataclass(frozen=True)
class Survey:
    """Which groups are to be calibrated, the most worthwhile first, and which are not, with the reason."""

    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut]
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds that earlier runs of the command spent, by group, of finished ones too."""

    @property
    def photos(self) -> dict[str, int]:
        """How many photos each candidate has."""
        return {candidate.key: len(candidate.group.paths) for candidate in self.candidates}

    def share(self, candidate: Candidate, seconds: float) -> float:
        """How long (s) a candidate may take of the time for all (see allowed)."""
        return allowed(candidate, self.photos, seconds, self.spent)

    def is_begun(self, candidate: Candidate) -> bool:
        """Whether a calibration of it was cut off that can be gone on with."""
        return goes_on(candidate)


def allowed(candidate: Candidate, photos: Mapping[str, int], seconds: float, spent: Mapping[str, float]) -> float:
    """Return how long (s) a candidate's training may take, of its share of the time for all.

    One that goes on has its whole share, in which it counts what it took before. Where killed runs left nothing to go
    on from, what they took is gone: else a command that is killed again and again would have its time each time.
    """
    share = share_of(candidate.key, photos, seconds, spent)
    lost = 0.0 if goes_on(candidate) else spent.get(candidate.key, 0.0)
    return max(0.0, share - lost)


def survey(paths: Sequence[Path], night: Night) -> Survey:
    """Look at the photos' headers, and settle which groups are to be calibrated; writes nothing."""
    look_again()
    headers, _ = read_headers(paths)
    fitting = partial(fitting_profile, for_noise=noise_profiles())
    found, left_out = find_candidates(headers, read_aliases(aliases_file()), fitting)
    spent = night.ledger.spent()
    open_, settled_ = _unsettled(found, night.seconds)
    left_out += settled_
    photos = {candidate.key: len(candidate.group.paths) for candidate in open_}
    enough = with_time_enough(photos, night.seconds, spent)
    for candidate in open_:
        if candidate.key not in enough:
            share = share_of(candidate.key, photos, night.seconds, spent)
            reason = f"its share of the time is {duration(share)}, and {duration(LEAST_SECONDS)} are the least"
            left_out.append(LeftOut(candidate.title, photos[candidate.key], reason if share else SPENT))
    kept = []
    for candidate in open_:
        if candidate.key not in enough:
            continue
        if goes_on(candidate) or allowed(candidate, enough, night.seconds, spent) >= LEAST_SECONDS:
            kept.append(candidate)
        else:
            left_out.append(LeftOut(candidate.title, photos[candidate.key], SPENT))
    return Survey(sorted(kept, key=lambda candidate: worth(candidate.group), reverse=True), left_out, spent)


def _unsettled(found: Sequence[Candidate], seconds: float) -> tuple[list[Candidate], list[LeftOut]]:
    """Leave out what earlier calibrations have settled, each as if it shared the time with the others that are new."""
    new = [candidate for candidate in found if settled(candidate, 0.0) is None]
    photos = {candidate.key: len(candidate.group.paths) for candidate in new}
    left_out = []
    for candidate in found:
        if candidate in new:
            continue
        mine = {**photos, candidate.key: len(candidate.group.paths)}
        if reason := settled(candidate, share_of(candidate.key, mine, seconds, {})):
            left_out.append(LeftOut(candidate.title, len(candidate.group.paths), reason))
        else:
            new.append(candidate)
    return new, left_out


def require_place() -> None:
    """Raise OutputError where profiles cannot be kept: better now than after they are made."""
    require_writable(calibration_folder() / "spent", "profiles and calibrations")


def calibrate_groups(
    night: Night, plan: Plan, found: Survey, console: Console, on_end: OnEnd
) -> tuple[list[GroupEnd], bool]:
    """Calibrate each group of a survey; whatever becomes of one, the next has its turn.

    A group that another run is calibrating comes last, and is waited for as long as its calibration might take.

    Returns what came of each, and whether somebody asked to stop.
    """
    ends: list[GroupEnd] = []
    busy: list[Candidate] = []
    with heard() as interrupts:
        stage = _Stage(night, plan, found, interrupts, console)

        def close(end: GroupEnd) -> None:
            say(console, str(end), style="yellow" if end.outcome is Outcome.FAILED else "")
            ends.append(end)
            on_end(end)

        for candidate in found.candidates:
            end = stage.calibrate(candidate)
            if end.outcome is Outcome.BUSY:
                say(console, f"{end}; the others come first")
                busy.append(candidate)
            else:
                close(end)
            if interrupts.count:
                return ends, True
        for candidate in busy:
            close(stage.wait_and_calibrate(candidate))
            if interrupts.count:
                return ends, True
    return ends, False


class _Stage:
    """Calibrations under way: who is to be told to stop, and what time is left."""

    def __init__(self, night: Night, plan: Plan, found: Survey, interrupts: Interrupts, console: Console) -> None:
        self._night = night
        self._plan = plan
        self._pending = found.photos
        self._interrupts = interrupts
        self._console = console

    def calibrate(self, candidate: Candidate, waited: float = 0.0) -> GroupEnd:
        """Give a group its turn, and note what time it takes; what was `waited` for it (s) is part of its time."""
        night, ledger = self._night, self._night.ledger
        seconds = self._allowed(candidate) - waited
        if waited:
            ledger.spend(candidate.key, waited)
        photos = len(candidate.group.paths)
        if seconds <= 0 or (seconds < LEAST_SECONDS and not goes_on(candidate)):
            self._pending.pop(candidate.key)
            return done_before(candidate, seconds) or GroupEnd(candidate.title, photos, Outcome.NO_TIME, SPENT)
        say(self._console, f"calibrating {candidate.title}, {counted(photos)}, in {duration(seconds)} at most")
        noted = time.monotonic()

        def note(least: float = SAVED_EVERY) -> None:
            nonlocal noted
            if (passed := time.monotonic() - noted) >= least:
                ledger.spend(candidate.key, passed)
                noted += passed

        task = GroupTask(candidate, self._plan, seconds, night.device, night.threads)
        end = calibrate_apart(task, night.train, self._interrupts, note)
        if end.outcome is not Outcome.BUSY:
            note(least=0.0)
            self._pending.pop(candidate.key)
        return end

    def wait_and_calibrate(self, candidate: Candidate) -> GroupEnd:
        """Wait for another run to be through with a group, and see what there is left to do."""
        seconds = self._allowed(candidate)
        say(self._console, f"waiting for the run that calibrates {candidate.title}, for {duration(seconds)} at most")
        began = time.monotonic()
        while (busy := self._is_busy(candidate)) and time.monotonic() < began + seconds and not self._interrupts.count:
            time.sleep(LOOK_SECONDS)
        if not busy and not self._interrupts.count:
            end = self.calibrate(candidate, waited=time.monotonic() - began)
            if end.outcome is not Outcome.BUSY:
                return end
        reason = "another run is still calibrating these photos; a later run makes them with its profile"
        return GroupEnd(candidate.title, len(candidate.group.paths), Outcome.BUSY, reason)

    def _is_busy(self, candidate: Candidate) -> bool:
        try:
            with held(place_of(candidate.key)) as free:
                return not free
        except OutputError:
            return False  # the calibration itself will say it

    def _allowed(self, candidate: Candidate) -> float:
        return allowed(candidate, self._pending, self._night.seconds, self._night.ledger.spent())


def document(found: Survey, ends: Sequence[GroupEnd]) -> dict[str, Any]:
    """The same for a JSON document."""
    return {
        "groups": [{**vars(end), "outcome": str(end.outcome)} for end in ends],
        "left_out": [vars(entry) for entry in found.left_out],
    }
