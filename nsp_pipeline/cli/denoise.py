"""`nsp denoise`: noisy photos in, clean photos out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from nsp_pipeline.batch.listeners.json_log import EventLog
from nsp_pipeline.batch.listeners.listener import Everybody
from nsp_pipeline.batch.listeners.terminal import PatientConsole, summary_lines, terminal_reporter
from nsp_pipeline.batch.outcome import Ended, Outcome, Summary
from nsp_pipeline.batch.output.publish import Encoding
from nsp_pipeline.batch.plan import Plan, PlanRules, Shard, make_plan, printable
from nsp_pipeline.batch.run import Foreseen, foresee, run_batch
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.cli.shared.engine_options import engine_options
from nsp_pipeline.cli.shared.quantities import DurationType, OrWord, ShardType, SizeType
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.standard_output import print_json, print_line
from nsp_pipeline.cli.shared.strength_options import inference_settings, strength_options
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.frames.write import OutputKind

MODES = ("denoise", "sr", "sr-direct")


@click.command(name="denoise")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.argument("output", type=click.Path(path_type=Path))
@recipe_option
@click.option(
    "--profile", default="auto", show_default=True, metavar="auto|NAME|PATH", help="auto: by camera and ISO, per photo."
)
@click.option(
    "--on-missing-profile",
    type=click.Choice(["nearest", "builtin", "skip", "error"]),
    default="nearest",
    show_default=True,
    help="What to do where no profile was made for a photo's camera and ISO.",
)
@click.option("--mode", type=click.Choice(MODES), default="denoise", show_default=True, help="sr: enlarge as well.")
@strength_options
@engine_options
@click.option("--require-gpu", is_flag=True, help="Fail rather than compute on the CPU.")
@click.option(
    "--tile",
    type=OrWord("auto", click.IntRange(min=32)),
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Side of a tile in pixels; smaller takes less memory and more time.",
)
@click.option(
    "--memory",
    type=SizeType(),
    default="768MiB",
    show_default=True,
    metavar="SIZE",
    help="Most memory for photos being read, made and written, besides the engine's own.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads that read photos.")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Enter folders in folders.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match. May be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files or folders that match. May be repeated.")
@click.option(
    "--format",
    "kind",
    type=click.Choice([str(kind) for kind in OutputKind]),
    default="keep",
    show_default=True,
    help="Kind of file to write; RAW is kept as TIFF.",
)
@click.option("--bit-depth", type=click.Choice(["keep", "8", "16", "32"]), default="keep", show_default=True)
@click.option(
    "--quality", type=click.IntRange(1, 100), help="Of JPEG; without it a photo's own quality is kept (95 for others)."
)
@click.option("--suffix", default="", metavar="TEXT", help="Added to output names: photo.jpg becomes photoTEXT.jpg.")
@click.option("--overwrite", is_flag=True, help="Replace files in OUTPUT that nsp did not write.")
@click.option("--retry-failed", is_flag=True, help="Try photos again that failed before.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--log-json", type=click.Path(path_type=Path), metavar="FILE", help="Append one JSON line per event.")
@click.option("--max-duration", type=DurationType(), metavar="TIME", help="Start no more photos after 8h, 90m, 30s.")
@click.option("--shard", type=ShardType(), metavar="I/N", help="Do only part I of N; run the others elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(inputs: tuple[Path, ...], output: Path, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Clean photos: INPUT are files or folders, OUTPUT is a folder (a file when INPUT is one file).

    The tree below a folder is kept, and originals are never written to. What an earlier run has finished is skipped,
    so the same command continues where it stopped. A photo that was made with another profile or other settings is
    made anew, and replaced.

    Exit codes: 0 all done; 1 some photos failed; 2 wrong usage; 3 this machine cannot do it; 4 OUTPUT cannot be
    written; 130 interrupted.
    """
    _refuse_contradictions(options)
    rules, settings = _rules(options), _settings(options)
    plan = make_plan(inputs, output, rules)
    console = PatientConsole(stderr=True)
    _mention_ignored(console, plan)
    if not plan.jobs and not plan.refused:
        where = ", ".join(printable(path) for path in inputs)
        console.print(f"nothing to do: no photos in {where}", highlight=False, markup=False, soft_wrap=True)
        if as_json:
            print_json(Summary(plan.root, (), 0, 0.0, Ended.COMPLETE).as_json())
        return
    if dry_run:
        _tell_ahead(foresee(plan, settings), as_json)
        return
    summary = _run(plan, settings, console, _log_path(options["log_json"], plan))
    for line in summary_lines(summary):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(summary.as_json())
    _exit(summary)


