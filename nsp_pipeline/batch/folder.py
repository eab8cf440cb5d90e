"""Denoising folders, as the command line and other programs ask for it: from named options to a summary."""

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from nsp_pipeline.batch.ahead.forecast import Forecast, forecast
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.clashes import OnClash
from nsp_pipeline.batch.engine_pool import engine_pool
from nsp_pipeline.batch.job import Shard
from nsp_pipeline.batch.listeners.callback import Callback, FolderProgress
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.outcome import Ended, Summary
from nsp_pipeline.batch.output.publish import Encoding
from nsp_pipeline.batch.plan import Plan, PlanRules, make_plan
from nsp_pipeline.batch.run import INSTALLED, Foreseen, foresee, run_batch
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.core.blend import LOOKS
from nsp_pipeline.core.modes import MODES
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.engines.cuda_driver import all_gpus
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.development import DOMAINS, development_asked
from nsp_pipeline.frames.light import LIGHT_WORDS
from nsp_pipeline.frames.write import OutputKind
from nsp_pipeline.profiles.choose import BUILTIN
from nsp_pipeline.profiles.spec import PD_WORDS

USUAL_MEMORY = 768 << 20

CHOICES: Mapping[str, Sequence[object]] = {
    "on_missing_profile": ("nearest", "builtin", "skip", "error"),
    "mode": MODES,
    "pd": PD_WORDS,
    "light": LIGHT_WORDS,
    "look": LOOKS,
    "format": tuple(str(kind) for kind in OutputKind),
    "bit_depth": (None, 8, 16, 32),
    "on_name_clash": tuple(str(way) for way in OnClash),
    "damaged": ("fail", "keep"),
    "domain": ("auto", *DOMAINS),
}
"""What options that are words may say."""
RANGES = {"workers": (1, 64), "quality": (1, 100), "tile": (32, 1 << 20), "threads": (1, 1 << 10)}
"""What options that are whole numbers may be."""

DEVICES = re.compile(r"auto|cpu|all|cuda(:\d+(,\d+)*)?")


class FolderOptions(TypedDict, total=False):
    """How a folder is denoised; names, values and defaults are those of `nsp denoise`. None is "auto", or "keep"."""

    profile: str | os.PathLike[str]
    on_missing_profile: Literal["nearest", "builtin", "skip", "error"]
    mode: Literal["denoise", "sr", "sr-direct"]
    strength: float | None
    chroma: float | None
    detail: float
    pd: Literal["auto", "off", "on", "blend"]
    light: Literal["auto", "linear", "encoded"]
    look: Literal["smooth", "natural"]
    engine: str
    device: str
    precision: str
    require_gpu: bool
    tile: int | None
    memory: int
    """Bytes."""
    threads: int | None
    workers: int
    recursive: bool
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    on_name_clash: Literal["error", "number"]
    format: Literal["keep", "jpeg", "png", "tiff", "jxl", "avif", "dng"]
    bit_depth: Literal[8, 16, 32] | None
    quality: int | None
    suffix: str
    overwrite: bool
    retry_failed: bool
    damaged: Literal["fail", "keep"]
    max_megapixels: float | None
    max_seconds: float | None
    shard: Shard | None
    cluster: str | None
    domain: Literal["auto", "developed", "demosaiced", "raw"]
    white_balance: str | None
    highlights: Literal["clip", "blend", "rebuild"] | None
    colour_space: Literal["srgb", "p3", "adobe", "prophoto", "rec2020"] | None
    exposure: float | None
    """How RAW is denoised and developed; None: as the profile was calibrated."""


@dataclass(frozen=True)
class FolderRun:
    """What is to be done; nothing has been written yet."""

    plan: Plan
    settings: RunSettings
    sources: Sources

    def foresee(self) -> tuple[list[Foreseen], list[Task]]:
        """Say what `work` would do, photo by photo, and which it would make; see batch.run.foresee."""
        return foresee(self.plan, self.settings, self.sources)

    def forecast(self, tasks: Sequence[Task], say: Callable[[str], None]) -> Forecast:
        """Say what these photos would take; see batch.ahead.forecast."""
        return forecast(tasks, self.plan.root, self.settings, self.sources, say)

    def work(self, reporter: Reporter, cancel: threading.Event | None = None) -> Summary:
        """Do it; see batch.run.run_batch."""
        if not self.plan.jobs and not self.plan.refused:
            return Summary(self.plan.root, (), 0, 0.0, Ended.COMPLETE)
        return run_batch(self.plan, self.settings, reporter, self.sources, cancel)

    def require_engine(self, say: Callable[[str], None]) -> None:
        """Open the built-in profile's engine and close it, to be asked before other work that takes long.

        Raises MissingCapabilityError where this machine lacks what the settings ask for. Engines of other processes are
        left to these.
        """
        if not self.settings.in_other_processes:
            with engine_pool(self.settings, self.sources, say) as engines:
                engines.get(self.sources.find_profile(BUILTIN))

    def require_photos(self) -> None:
        """Raise UsageError where an INPUT has no photo.

        A disk that is not mounted must not look like success, even where the other INPUTs are done.
        """
        if trouble := self.plan.found.nothing or self.plan.found.without_photos:
            raise UsageError(trouble)


