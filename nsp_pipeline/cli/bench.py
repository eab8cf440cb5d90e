"""`nsp bench`: how fast this machine denoises, with each engine, precision and profile."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nsp_pipeline import __version__
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import DeviceType, HeightWidthType
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.standard_output import print_json, print_rich
from nsp_pipeline.engines.candidates import ENGINES, PRECISIONS
from nsp_pipeline.engines.measured.fastest import what_is_known
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.machine.cpus import cpu_name, default_threads, usable_cpus
from nsp_pipeline.profiles.choose import find_profile, shipped_profiles
from nsp_pipeline.speed.bench import AUTHORS, REAL_PHOTO, Bench, Configuration, Plan, Timed, run_bench
from nsp_pipeline.speed.memory import gpu_name
from nsp_pipeline.speed.stages import STAGES

SMALLEST_SIDE, LARGEST_SIDE = 64, 1 << 15

SIZE, SIZE_ON_A_GPU = (1024, 1536), (4000, 6000)
"""Of the photo: a GPU has a small one in a single tile, and shows nothing of tiles that overlap in time."""

EXPLAINED = (
    f"{REAL_PHOTO:.0f} MP: a photo of that size at this rate; start: to open the engine; MiB: peak of the process; "
    "of peak: the network's multiply-adds over the matrix rate in the same precision; "
    "eager: over PyTorch as the paper's authors run it"
)

STAGES_EXPLAINED = (
    "decode, encode: a JPEG in one thread, of which a run has several; compute: the network, all it computes twice "
    "included; copy: to the GPU and back; blend: tiles filled, blended and stored; in a run they overlap, and the "
    "slowest bounds it"
)


@click.command(
    name="bench",
    cls=HelpfulCommand,
    examples=(
        "nsp bench",
        "nsp bench --profile d800.nsp --engine onnx --size 4000x6000 --json",
    ),
)
@recipe_option
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME|PATH",
    help="Profile to measure. May be repeated.  [default: all that ship]",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(ENGINES),
    help="Engine to measure. May be repeated.  [default: all that run here]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Number format to compute in. May be repeated.  [default: all that run here]",
)
@click.option("--device", type=DeviceType(), default="auto", show_default=True, metavar="auto|cpu|cuda[:N]")
@click.option(
    "--size",
    type=HeightWidthType(SMALLEST_SIDE, LARGEST_SIDE),
    metavar="HxW",
    help="Height and width of the photo.  [default: 1024x1536; 4000x6000 with --device cuda]",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Rounds; each measures everything once, and medians over the rounds are told.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads to compute with; without it, as many as nsp may keep busy.",
)
@click.option(
    "--against-eager/--no-against-eager",
    default=None,
    help="Also measure PyTorch as the paper's authors run it.  [default: if PyTorch is installed]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(
    profiles: tuple[str, ...],
    engines: tuple[str, ...],
    precisions: tuple[str, ...],
    device: str,
    size: tuple[int, int] | None,
    repeats: int,
    threads: int | None,
    against_eager: bool | None,
    as_json: bool,
) -> None:
    """Measure how fast this machine denoises, with every engine, precision and profile that opens here.

    A photo made by nsp itself goes the whole way in memory: its noise is measured, its tiles go through the engine, and
    the result is blended and stored. Each configuration runs in a process of its own, and its memory is told with it.
    A second table says how fast each stage is by itself, decoding, copies to a GPU and encoding included, and which
    one bounds a run.

    Exit codes: 0 something was measured; 2 wrong usage; 3 nothing runs here; 130 interrupted.
    """
    names = profiles or tuple(shipped_profiles())
    for name in names:
        find_profile(name)
    eager = against_eager if against_eager is not None else importlib.util.find_spec("torch") is not None
    # Side by side: the authors' way next to the engines of the same profile.
    configurations = [
        configuration
        for name in names
        for configuration in (
            *([Configuration(name, AUTHORS, "fp32")] if eager else []),
            *(Configuration(name, *pair) for pair in product(engines or ENGINES, precisions or PRECISIONS)),
        )
    ]
    plan = Plan(
        configurations,
        *(size or (SIZE_ON_A_GPU if device.startswith("cuda") else SIZE)),
        rounds=repeats,
        device=device,
        threads=threads or default_threads(),
    )
    console = Console(stderr=True)
    with _progress(console) as progress:
        bar = progress.add_task("")
        bench = run_bench(
            plan,
            lambda what, done, total: progress.update(bar, description=what, completed=done, total=total),
        )
    if as_json:
        print_json(_document(bench, plan))
    else:
        _show(bench, plan)
    if not any(row.configuration.engine != AUTHORS for row in bench.timed):
        raise MissingCapabilityError("no engine runs here; `nsp doctor` says what is missing")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True)


def _show(bench: Bench, plan: Plan) -> None:
    cores = f"{os.cpu_count()} cores, {plan.threads or usable_cpus()} threads"
    machine = "; ".join([cpu_name(), cores, *([name] if (name := gpu_name()) else [])])
    print_rich(f"{machine}; photo of {plan.megapixels:.1f} MP, {plan.rounds} rounds", _table(bench.timed))
    providers = {row.engine: row.provider for row in bench.timed}
    runs_on = ", ".join(f"{engine}: {provider}" for engine, provider in providers.items())
    rates = ", ".join(f"{key} {rate / 1e9:.0f} GFLOP/s" for key, rate in bench.rates.items())
    print_rich(
        f"computed by {runs_on or 'nothing'}", f"matrix rate: {rates or 'not measured'}", Text(EXPLAINED, style="dim")
    )
    for line in dict.fromkeys(_share(row) for row in bench.timed if row.engine_share is not None):
        print_rich(Text(line))
    staged = [row for row in bench.timed if row.stages]
    if staged:
        print_rich("megapixels a second of each stage by itself", _stages(staged), Text(STAGES_EXPLAINED, style="dim"))
    for name, known in _auto(plan).items():
        print_rich(Text(f"--engine auto, {name}: {known}"))
    notes = [(row.configuration, row.note) for row in bench.timed if row.note]
    for configuration, reason in notes + [(row.configuration, row.reason) for row in bench.refused]:
        name = f"{configuration.profile}, {configuration.engine}, {configuration.precision}"
        print_rich(Text(f"{name}: {reason}", style="yellow"))


def _table(rows: Sequence[Timed]) -> Table:
    on_gpu = any(row.gpu for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("profile", "engine", "precision"):
        table.add_column(title, overflow="fold")
    memory = ("MiB", "GPU MiB") if on_gpu else ("MiB",)
    for title in ("MP/s", f"{REAL_PHOTO:.0f} MP", "start", *memory, "of peak", "eager"):
        table.add_column(title, justify="right")
    for row in rows:
        bytes_used = (row.peak_bytes, row.gpu_bytes) if on_gpu else (row.peak_bytes,)
        table.add_row(
            Text(row.configuration.profile),
            _instead(row.configuration.engine, row.engine),
            _instead(row.configuration.precision, row.precision),
            f"{row.megapixels_per_second:.3g}",
            f"{row.real_photo_seconds:.3g} s",
            f"{row.start_seconds:.2f} s",
            *("" if size is None else f"{size / 2**20:.0f}" for size in bytes_used),
            "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
            "" if row.times_authors is None else f"{row.times_authors:.2f}×",
        )
    return table


def _document(bench: Bench, plan: Plan) -> dict[str, Any]:
    return {
        "nsp": __version__,
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": gpu_name()},
        "photo": {"height": plan.height, "width": plan.width, "megapixels": plan.megapixels},
        "rounds": plan.rounds,
        "device": plan.device,
        "threads": plan.threads,
        "measured": [_measured(row) for row in bench.timed],
        "auto": _auto(plan),
        "refused": [{**asdict(row.configuration), "reason": row.reason} for row in bench.refused],
        "matrix_flops": bench.rates,
        "macs_per_pixel": bench.macs_per_pixel,
    }


def _stages(rows: Sequence[Timed]) -> Table:
    """A row for each engine, a column for each stage that any of them has."""
    there = [stage for stage in STAGES if any(stage in row.stages for row in rows)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("profile", "engine"):
        table.add_column(title, overflow="fold")
    for title in there:
        table.add_column(title, justify="right")
    table.add_column("bound by")
    for row in rows:
        rates = (f"{row.stages[stage]:.3g}" if stage in row.stages else "" for stage in there)
        table.add_row(Text(row.configuration.profile), f"{row.engine} {row.precision}", *rates, row.bound_by)
    return table


def _share(row: Timed) -> str:
    """Where the time of an engine's row goes."""
    name = f"{row.configuration.profile}, {row.engine} {row.precision}"
    twice = f"; of {REAL_PHOTO:.0f} MP, tiles compute {row.seen_twice:.0%} twice" if row.seen_twice is not None else ""
    return f"{name}: {row.engine_share:.0%} of the time in the engine{twice}"


def _auto(plan: Plan) -> dict[str, str]:
    """What "auto" goes by for each profile."""
    names = dict.fromkeys(configuration.profile for configuration in plan.configurations)
    return {name: what_is_known(find_profile(name), "denoise", plan.threads) for name in names}


def _measured(row: Timed) -> dict[str, Any]:
    fields = asdict(row)
    asked = fields.pop("configuration")
    return {
        "profile": asked["profile"],
        "asked_engine": asked["engine"],
        "asked_precision": asked["precision"],
        **fields,
    }


def _instead(asked: str, ran: str) -> str:
    return ran if ran == asked else f"{asked} → {ran}"
