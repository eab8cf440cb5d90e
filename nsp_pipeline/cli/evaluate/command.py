"""`nsp evaluate`: a profile against ground truth, or what a benchmark's server wants to be sent."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from nsp_pipeline.cli.evaluate.comparing import compare_with
from nsp_pipeline.cli.evaluate.pairs import Truth
from nsp_pipeline.cli.evaluate.profile import Asked, opened
from nsp_pipeline.cli.evaluate.score_table import score_document, score_table
from nsp_pipeline.cli.shared.engine_options import engine_options
from nsp_pipeline.cli.shared.finding import PHOTOS, find_options
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import OrWord
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json, print_rich
from nsp_pipeline.cli.shared.strength_options import inference_settings, strength_options
from nsp_pipeline.core.modes import MODES
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import ExitCode, PhotoError, UsageError
from nsp_pipeline.evaluation.datasets.sources import open_submission
from nsp_pipeline.evaluation.datasets.submission import Written, require_new
from nsp_pipeline.evaluation.measure import Measured, NoisyAndClean, measure_pairs
from nsp_pipeline.evaluation.metrics import require_ssim
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find_rules import FindRules


@click.command(
    name="evaluate",
    cls=HelpfulCommand,
    examples=(
        "nsp evaluate PROFILE --noisy photos --clean truth",
        "nsp evaluate PROFILE --noisy photos --clean truth --against all",
        "nsp evaluate PROFILE --noisy NoisyBlocksSrgb.mat --clean GtBlocksSrgb.mat",
        "nsp evaluate PROFILE --noisy BenchmarkNoisyBlocksSrgb.mat --submission s.csv",
        "nsp evaluate PROFILE --noisy dnd_2017 --submission dnd-submission",
    ),
)
@click.argument("profile")
@recipe_option
@click.option(
    "--noisy",
    required=True,
    type=PHOTOS,
    metavar="DIR|FILE",
    help="The noisy photos: a folder, a SIDD .mat file, DND's folder, or one photo.",
)
@click.option(
    "--clean",
    type=PHOTOS,
    metavar="DIR|FILE",
    help="The clean ones to compare with: a folder, a SIDD .mat file, or one photo.",
)
@click.option(
    "--submission",
    type=click.Path(path_type=Path, resolve_path=True),
    metavar="NEW",
    help="Write a submission to a benchmark instead: a .csv file for SIDD, a folder for DND.",
)
@click.option(
    "--mode", type=click.Choice(MODES), default="denoise", show_default=True, help="sr, sr-direct: double the size too."
)
@strength_options
@engine_options
@click.option(
    "--tile",
    type=OrWord("auto", click.IntRange(min=32)),
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Side of a tile in pixels. Smaller tiles need less memory and more time.",
)
@find_options
@click.option(
    "--against",
    multiple=True,
    metavar="all|paper|nlm|bm3d|rawtherapee|darktable|PROFILE",
    help="Compare with another denoiser (at its best strength), NSP as in the paper, or another profile. "
    "May be repeated.",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Write a picture with crops of all of them side by side at 100 %; needs --against.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(
    noisy: Path,
    clean: Path | None,
    submission: Path | None,
    against: tuple[str, ...],
    sheet: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score PROFILE on pairs of noisy and clean photos: PSNR and SSIM of 8-bit photos (Gaussian window, sigma 1.5).

    Pairs in folders (PolyU, CC, SIDD Medium, your own) are found by name: x_Real.JPG and x_mean.JPG, x_noisy.png and
    x_gt.png, or the same name in both folders. SIDD's .mat files hold blocks; of its benchmark, and of DND's folder
    with info.mat and images_srgb, --submission writes what is to be sent in. --against compares with other denoisers,
    each at its best strength, and --sheet shows them side by side.

    --exclude leaves out noisy and clean photos, --include chooses among the noisy ones.

    In the sr modes the clean photo must be as many times larger as the mode enlarges, and the noisy photo's own score
    is that of its bicubic enlargement.

    Exit codes: 0 all done; 1 some photos or folders could not be read, and the means are of the others; 2 wrong usage,
    or files that do not fit; 3 this machine cannot do it; 4 the submission cannot be written; 130 interrupted.
    """
    inference = inference_settings(options)
    asked = Asked(options["profile"], options["engine"], options["device"], options["precision"], inference)
    if sheet and not against:
        raise UsageError("--sheet shows denoisers side by side: name some with --against")
    if submission is None:
        if clean is None:
            raise UsageError("give --clean to measure against ground truth, or --submission for a benchmark without it")
        truth = Truth(noisy, clean, FindRules(include=options["include"], exclude=options["exclude"]))
        if against:
            if inference.mode != "denoise":
                raise UsageError(f"--against compares photos at their own size; --mode {inference.mode} enlarges")
            compare_with(asked, truth, against, sheet, as_json)
            return
        _measure(asked, truth, as_json)
        return
    if against:
        raise UsageError("--against needs ground truth, and --submission is for benchmarks without it")
    if clean is not None:
        raise UsageError("--submission is for benchmarks without ground truth; leave out --clean, or measure first")
    if inference.mode != "denoise":
        raise UsageError(f"--submission is of photos at their own size; --mode {inference.mode} enlarges")
    _submit(asked, noisy, submission, as_json)


def _measure(asked: Asked, truth: Truth, as_json: bool) -> None:
    require_ssim()
    console = Console(stderr=True)
    pairs = truth.open(console)
    failed = truth.unreadable
    with opened(asked.open) as engine:
        measured = _measured(console, pairs, engine, asked, failed)
        for error in failed:
            say(console, f"left out: {error}", style="yellow")
        document = score_document(measured, failed)
        if as_json:
            print_json({**_about(asked, engine), **document})
    if not as_json and measured:
        print_rich(score_table(measured))
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _measured(
    console: Console,
    pairs: Sequence[NoisyAndClean],
    engine: Engine,
    asked: Asked,
    failed: list[PhotoError],
) -> list[Measured]:
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"measuring {len(pairs)} pairs", total=len(pairs))
        return list(
            measure_pairs(
                pairs,
                engine,
                asked.inference,
                on_pair=lambda done, total: progress.update(bar, completed=done),
                on_failure=failed.append,
                known=asked.known,
            )
        )


def _submit(asked: Asked, noisy: Path, target: Path, as_json: bool) -> None:
    if not target.is_dir():
        require_new(target)
    write = open_submission(noisy, target)
    console = Console(stderr=True)
    with opened(asked.open) as engine, Progress(console=console, transient=True) as progress:
        bar = progress.add_task("denoising", total=None)
        written = write(
            lambda pixels: denoise_pixels(pixels, engine, asked.inference).pixels,
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
        about = _about(asked, engine)
    if as_json:
        print_json({**about, **asdict(written), "path": printable(written.path)})
    else:
        say(console, _submitted(written))


def _about(asked: Asked, engine: Engine) -> dict[str, Any]:
    info = engine.info
    return {
        "profile": asked.profile,
        "mode": info.mode,
        "strength": asked.inference.strength,
        "chroma": asked.inference.chroma,
        "detail": asked.inference.detail,
        "look": asked.inference.look,
        "engine": {key: getattr(info, key) for key in ("name", "provider", "precision", "fallback")},
    }


def _submitted(written: Written) -> str:
    return f"{printable(written.path)}: {written.crops} crops of {written.images} images, ready to be submitted"