def plan_folder(
    inputs: Sequence[Path], output: Path, sources: Sources = INSTALLED, **options: Unpack[FolderOptions]
) -> FolderRun:
    """Plan a run from its options.

    Raises:
        TypeError: an option that there is not.
        UsageError: a value that does not fit, options that would do nothing, or what make_plan refuses.
    """
    _refuse_wrong(options)
    plan, settings = make_plan(inputs, output, _rules(options)), _settings(options)
    if any(job.kind is OutputKind.DNG for job in plan.jobs):
        _refuse_for_dng(settings)
    return FolderRun(plan, settings, sources)


def denoise_folder(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    progress: Callable[[FolderProgress], object] | None = None,
    cancel: threading.Event | None = None,
    sources: Sources = INSTALLED,
    **options: Unpack[FolderOptions],
) -> Summary:
    """Denoise folders and files into a folder, as `nsp denoise` does, with its manifest; a second call continues.

    >>> import numpy as np, nsp_pipeline as nsp
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> noisy = np.random.default_rng(0).normal(120, 20, (64, 96, 3)).clip(0, 255).astype(np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     photos = Path(folder, "photos")
    ...     photos.mkdir()
    ...     Image.fromarray(noisy).save(photos / "a.png")
    ...     first = nsp.denoise_folder(photos, Path(folder, "clean"), profile="fast")
    ...     again = nsp.denoise_folder(photos, Path(folder, "clean"), profile="fast", progress=lambda now: print(
    ...         now.finished, now.total, now.latest.outcome, now.latest.reason))
    1 1 skipped already done
    >>> first.counts()["done"], again.counts()["skipped"], str(first.ended)
    (1, 1, 'complete')

    Signals are left alone: KeyboardInterrupt ends the call, as cleanly as `cancel` does.

    Args:
        inputs: files or folders; the tree below a folder is kept.
        output: the folder of the results, or a file where the only input is one.
        progress: called when a photo has come to its end, one call at a time, from any thread. What it raises ends
            the run and is raised here.
        cancel: set it, from any thread or from `progress`, to end the run soon; the summary's `ended` says
            "interrupted".
        sources: profiles and engines in the place of those that are installed.
        options: see FolderOptions.

    Returns:
        What became of every photo. Those that failed are in it, and raise nothing.

    Raises:
        UsageError, ProfileError: refused before any work, or an input without any photo.
        MissingCapabilityError: this machine lacks the engine or device.
        OutputError: the output cannot be written; what was finished stays, and a second call continues.
    """
    single = isinstance(inputs, str | os.PathLike)
    paths = [Path(inputs)] if single else [Path(path) for path in inputs]  # type: ignore[arg-type,union-attr]
    run = plan_folder(paths, Path(output), sources, **options)
    cancel = cancel or threading.Event()
    callback = Callback(progress or (lambda now: None), cancel)
    summary = run.work(callback, cancel)
    if callback.error:
        raise callback.error
    if summary.fatal:
        raise summary.fatal
    run.require_photos()
    return summary


def _refuse_wrong(options: FolderOptions) -> None:
    if unknown := set(options) - set(FolderOptions.__annotations__):
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    for name, words in CHOICES.items():
        if (value := options.get(name, words[0])) not in words:
            raise UsageError(f"{name} '{value}' is none of: {', '.join(map(str, words))}")
    for name, (least, most) in RANGES.items():
        value = options.get(name)
        if value is not None and not (isinstance(value, int) and least <= value <= most):
            raise UsageError(f"{name} {value} is no whole number from {least} to {most}")
    megapixels = options.get("max_megapixels")
    if megapixels is not None and not megapixels > 0:
        raise UsageError(f"max_megapixels {megapixels} is no number above 0")
    device = options.get("device", "auto")
    if not DEVICES.fullmatch(device):
        raise UsageError(f"device '{device}' is no device; there are auto, cpu, cuda, cuda:N, cuda:N,M and all")
    if len(set(numbers := device.partition(":")[2].split(","))) < len(numbers):
        raise UsageError(f"device '{device}' names a GPU twice")
    _refuse_contradictions(options)


