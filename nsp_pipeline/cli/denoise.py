"""`nsp denoise`: noisy photos in, clean photos out."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console

from nsp_pipeline.atomic_file import require_writable
from nsp_pipeline.batch.clashes import OnClash
from nsp_pipeline.batch.folder import FolderOptions, FolderRun, plan_folder
from nsp_pipeline.batch.interrupt import interruptible
from nsp_pipeline.batch.listeners.closing import closing_table, next_lines
from nsp_pipeline.batch.listeners.json_log import EventLog
from nsp_pipeline.batch.listeners.listener import Everybody
from nsp_pipeline.batch.listeners.terminal import Lines, OnlyFailures, PatientConsole, terminal_reporter
from nsp_pipeline.batch.listeners.words import duration, summary_lines
from nsp_pipeline.batch.outcome import Ended, Outcome, Summary
from nsp_pipeline.batch.output.manifest import read_manifest
from nsp_pipeline.batch.plan import Plan
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.batch.watch.watch import FolderWatch
from nsp_pipeline.cli.dry_run import tell_ahead
from nsp_pipeline.cli.shared.development_options import development_options
from nsp_pipeline.cli.shared.engine_options import engine_options_for_several
from nsp_pipeline.cli.shared.finding import PHOTOS, find_options, search_document, search_lines
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import DurationType, NumberType, OrWord, ShardType, SizeType
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.cli.shared.strength_options import LIGHT_OPTION, strength_options
from nsp_pipeline.cli.shared.verbosity import is_quiet, is_verbose
from nsp_pipeline.core.modes import MODES
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.development import DOMAINS
from nsp_pipeline.frames.frame import Facts
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.frames.write import OutputKind
from nsp_pipeline.machine.cpus import limit_libraries

if TYPE_CHECKING:
    from nsp_pipeline.cli.night.before import Before


@click.command(
    name="denoise",
    cls=HelpfulCommand,
    examples=(
        "nsp denoise photos clean",
        "nsp denoise photos clean --dry-run",
        "nsp denoise photos clean --look natural --report report.html",
        "nsp denoise photos clean --calibrate 30m --max-duration 8h",
        "nsp denoise photo.jpg clean.jpg --strength 0.6",
    ),
    groups={
        "How much is removed": ("strength", "look", "chroma", "detail"),
        "By which network": ("profile", "on_missing_profile", "calibrate", "mode", "pd"),
        "Before, meanwhile, afterwards": ("dry_run", "report", "max_duration", "watch", "log_json", "as_json"),
        "Which photos": ("include", "exclude", "recursive", "retry_failed", "damaged", "max_megapixels", "shard"),
        "What is written": ("kind", "bit_depth", "quality", "suffix", "on_name_clash", "overwrite"),
        "RAW and linear light": ("domain", "white_balance", "highlights", "colour_space", "exposure", "light"),
        "What computes": ("engine", "device", "precision", "require_gpu", "cluster"),
        "Memory and processors": ("memory", "threads", "tile", "workers"),
    },
)
@click.argument("inputs", nargs=-1, required=True, type=PHOTOS, metavar="INPUT...")
@click.argument("output", type=click.Path(path_type=Path))
@recipe_option
@click.option(
    "--profile",
    default="auto",
    show_default=True,
    metavar="auto|NAME|PATH",
    help="auto chooses for each photo, by camera and ISO.",
)
@click.option(
    "--on-missing-profile",
    type=click.Choice(["nearest", "builtin", "skip", "error"]),
    default="nearest",
    show_default=True,
    help="What to do with a photo if no profile fits its camera and ISO.",
)
@click.option(
    "--calibrate",
    type=DurationType(),
    metavar="TIME",
    help="First make profiles of the cameras and ISO that have none, in at most this time together: 30m, 2h. Needs "
    "PyTorch; --dry-run says which.",
)
@click.option(
    "--mode", type=click.Choice(MODES), default="denoise", show_default=True, help="sr, sr-direct: double the size too."
)
@strength_options
@click.option(
    "--domain",
    type=click.Choice(("auto", *DOMAINS)),
    default="auto",
    show_default=True,
    help="Where RAW is denoised: developed; demosaiced, in the sensor's colours; raw, on its mosaic. auto: as the "
    "profile was calibrated, or demosaiced.",
)
@development_options
@LIGHT_OPTION
@engine_options_for_several
@click.option("--require-gpu", is_flag=True, help="Stop with exit code 3 rather than compute on the CPU.")
@click.option(
    "--tile",
    type=OrWord("auto", click.IntRange(min=32)),
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Side of a tile in pixels. Smaller tiles need less memory and more time.",
)
@click.option(
    "--memory",
    type=SizeType(least=16),
    default="768MiB",
    show_default=True,
    metavar="SIZE",
    help="Most memory for photos being read, made and written, besides the engine's own; never more than half of "
    "what is free.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads to compute with; without it, as many as this process may keep busy.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of threads that read photos."
)
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Also take photos from subfolders.")
@find_options
@click.option(
    "--on-name-clash",
    type=click.Choice([str(way) for way in OnClash]),
    default="error",
    show_default=True,
    help="Where photos would get one name, as 1.dng and 1.tif: they fail, or all but one are numbered (1-2.tif).",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice([str(kind) for kind in OutputKind]),
    default="keep",
    show_default=True,
    help="Kind of file to write; keep writes TIFF for RAW, WebP and JPEG 2000. dng keeps RAW to be developed later, "
    "without its noise.",
)
@click.option(
    "--bit-depth",
    type=click.Choice(["keep", "8", "16", "32"]),
    default="keep",
    show_default=True,
    help="Bits per channel.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, AVIF and JPEG XL.  [default: JPEG that of the photo, else 95; AVIF 90; JPEG XL lossless]",
)
@click.option(
    "--suffix", default="", metavar="TEXT", help="Add this to the output's name: photo.jpg becomes photoTEXT.jpg."
)
@click.option("--overwrite", is_flag=True, help="Replace files in OUTPUT that nsp did not write.")
@click.option("--retry-failed", is_flag=True, help="Also try photos again that failed before.")
@click.option(
    "--damaged",
    type=click.Choice(["fail", "keep"]),
    default="fail",
    show_default=True,
    help="Photos whose picture is damaged: refuse them, or denoise what can be read and mark them.",
)
@click.option(
    "--max-megapixels",
    type=NumberType(0, 512, min_open=True),
    metavar="N",
    help="Refuse larger photos, before memory is taken for them.  [default: 512]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be done, how long it takes and how much disk it needs; write nothing.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page in the end: failures, totals, and before and after of the photos, to look at in a browser.",
)
@click.option(
    "--log-json", type=click.Path(path_type=Path), metavar="FILE", help="Append a line of JSON to FILE for each event."
)
@click.option(
    "--max-duration",
    type=DurationType(),
    metavar="TIME",
    help="Start no more photos after 8h, 90m, 30s; exit code 5 where photos are left then.",
)
@click.option(
    "--shard", type=ShardType(), metavar="I/N", help="Do part I of N only, so that several runs can share the work."
)
@click.option(
    "--cluster",
    metavar="auto|ADDRESS",
    help="Work on all machines of a Ray cluster, which must see the same folders. auto: the one of this machine.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Go on: take photos that come later as soon as they are completely written, until Ctrl-C or SIGTERM.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.pass_obj
def command(
    sources: Sources | None, /, inputs: tuple[Path, ...], output: Path, as_json: bool, dry_run: bool, **options: Any
) -> None:
    """Remove the noise from photos. INPUT: files or folders; OUTPUT: a folder, or a file if INPUT is one file.

    Originals are never changed, and OUTPUT gets the same subfolders. Run the same command again to continue a run that
    stopped: finished photos are skipped. With another profile or other settings, photos are made again and replaced.

    With --calibrate, cameras that have three photos or more and no profile get one first, by how many photos they have
    and how noisy they are. It is kept in your profile folder if it is better than the built-in profile on photos held
    out; else the weights that ship stay, with what is known of the camera's noise, and no night tries again until more
    could come of it. A run that was killed goes on where it was, calibrations too.

    Hidden files and folders (.name) and those of systems and network disks (@eaDir, #recycle, $RECYCLE.BIN, __MACOSX,
    ._name) are skipped, unless they are INPUT themselves. Links are followed, and no photo is made twice.

    Exit codes: 0 all done; 1 some photos failed; 2 wrong usage, or an INPUT without any photo; 3 this machine cannot do
    it; 4 OUTPUT cannot be written; 5 the time of --max-duration was up and photos are left; 130 interrupted.
    """
    began = time.monotonic()
    limit_libraries(options["threads"], over_environment=True)
    if options["calibrate"]:
        _refuse_with_calibrate(options)
    run = plan_folder(inputs, output, sources or Sources(), **_folder_options(options))
    plan = run.plan
    console = PatientConsole(stderr=True)
    if options["watch"]:
        _refuse_with_watch({"--dry-run": dry_run, "--json": as_json, "--report": options["report"] is not None})

        def again() -> FolderRun:
            return plan_folder(inputs, output, run.sources, **_folder_options(options))

        _watch(again, console, _log_path(options["log_json"], plan))
        return
    report = _report_path(options["report"], plan, dry_run=dry_run)
    _say_all(console, [*search_lines(plan.found), *_ignored_lines(plan)])
    before = _calibrations(inputs, output, run, options, began) if options["calibrate"] else None
    if dry_run:
        calibration = before.tell_ahead(as_json=as_json) if before else None
        tell_ahead(run, console, calibration, as_json=as_json)
        run.require_photos()
        return
    log_path = _log_path(options["log_json"], plan)
    with EventLog(log_path) if log_path else nullcontext() as log:
        told = None
        if before:
            run, told = before.work(console, log)
        summary, facts = _work(run, console, log)
    if before and summary.ended == Ended.COMPLETE:
        before.close()
    if plan.jobs or plan.refused:
        _close(summary, facts, console, reported=report is not None)
    else:
        _say_all(console, [] if plan.found.nothing else ["nothing to do: no photos fall to this shard"])
    if report:
        _write_report(plan, report, console)
    if as_json:
        known = {"calibration": told} if told else {}
        print_json({**summary.as_json(), **known, "search": search_document(plan.found)})
    _exit(summary, run)


def _refuse_with_calibrate(options: Mapping[str, Any]) -> None:
    from nsp_pipeline.cli.night.before import refuse  # which most runs do without

    refuse(options)


def _calibrations(
    inputs: Sequence[Path], output: Path, run: FolderRun, options: Mapping[str, Any], began: float
) -> "Before":
    from nsp_pipeline.cli.night.before import calibrations_before

    return calibrations_before(inputs, output, run, options, began)


def _work(run: FolderRun, console: Console, log: EventLog | None) -> tuple[Summary, Callable[[str], Facts | None]]:
    """Do it; the summary, and what photos' headers say by their names."""
    with terminal_reporter(console, verbose=is_verbose(), quiet=is_quiet()) as terminal:
        summary = run.work(Everybody(terminal, log) if log else terminal)
        if log:
            log.end(summary.as_json()["summary"])
        return summary, terminal.facts


