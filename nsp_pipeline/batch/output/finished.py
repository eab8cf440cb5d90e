"""The finished photos of a folder by its record, those of a run that was killed while it gave a name among them."""

from pathlib import Path

from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.output.up_to_date import our_output
from nsp_pipeline.file_names import from_printable


def finished_photos(root: Path, manifest: Manifest) -> list[Row]:
    """Records of all outputs that were made, by their names; also of those whose photo failed since."""
    named = [row for row in manifest.unpublished() if our_output(root / from_printable(row.output), row)]
    by_output = {row.output: row for row in (*manifest.published_photos(), *named)}
    return [row for _, row in sorted(by_output.items()) if row.status is Status.DONE]