def _refuse_contradictions(options: FolderOptions) -> None:
    """Refuse options that would silently do nothing."""
    kind, depth, suffix = options.get("format"), options.get("bit_depth"), options.get("suffix", "")
    if kind in ("jpeg", "avif") and depth in (16, 32):
        raise UsageError(f"--format {kind} stores 8 bits; --bit-depth {depth} needs --format png or tiff")
    if kind == "png" and depth == 32:
        raise UsageError("--format png stores 8 or 16 bits; --bit-depth 32 needs --format tiff")
    if kind in ("png", "tiff") and options.get("quality") is not None:
        raise UsageError(f"--quality is of JPEG, JPEG XL and AVIF; --format {kind} loses nothing")
    if options.get("cluster") and options.get("device", "auto") not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--cluster takes every GPU there is; --device {options['device']} is of one machine")
    if any(character in suffix for character in "/\\\0"):
        raise UsageError(f"--suffix '{suffix}' must not contain slashes")
    domain = options.get("domain", "auto")
    if domain in ("demosaiced", "raw") and options.get("mode", "denoise") != "denoise":
        raise UsageError(f"--mode {options['mode']} enlarges developed pictures; leave --domain {domain} out")
    if options.get("pd", "auto") != "auto" and options.get("mode", "denoise") != "denoise":
        raise UsageError(f"--pd works with --mode denoise only, not with {options['mode']}")


def _refuse_for_dng(settings: RunSettings) -> None:
    """Refuse options that a DNG, which holds the sensor's own colours, has no place for."""
    if settings.inference.mode != "denoise":
        raise UsageError(f"a DNG has the size of its sensor; --mode {settings.inference.mode} needs another --format")
    if settings.encoding.bit_depth not in (None, 16):
        raise UsageError(f"a DNG stores 16 bits; --bit-depth {settings.encoding.bit_depth} needs another --format")
    if settings.encoding.quality is not None:
        raise UsageError("--quality is of JPEG; a DNG loses nothing")
    if settings.domain == "developed":
        raise UsageError("a DNG is developed later, by another program; leave --domain developed out")
    if settings.development:
        name = next(iter(settings.development)).replace("_", "-")
        raise UsageError(f"--{name} is for pictures that nsp develops; a DNG is developed later, by another program")


def _rules(options: FolderOptions) -> PlanRules:
    return PlanRules(
        kind=OutputKind(options.get("format", "keep")),
        on_clash=OnClash(options.get("on_name_clash", "error")),
        include=_globs(options.get("include", ())),
        exclude=_globs(options.get("exclude", ())),
        **_given(options, "recursive", "suffix", "shard"),
    )


def _globs(given: str | Sequence[str]) -> tuple[str, ...]:
    """Globs, of which a single one may stand alone: its letters would be globs as well, and "*" takes everything."""
    return (given,) if isinstance(given, str) else tuple(given)


def _settings(options: FolderOptions) -> RunSettings:
    return RunSettings(
        inference=InferenceSettings(
            **_given(options, "mode", "strength", "tile", "chroma", "detail", "pd", "light", "look")
        ),
        encoding=Encoding(**_given(options, "bit_depth", "quality")),
        profile=os.fspath(options.get("profile", "auto")),
        on_missing=options.get("on_missing_profile", "nearest"),
        memory=options.get("memory", USUAL_MEMORY),
        device=all_gpus() if options.get("device") == "all" else options.get("device", "auto"),
        development=development_asked(options),
        domain=options.get("domain", "auto"),
        **_given(options, "engine", "precision", "require_gpu", "workers", "threads"),
        **_given(options, "overwrite", "retry_failed", "damaged", "max_megapixels", "max_seconds", "shard", "cluster"),
    )


def _given(options: FolderOptions, *names: str) -> dict[str, Any]:
    """Those of the options that were given; what they are otherwise, the settings know."""
    return {name: value for name, value in options.items() if name in names}