def _close(summary: Summary, facts: Callable[[str], Facts | None], console: PatientConsole, *, reported: bool) -> None:
    """Say what was done, in a table too, and what to type next; with -q nothing."""
    aliases = read_aliases(aliases_file())

    def shot(name: str) -> str:
        found = facts(name)
        camera = (camera_name(found.camera, aliases) if found else None) or "unknown camera"
        return f"{camera}, ISO {found.camera.iso}" if found and found.camera.iso else camera

    _say_all(console, summary_lines(summary))
    table = closing_table(summary.results, shot)
    if table and not is_quiet():
        console.print(table)
    _say_all(console, next_lines(summary, reported=reported))


def _refuse_with_watch(given: Mapping[str, bool]) -> None:
    for name in (name for name, is_given in given.items() if is_given):
        instead = {
            "--json": "; --log-json writes a line for each photo",
            "--report": "; nsp report OUTPUT writes one at any time",
        }.get(name, "")
        raise UsageError(f"--watch does not go with {name}, which needs an end{instead}")


def _watch(again: Callable[[], FolderRun], console: Console, log_path: Path | None) -> None:
    """Follow the INPUT; ends with 0 when asked to, and with 5 when time is up and photos are left."""
    log_context = EventLog(log_path) if log_path else nullcontext()
    say(console, "watching for photos; Ctrl-C or SIGTERM ends it")
    with log_context as log, interruptible() as cancel:
        lines = OnlyFailures(console) if is_quiet() else Lines(console, verbose=True)
        watched = FolderWatch(again, Everybody(lines, log) if log else lines, cancel).follow()
        counts = ", ".join(f"{watched.counts[outcome]} {outcome}" for outcome in map(str, Outcome))
        say(console, f"stopped watching: {counts} in {duration(watched.seconds)}")
        if log:
            log.end(dict(watched.counts))
    if watched.left and not cancel.is_set():
        raise SystemExit(ExitCode.TIME_UP)


