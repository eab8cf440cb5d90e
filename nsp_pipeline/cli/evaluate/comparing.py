"""`nsp evaluate --against`: other denoisers on the same pairs, as a table and as crops at 100 %."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from nsp_pipeline.atomic_file import appearing
from nsp_pipeline.cli.evaluate.pairs import Truth
from nsp_pipeline.cli.evaluate.profile import Asked, opened
from nsp_pipeline.cli.evaluate.score_table import comparison_document, comparison_table
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json, print_rich
from nsp_pipeline.core.blend import SMOOTH
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import ExitCode
from nsp_pipeline.evaluation.metrics import require_ssim, to_eight_bit
from nsp_pipeline.evaluation.rivals.candidates import RIVALS, Denoiser, Rival, Variant, available_rivals, find_rival
from nsp_pipeline.evaluation.rivals.compare import compare, contact_sheet
from nsp_pipeline.profiles.choose import find_profile

ALL, PAPER = "all", "paper"

NEXT_SCALE = "dbsn"
"""The profile that stands for the paper's method where the one that is measured is a student."""


def compare_with(asked: Asked, truth: Truth, against: Sequence[str], sheet: Path | None, as_json: bool) -> None:
    """Measure a profile beside others and print the table; raises as `compare` does, and OutputError for the sheet."""
    require_ssim()
    console = Console(stderr=True)
    rivals, missing = _rivals(against)
    for reason in missing:
        say(console, f"left out: {reason}", style="yellow")
    pairs = truth.open(console)
    for error in truth.unreadable:
        say(console, f"left out: {error}", style="yellow")
    with ExitStack() as engines, Progress(console=console, transient=True) as progress:
        contenders = list(rivals)
        if PAPER in against or ALL in against:
            paper = _as_in_the_paper(asked)
            engine = engines.enter_context(opened(paper.open_as_in_the_paper))
            contenders.append(_contender(paper, engine, f"{PAPER} ({paper.profile})"))
        profiles = [asked, *(replace(asked, profile=name) for name in against if name not in (*RIVALS, ALL, PAPER))]
        contenders += [
            _contender(profile, engines.enter_context(opened(profile.open)), profile.profile) for profile in profiles
        ]
        bar = progress.add_task(f"comparing on {len(pairs)} pairs", total=None)
        compared = compare(pairs, contenders, lambda done, total: progress.update(bar, completed=done, total=total))
    if sheet:
        with appearing(sheet) as partial:
            contact_sheet(compared).save(partial, "PNG")
        say(console, f"crops at 100 %: {sheet}")
    if as_json:
        print_json(comparison_document(compared))
    else:
        print_rich(comparison_table(compared))
    if truth.unreadable:
        raise SystemExit(ExitCode.SOME_FAILED)


def _rivals(names: Sequence[str]) -> tuple[list[Rival], list[str]]:
    """Those that were named; of `all`, those that are installed, and why the others are not there."""
    if ALL in names:
        return available_rivals()
    return [find_rival(name) for name in names if name in RIVALS], []


def _as_in_the_paper(asked: Asked) -> Asked:
    """The paper's way to denoise: all of what a next-scale network makes of the sub-images, and nothing else."""
    student = find_profile(asked.profile).spec.pairs is None
    network = NEXT_SCALE if student else asked.profile
    return replace(asked, profile=network, inference=InferenceSettings(strength=1.0, tile=asked.inference.tile))


def _contender(asked: Asked, engine: Engine, name: str) -> Rival:
    given = (
        ("strength", asked.inference.strength),
        ("chroma", asked.inference.chroma),
        ("detail", asked.inference.detail),
    )
    setting = ", ".join(
        [f"{name} {value:g}" for name, value in given if value]
        + [asked.inference.look] * (asked.inference.look != SMOOTH)
    )

    def run_knowing(known: NoisePrior | None) -> Denoiser:
        return lambda pixels: to_eight_bit(denoise_pixels(pixels, engine, asked.inference, known).pixels)

    return Rival(name, (Variant(setting, run_knowing(None), lambda pair: run_knowing(asked.known(pair))),))
