"""Reports for a browser."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from nsp_pipeline.atomic_file import write_atomically
from nsp_pipeline.report.assets import asset

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A page holds all that it shows; whatever a photo's name or metadata might smuggle in, it loads nothing."""


def write_page(path: Path, text: str) -> None:
    """Write an HTML page, whole or not at all; raises OutputError where that cannot be done."""
    write_atomically(path, [text.encode("utf-8", "backslashreplace")])


def whole_page(title: str, body: str, *, styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """A self-contained page, light and dark, which loads nothing.

    Args:
        title: not yet escaped.
        body: HTML.
        styles, scripts: names of assets besides those that every page has.
    """
    sheets = "".join(asset(name) for name in ("look.css", *styles))
    code = "".join(f"<script>{asset(name)}</script>\n" for name in ("before-after.js", *scripts))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title><style>{sheets}</style></head><body>
{body}
{code}</body></html>
"""
