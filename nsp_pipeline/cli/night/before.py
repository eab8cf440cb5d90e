"""What `--calibrate` adds to `nsp denoise`: refusals, what a dry run says, and the calibrations before the photos."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from nsp_pipeline.atomic_file import require_writable
from nsp_pipeline.batch.folder import FolderRun
from nsp_pipeline.batch.job import RECORD_FOLDER
from nsp_pipeline.batch.listeners.json_log import EventLog
from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.calibration.archive.shares import LEAST_SECONDS
from nsp_pipeline.calibration.archive.verdict import time_in_words
from nsp_pipeline.calibration.night.candidates import counted
from nsp_pipeline.cli.calibrate.command import usual_plan
from nsp_pipeline.cli.calibrate.how_long import usual_seconds
from nsp_pipeline.cli.night.device import device_asked, training_device
from nsp_pipeline.cli.night.stage import Night, Survey, calibrate_groups, document, require_place, survey
from nsp_pipeline.cli.night.task import GroupEnd
from nsp_pipeline.cli.shared.exporting import require_training
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_line
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.profiles.choose import look_again

NOT_WITH = {
    "watch": "--calibrate learns from the photos that are there when it begins: run it without --watch first",
    "shard": "--calibrate serves all shards: run it once without --shard (nsp calibrate INPUT --split camera --out "
    "FOLDER, and nsp profiles install), then the shards",
    "cluster": "--calibrate trains on this machine: use nsp calibrate INPUT --split camera --cluster ADDRESS --out "
    "FOLDER and nsp profiles install first, then --cluster here",
}
DEVELOPING = ("white_balance", "highlights", "colour_space", "exposure")


@dataclass(frozen=True)
class Before:
    """Calibrations before the photos of a run."""

    night: Night
    run: FolderRun
    options: Mapping[str, Any]
    began: float

    def tell_ahead(self, *, as_json: bool) -> dict[str, Any]:
        """Print which groups would be calibrated, for how long, and which would not, unless it is to be JSON."""
        found = survey([job.input for job in self.run.plan.jobs], self.night)
        if found.candidates:
            self._require_training()
        whole = usual_seconds() if found.candidates else None
        if not as_json:
            for line in _lines(found, self.night.seconds, whole):
                print_line(line)
        return {
            "groups": [
                {
                    "title": candidate.title,
                    "photos": len(candidate.group.paths),
                    "seconds": round(_expected(found.share(candidate, self.night.seconds), whole)),
                    "begun": found.is_begun(candidate),
                }
                for candidate in found.candidates
            ],
            "left_out": [vars(entry) for entry in found.left_out],
            "whole_training_seconds": round(whole) if whole else None,
        }

    def work(self, console: Console, log: EventLog | None) -> tuple[FolderRun, dict[str, Any]]:
        """Calibrate; returns the run of the photos, with what is left of --max-duration, and a document of it all.

        Raises SystemExit where somebody asked to stop, and MissingCapabilityError and OutputError where this machine
        could not make the photos afterwards.
        """
        found = survey([job.input for job in self.run.plan.jobs], self.night)
        for entry in found.left_out:
            say(console, f"not calibrated: {entry}")
        ends: list[GroupEnd] = []
        stopped = False
        if found.candidates:
            self._require_all(console)
            if (several := str(self.options["device"])) == "all" or "," in several:
                say(console, f"--device {several}: a calibration trains on one GPU, here {self.night.device}")

            def note(end: GroupEnd) -> None:
                if log:
                    log.note("calibration", **{**vars(end), "outcome": str(end.outcome)})

            plan = usual_plan(self.night.inputs, device="cpu", threads=None, **_development(self.options))
            ends, stopped = calibrate_groups(self.night, plan, found, console, note)
            look_again()
        told = document(found, ends)
        if stopped:
            say(console, "stopped; the same command goes on")
            if log:
                log.end({"ended": "interrupted", "calibration": told})
            raise SystemExit(ExitCode.INTERRUPTED)
        return self._with_what_is_left(), told

    def close(self) -> None:
        """All photos are made: the next night has its whole time for calibrations again."""
        self.night.ledger.close()

    def _require_all(self, console: Console) -> None:
        """Ask for whatever trainings and photos will need, before what takes long."""
        self._require_training()
        require_place()
        if self.run.plan.jobs:
            require_writable(self.run.plan.root / RECORD_FOLDER, "the output")
        self.run.require_engine(lambda line: say(console, line))

    def _require_training(self) -> None:
        """Raise MissingCapabilityError without PyTorch, or where it cannot use the device."""
        require_training()
        training_device(self.night.device, None)  # which leaves the threads of this process as they are

    def _with_what_is_left(self) -> FolderRun:
        most = self.run.settings.max_seconds
        if most is None:
            return self.run
        left = max(0.001, most - (time.monotonic() - self.began))
        return replace(self.run, settings=replace(self.run.settings, max_seconds=left))


def calibrations_before(
    inputs: Sequence[Path], output: Path, run: FolderRun, options: Mapping[str, Any], began: float
) -> Before:
    """Read what `--calibrate` needs of the options of `nsp denoise`."""
    night = Night(options["calibrate"], inputs, output, device_asked(options), options["threads"])
    return Before(night, run, options, began)


def refuse(options: Mapping[str, Any]) -> None:
    """Refuse what does not go with `--calibrate`, before any work.

    Raises UsageError for options, and MissingCapabilityError where PyTorch is not there.
    """
    for name, why in NOT_WITH.items():
        if options[name]:
            raise UsageError(why)
    if options["profile"] != "auto":
        raise UsageError("--calibrate makes profiles for --profile auto to choose from; leave --profile out")
    if options["on_missing_profile"] == "error":
        raise UsageError(
            "--on-missing-profile error would end the run after hours, where a calibration gained nothing; with "
            "--calibrate take nearest, builtin or skip"
        )
    seconds, most = options["calibrate"], options["max_duration"]
    if seconds < LEAST_SECONDS:
        least = duration(LEAST_SECONDS)
        raise UsageError(f"--calibrate {duration(seconds)}: {least} is the least that a network learns anything in")
    if most is not None and seconds >= most:
        raise UsageError(
            f"--calibrate {duration(seconds)} leaves nothing of --max-duration {duration(most)} for the photos"
        )
    # To import it takes seconds, which a night without calibrations need not wait for.
    if any(find_spec(package) is None for package in ("torch", "onnxscript", "safetensors", "nsp_export")):
        require_training()


def _development(options: Mapping[str, Any]) -> dict[str, Any]:
    """How RAW is developed for calibration: as the photos will be."""
    domain = "developed" if options["domain"] == "auto" else options["domain"]
    changes: dict[str, Any] = {name: options[name] for name in DEVELOPING}
    if domain != "developed":
        changes["colour_space"] = None  # of the pictures in the end; it learns in the sensor's own
    return {**changes, "domain": domain}


def _lines(found: Survey, seconds: float, whole: float | None) -> list[str]:
    """What a dry run says of calibrations."""
    lines = []
    for candidate in found.candidates:
        share = found.share(candidate, seconds)
        goes_on = ", going on where it was cut off" if found.is_begun(candidate) else ""
        about = time_in_words(_expected(share, whole))
        lines.append(
            f"would calibrate {candidate.title}, {counted(len(candidate.group.paths))}: about {about}{goes_on}"
        )
    if whole and found.candidates:
        lines.append(f"a whole training takes about {time_in_words(whole)} here; no group gets more than its share")
    return [*lines, *(f"would not calibrate {entry}" for entry in found.left_out)]


def _expected(share: float, whole: float | None) -> float:
    return share if whole is None else min(share, whole)
