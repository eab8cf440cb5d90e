"""`nsp status`: how far a denoised folder is, from its manifest alone."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from nsp_pipeline.batch.output.lock import is_running
from nsp_pipeline.batch.output.manifest import Manifest, Status, read_manifest
from nsp_pipeline.cli.shared.standard_output import print_json, print_line
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable


@click.command(name="status")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(output: Path, as_json: bool) -> None:
    """Say what is done in OUTPUT, what failed and why, and how the last run ended. Changes nothing."""
    folder = output.parent if output.is_file() else output
    with read_manifest(folder) as manifest:
        if manifest is None:
            raise UsageError(f"{printable(output)}: nsp has no record there; name the OUTPUT of an earlier run")
        report = _report(manifest, folder)
    if as_json:
        print_json(report)
    else:
        for line in _lines(report):
            print_line(line)


def _report(manifest: Manifest, folder: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    failed = []
    for row in manifest.rows():
        counts[row.status] += 1
        if row.status == Status.FAILED:
            failed.append({"input": row.input, "output": row.output, "error": row.error})
    last = manifest.last_run()
    return {
        "output": printable(folder),
        "running": is_running(folder),
        **{str(status): counts[status] for status in Status},
        "failures": failed,
        "last_run": last,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    left_out = f", {report['left-out']} left out for want of a profile" if report["left-out"] else ""
    lines = [f"{report['output']}: {report['done']} done, {report['failed']} failed{left_out}"]
    lines += [f"  failed: {failure['input']}: {failure['error']}" for failure in report["failures"]]
    if report["running"]:
        lines.append("a run is at work there now")
    elif last := report["last_run"]:
        if last["ended"] is None:
            lines.append(f"the last run began {_when(last['started'])} and was killed; the same command continues it")
        else:
            remaining = f", {last['remaining']} left" if last["remaining"] else ""
            lines.append(f"the last run ended {_when(last['ended'])}: {last['outcome']}{remaining}")
    return lines


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