def _say_all(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        say(console, line)


def _exit(summary: Summary, run: FolderRun) -> None:
    if summary.fatal:
        raise summary.fatal
    if summary.ended == Ended.INTERRUPTED:
        raise SystemExit(ExitCode.INTERRUPTED)
    run.require_photos()
    if summary.ended == Ended.TIME_UP and summary.remaining:
        raise SystemExit(ExitCode.TIME_UP)
    if summary.of(Outcome.FAILED):
        raise SystemExit(ExitCode.SOME_FAILED)


def _folder_options(options: Mapping[str, Any]) -> FolderOptions:
    """The options of the command line by the names that a library's user has for them."""
    depth = options["bit_depth"]
    named: Any = {name: value for name, value in options.items() if name in FolderOptions.__annotations__}
    named |= {
        "format": options["kind"],
        "bit_depth": None if depth == "keep" else int(depth),
        "max_seconds": options["max_duration"],
    }
    return cast(FolderOptions, named)


def _log_path(path: Path | None, plan: Plan) -> Path | None:
    if path and path.exists() and any(job.input.exists() and path.samefile(job.input) for job in plan.jobs):
        raise UsageError(f"--log-json {printable(path)}: this is a photo of the INPUT")
    return path


def _report_path(path: Path | None, plan: Plan, *, dry_run: bool) -> Path | None:
    """The page to write, once it is sure that it can be; raises UsageError and OutputError."""
    if path is None:
        return None
    if dry_run:
        raise UsageError("--dry-run makes nothing that --report could show; leave one of them out")
    if path.exists() and any(job.input.exists() and path.samefile(job.input) for job in plan.jobs):
        raise UsageError(f"--report {printable(path)}: this is a photo of the INPUT")
    require_writable(path, "the report")
    return path


def _write_report(plan: Plan, page: Path, console: Console) -> None:
    from nsp_pipeline.cli.report import USUAL, report_on  # which most runs do without

    with read_manifest(plan.root) as manifest:
        if manifest:
            report_on(plan.root, manifest, page, USUAL, console)


def _ignored_lines(plan: Plan) -> list[str]:
    if not (ignored := plan.found.ignored):
        return []
    count = sum(ignored.values())
    files = "file that is no photo" if count == 1 else "files that are no photos"
    return [f"ignored {count} {files} ({', '.join(printable(suffix) for suffix in sorted(ignored))})"]
