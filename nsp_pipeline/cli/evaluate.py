"""`nsp evaluate`: a profile against ground truth."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from nsp_pipeline.batch.infer import InferenceSettings
from nsp_pipeline.engines.choose import ENGINES, open_engine
from nsp_pipeline.evaluation.measure import Measured, mean, measure_pairs
from nsp_pipeline.evaluation.pairs import find_pairs
from nsp_pipeline.profiles.choose import find_profile

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="evaluate")
@click.argument("profile")
@click.option("--noisy", required=True, type=FOLDER, help="Folder of noisy photos.")
@click.option("--clean", required=True, type=FOLDER, help="Folder of their ground truth.")
@click.option(
    "--strength", type=click.FloatRange(0, 1), help="Share of the noise removed; default: by the noise measured."
)
@click.option(
    "--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True, help="What computes."
)
@click.option("--tile", type=click.IntRange(min=32), help="Side of a tile in pixels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(
    profile: str, noisy: Path, clean: Path, strength: float | None, engine: str, tile: int | None, as_json: bool
) -> None:
    """Measure PROFILE on pairs of noisy and clean photos: PSNR and SSIM of 8-bit photos (Gaussian window, sigma 1.5).

    Photos pair by name: `x_Real.JPG` with `x_mean.JPG`, `x_noisy.png` with `x_gt.png`, or the same name in both.
    """
    pairs = find_pairs(noisy, clean)
    opened = open_engine(find_profile(profile), mode="denoise", engine=engine)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"measuring {len(pairs)} pairs", total=len(pairs))
        measured = list(
            measure_pairs(
                pairs,
                opened,
                InferenceSettings(strength=strength, tile=tile),
                on_pair=lambda done, total: progress.update(bar, completed=done),
            )
        )
    opened.close()
    if as_json:
        click.echo(json.dumps(_document(profile, measured), indent=2))
    else:
        Console().print(_table(measured))


def _document(profile: str, measured: list[Measured]) -> dict[str, object]:
    return {
        "profile": profile,
        "noisy": asdict(mean([row.noisy for row in measured])),
        "denoised": asdict(mean([row.denoised for row in measured])),
        "pairs": [asdict(row) for row in measured],
    }


def _table(measured: list[Measured]) -> Table:
    table = Table("pair", "noisy dB", "denoised dB", "gain", "noisy SSIM", "denoised SSIM", "s/MP")
    for row in measured:
        table.add_row(
            row.name,
            f"{row.noisy.psnr:.2f}",
            f"{row.denoised.psnr:.2f}",
            f"{row.denoised.psnr - row.noisy.psnr:+.2f}",
            f"{row.noisy.ssim:.4f}",
            f"{row.denoised.ssim:.4f}",
            f"{row.seconds_per_megapixel:.2f}",
        )
    before, after = mean([row.noisy for row in measured]), mean([row.denoised for row in measured])
    table.add_section()
    table.add_row(
        "mean",
        f"{before.psnr:.2f}",
        f"{after.psnr:.2f}",
        f"{after.psnr - before.psnr:+.2f}",
        f"{before.ssim:.4f}",
        f"{after.ssim:.4f}",
        f"{sum(row.seconds_per_megapixel for row in measured) / len(measured):.2f}",
    )
    return table
