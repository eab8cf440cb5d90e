"""Every profile on every engine in every precision, side by side: rounds, each of which measures all of them once.

What else a machine does comes and goes, so shares and ratios are formed within a round, and the median over the rounds
stands in the result.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nsp_pipeline.machine.apart import RefusedTrialError
from nsp_pipeline.speed.apart import ask
from nsp_pipeline.speed.photo import noisy_photo
from nsp_pipeline.speed.stages import STAGES, bound_by

AUTHORS = "eager"
"""In the place of an engine: PyTorch as the paper's authors run it."""

REAL_PHOTO = 24.0
"""Megapixels of the photo whose time is reported."""

SHORTEST = 1e-6
"""Seconds: no clock tells less."""


@dataclass(frozen=True)
class Configuration:
    """What is measured: a profile by name or path, an engine or AUTHORS, and a precision."""

    profile: str
    engine: str
    precision: str


@dataclass(frozen=True)
class Plan:
    """What to measure, and how: photo size, rounds, threads, device."""

    configurations: Sequence[Configuration]
    height: int
    width: int
    rounds: int = 3
    seconds: float = 1.0
    """Least time that each configuration computes in a round."""
    device: str = "auto"
    threads: int | None = None

    @property
    def megapixels(self) -> float:
        """Size of the photo."""
        return self.height * self.width / 1e6


@dataclass(frozen=True)
class Timed:
    """A configuration that ran; `seconds` and `cpu_seconds` of one photo, one entry a round.

    Where the processor time is far below clock times threads, something else had the machine.
    """

    configuration: Configuration
    engine: str
    """What ran: another than was asked for, where that one failed its probe; `note` says why."""
    provider: str
    precision: str
    note: str
    gpu: bool
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    start_seconds: float
    peak_bytes: int | None
    gpu_bytes: int | None
    megapixels_per_second: float
    real_photo_seconds: float
    """Of REAL_PHOTO megapixels, at this rate."""
    share_of_peak: float | None
    """Multiply-adds of the network a second over the matrix rate in the same precision; what tiles see twice is not
    counted as work."""
    engine_share: float | None
    """Of the time, what the engine took; the rest is noise, tiles, blend and storing. None for the authors' way."""
    seen_twice: float | None
    """How much more of a photo of REAL_PHOTO megapixels is computed than it has: what halos of tiles see again."""
    stages: dict[str, float]
    """Megapixels a second of each of STAGES by itself; empty for the authors' way."""
    bound_by: str | None
    """The slowest of them, which bounds a run in which they overlap."""
    times_authors: float | None
    """How many times as fast as the authors' way, on the same profile."""


@dataclass(frozen=True)
class Refused:
    """A configuration that did not run, and why."""

    configuration: Configuration
    reason: str


@dataclass(frozen=True)
class Bench:
    """The results of a plan; `rates` are matrix rates in floating-point operations a second, by "cpu fp32" etc."""

    timed: list[Timed]
    refused: list[Refused]
    rates: dict[str, float]
    macs_per_pixel: dict[str, float]
    """Multiply-adds of each profile's network."""


@dataclass
class _Laps:
    """Answers of the trials so far: of a configuration one a round, none after it was refused."""

    answers: dict[Configuration, list[dict[str, Any]]]
    refused: dict[Configuration, str] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)


def run_bench(plan: Plan, on_step: Callable[[str, int, int], None] = lambda what, done, total: None) -> Bench:
    """Measure everything a plan names.

    Args:
        on_step: called with (what is measured now, measurements done, all of them).
    """
    laps = _Laps({configuration: [] for configuration in plan.configurations})
    total = plan.rounds * len(plan.configurations)
    with tempfile.TemporaryDirectory(prefix="nsp-bench-") as folder:
        photo = Path(folder) / "photo.npy"
        np.save(photo, noisy_photo(plan.height, plan.width))
        for number in range(plan.rounds):
            for place, configuration in enumerate(plan.configurations):
                what = f"{configuration.profile}, {configuration.engine}, {configuration.precision}"
                on_step(what, number * len(plan.configurations) + place, total)
                if configuration not in laps.refused:
                    _measure(configuration, plan, photo, laps)
            on_step("matrix rate", (number + 1) * len(plan.configurations), total)
            _measure_rates(plan, laps)
    work = _count_work({configuration.profile for configuration in plan.configurations}, plan)
    timed = [_summary(one, plan, laps, work) for one in plan.configurations if one not in laps.refused]
    return Bench(
        timed=timed,
        refused=[Refused(configuration, reason) for configuration, reason in laps.refused.items()],
        rates={key: statistics.median(rates) for key, rates in laps.rates.items()},
        macs_per_pixel=work,
    )


