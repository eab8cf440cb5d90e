"""Reports for a browser."""

from pathlib import Path

from nsp_pipeline.atomic_file import write_atomically


def write_page(path: Path, text: str) -> None:
    """Write an HTML page, whole or not at all; raises OutputError where that cannot be done."""
    write_atomically(path, [text.encode("utf-8", "backslashreplace")])
