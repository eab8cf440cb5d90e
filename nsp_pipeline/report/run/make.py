"""The report of an OUTPUT, from its manifest, its photos and their originals as they are now."""

from collections.abc import Callable
from pathlib import Path

from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.file_names import printable
from nsp_pipeline.report.page import write_page
from nsp_pipeline.report.run.entries import common_folder, read_entries
from nsp_pipeline.report.run.page import RunReport, run_page
from nsp_pipeline.report.run.pictures import PictureLimits, make_pictures

Progress = Callable[[str, int, int], None]
"""Takes what is being done, how many are done and how many there are."""


def write_report(root: Path, manifest: Manifest, page: Path, limits: PictureLimits, on_progress: Progress) -> int:
    """Write the page; returns how many photos have pictures in it.

    Raises OutputError where the record cannot be read, or the page not be written.
    """
    entries = read_entries(root, manifest, lambda done, total: on_progress("reading metadata", done, total))
    pictures = make_pictures(
        root,
        entries,
        manifest.settings_in_words(),
        limits,
        lambda done, total: on_progress("making pictures", done, total),
    )
    report = RunReport(printable(root), common_folder(entries), entries, pictures, manifest.last_runs())
    write_page(page, run_page(report))
    return len(pictures)