def _measure(configuration: Configuration, plan: Plan, photo: Path, laps: _Laps) -> None:
    shared = {"device": plan.device, "photo": str(photo), "seconds": plan.seconds, "profile": configuration.profile}
    try:
        if configuration.engine == AUTHORS:
            answer = ask("authors", threads=plan.threads, **shared)
        else:
            asked = {"engine": configuration.engine, "precision": configuration.precision}
            answer = ask("engine", threads=plan.threads, **shared, **asked)
    except RefusedTrialError as error:
        laps.refused[configuration] = str(error)
        return
    laps.answers[configuration].append(answer)


def _measure_rates(plan: Plan, laps: _Laps) -> None:
    """Measure the matrix rate on every device and in every precision that ran in this round."""
    ran = [answers[-1] for one, answers in laps.answers.items() if one not in laps.refused]
    for gpu, precision in sorted({(answer["gpu"], answer["precision"]) for answer in ran}):
        try:
            answer = ask("rate", threads=plan.threads, precision=precision, gpu=gpu)
        except RefusedTrialError:
            # Without it no share can be reported; the speeds stand.
            continue
        laps.rates.setdefault(_device_key(gpu, precision), []).append(answer["flops"])


def _count_work(profiles: set[str], plan: Plan) -> dict[str, float]:
    work: dict[str, float] = {}
    for profile in sorted(profiles):
        try:
            work[profile] = ask("work", threads=plan.threads, profile=profile)["macs_per_pixel"]
        except RefusedTrialError:
            # A profile that does not open has no row to put it in; its rows say why.
            continue
    return work


def _summary(configuration: Configuration, plan: Plan, laps: _Laps, work: Mapping[str, float]) -> Timed:
    answers = laps.answers[configuration]
    seconds = [answer["seconds"] for answer in answers]
    last = answers[-1]
    rate = plan.megapixels / statistics.median(seconds)
    authors = Configuration(configuration.profile, AUTHORS, "fp32")
    beside = [] if authors in laps.refused else [answer["seconds"] for answer in laps.answers.get(authors, [])]
    stages = {stage: plan.megapixels / max(seconds, SHORTEST) for stage, seconds in _median_stages(answers).items()}
    flops = 2e6 * plan.megapixels * work.get(configuration.profile, 0.0)
    peaks = laps.rates.get(_device_key(last["gpu"], last["precision"]), [])
    return Timed(
        configuration=configuration,
        engine=last["engine"],
        provider=last["provider"],
        precision=last["precision"],
        note=last["note"],
        gpu=last["gpu"],
        seconds=tuple(seconds),
        cpu_seconds=tuple(answer["cpu_seconds"] for answer in answers),
        start_seconds=statistics.median(answer["start_seconds"] for answer in answers),
        peak_bytes=_largest([answer["peak_bytes"] for answer in answers]),
        gpu_bytes=_largest([answer["gpu_bytes"] for answer in answers]),
        megapixels_per_second=rate,
        real_photo_seconds=REAL_PHOTO / rate,
        share_of_peak=_median([flops / lap / peak for lap, peak in zip(seconds, peaks, strict=False)]) or None,
        engine_share=_median([one["engine_seconds"] / one["seconds"] for one in answers if "engine_seconds" in one]),
        seen_twice=last.get("seen_twice"),
        stages=stages,
        bound_by=bound_by(stages),
        times_authors=_median([theirs / ours for theirs, ours in zip(beside, seconds, strict=False)]),
    )


def _median_stages(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds of the stages that were measured, in their order."""
    measured = [answer["stages"] for answer in answers if "stages" in answer]
    return {
        stage: statistics.median(taken[stage] for taken in measured)
        for stage in STAGES
        if measured and stage in measured[0]
    }


def _device_key(gpu: bool, precision: str) -> str:
    return f"{'gpu' if gpu else 'cpu'} {precision}"


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
