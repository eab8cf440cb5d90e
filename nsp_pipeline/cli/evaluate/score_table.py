"""The scores of `nsp evaluate`, as a table for people and as a document for programs."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.evaluation.measure import Measured, Score, mean
from nsp_pipeline.evaluation.rivals.compare import Compared
from nsp_pipeline.file_names import printable


def score_table(measured: Sequence[Measured]) -> Table:
    """One line per photo, where a photo may be many blocks, and the mean over all pairs."""
    table = Table()
    table.add_column("pair")
    for title in ("noisy dB", "denoised dB", "gain", "noisy SSIM", "denoised SSIM", "s/MP"):
        table.add_column(title, justify="right")
    for group, rows in groupby(measured, key=lambda row: row.group):
        table.add_row(*_cells(group, list(rows)))
    table.add_section()
    table.add_row(*_cells("mean", measured))
    return table


def score_document(measured: Sequence[Measured], failed: Sequence[PhotoError]) -> dict[str, Any]:
    """Means, every pair, and what could not be read. JSON has no infinity: the PSNR of equal photos is null."""
    return {
        "noisy": _score(mean([row.noisy for row in measured])) if measured else None,
        "denoised": _score(mean([row.denoised for row in measured])) if measured else None,
        "pairs": [{**asdict(row), "noisy": _score(row.noisy), "denoised": _score(row.denoised)} for row in measured],
        "failed": [{"file": printable(error.path), "reason": error.reason} for error in failed],
    }


def comparison_table(compared: Sequence[Compared]) -> Table:
    """One line per denoiser, from the noisy photos down; the clean ones are only in the pictures."""
    table = Table()
    for title in ("denoiser", "setting"):
        table.add_column(title)
    for title in ("PSNR dB", "gain", "SSIM", "s/MP"):
        table.add_column(title, justify="right")
    noisy = compared[0].score.psnr
    for row in compared[:-1]:
        gain = "" if row is compared[0] else f"{row.score.psnr - noisy:+.2f}"
        pace = "" if row is compared[0] else f"{row.seconds_per_megapixel:.2f}"
        table.add_row(Text(row.name), row.setting, f"{row.score.psnr:.2f}", gain, f"{row.score.ssim:.4f}", pace)
    return table


def comparison_document(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "denoiser": row.name,
            "setting": row.setting,
            **_score(row.score),
            "seconds_per_megapixel": row.seconds_per_megapixel,
        }
        for row in compared[:-1]
    ]


def _score(score: Score) -> dict[str, float | None]:
    return {"psnr": score.psnr if math.isfinite(score.psnr) else None, "ssim": score.ssim}


def _cells(name: str, rows: Sequence[Measured]) -> tuple[str, ...]:
    before, after = mean([row.noisy for row in rows]), mean([row.denoised for row in rows])
    gain = after.psnr - before.psnr
    return (
        name,
        f"{before.psnr:.2f}",
        f"{after.psnr:.2f}",
        "" if math.isnan(gain) else f"{gain:+.2f}",
        f"{before.ssim:.4f}",
        f"{after.ssim:.4f}",
        f"{sum(row.seconds_per_megapixel for row in rows) / len(rows):.2f}",
    )