def _run(plan: Plan, settings: RunSettings, console: Console, log_path: Path | None) -> Summary:
    log_context = EventLog(log_path) if log_path else nullcontext()
    with log_context as log, terminal_reporter(console) as terminal:
        summary = run_batch(plan, settings, Everybody(terminal, log) if log else terminal)
        if log:
            log.end(summary.as_json()["summary"])
        return summary


def _exit(summary: Summary) -> None:
    if summary.fatal:
        raise summary.fatal
    if summary.ended == Ended.INTERRUPTED:
        raise SystemExit(ExitCode.INTERRUPTED)
    if summary.of(Outcome.FAILED):
        raise SystemExit(ExitCode.SOME_FAILED)


def _refuse_contradictions(options: dict[str, Any]) -> None:
    """Refuse options that would silently do nothing."""
    kind, depth = options["kind"], options["bit_depth"]
    if kind == "jpeg" and depth in ("16", "32"):
        raise UsageError(f"--format jpeg stores 8 bits; --bit-depth {depth} needs --format png or tiff")
    if kind == "png" and depth == "32":
        raise UsageError("--format png stores 8 or 16 bits; --bit-depth 32 needs --format tiff")
    if kind in ("png", "tiff") and options["quality"] is not None:
        raise UsageError(f"--quality is of JPEG; --format {kind} loses nothing")
    if any(character in options["suffix"] for character in "/\\\0"):
        raise UsageError(f"--suffix '{options['suffix']}' must not contain slashes")


def _rules(options: dict[str, Any]) -> PlanRules:
    shard: Shard | None = options["shard"]
    return PlanRules(
        recursive=options["recursive"],
        include=options["include"],
        exclude=options["exclude"],
        kind=OutputKind(options["kind"]),
        suffix=options["suffix"],
        shard=shard,
    )


def _settings(options: dict[str, Any]) -> RunSettings:
    depth = options["bit_depth"]
    return RunSettings(
        inference=inference_settings(options),
        encoding=Encoding(None if depth == "keep" else int(depth), options["quality"]),
        profile=options["profile"],
        on_missing=options["on_missing_profile"],
        engine=options["engine"],
        device=options["device"],
        precision=options["precision"],
        require_gpu=options["require_gpu"],
        memory=options["memory"],
        workers=options["workers"],
        overwrite=options["overwrite"],
        retry_failed=options["retry_failed"],
        max_seconds=options["max_duration"],
        shard=options["shard"],
    )


def _log_path(path: Path | None, plan: Plan) -> Path | None:
    if path and path.exists() and any(job.input.exists() and path.samefile(job.input) for job in plan.jobs):
        raise UsageError(f"--log-json {printable(path)}: this is a photo of the INPUT")
    return path


def _mention_ignored(console: Console, plan: Plan) -> None:
    if plan.ignored:
        count = sum(plan.ignored.values())
        files = "file that is no photo" if count == 1 else "files that are no photos"
        suffixes = ", ".join(sorted(plan.ignored))
        console.print(f"ignored {count} {files} ({suffixes})", highlight=False, markup=False, soft_wrap=True)


def _tell_ahead(foreseen: list[Foreseen], as_json: bool) -> None:
    if as_json:
        print_json([vars(entry) for entry in foreseen])
        return
    for entry in foreseen:
        made_by = f" with profile {entry.profile} ({entry.why})" if entry.profile and entry.action == "make" else ""
        target = f" -> {entry.output}" if entry.output and entry.action == "make" else ""
        print_line(f"{entry.action} {entry.input}{target}{made_by}: {entry.reason}")
