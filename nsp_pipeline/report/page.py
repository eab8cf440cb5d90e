"""Reports for a browser."""

from pathlib import Path

from nsp_pipeline.errors import OutputError


def write_page(path: Path, text: str) -> None:
    """Write an HTML page; raises OutputError where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
