"""What the commands that take folders have in common: --include and --exclude, and what is said of the search."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import Findings

PHOTOS = click.Path(path_type=Path, readable=False)
"""Type of a file or folder to look for photos in; what is wrong with it, the search says."""

NAMED = 5
"""Links that are named; of more, the number must do."""


def find_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command `include` and `exclude`."""
    globs = (
        ("--exclude", "Leave out files and folders whose name or path matches. May be repeated."),
        ("--include", "Take only files and folders whose name or path matches. May be repeated."),
    )
    for name, text in globs:
        command = click.option(name, multiple=True, metavar="GLOB", help=text)(command)
    return command


def search_lines(found: Findings) -> list[str]:
    """What is worth saying of a search, besides its photos: what was skipped, and links that were not followed."""
    lines = list(found.not_followed[:NAMED])
    if len(found.not_followed) > NAMED:
        lines.append(f"{len(found.not_followed) - NAMED} more links are not followed")
    skipped = found.skipped
    parts = [
        _counted(skipped.system_folders, "system folder"),
        _counted(skipped.system_files, "system file"),
        _counted(skipped.hidden_folders, "hidden folder"),
        _counted(skipped.hidden_files, "hidden file"),
    ]
    if any(parts):
        names = f" ({', '.join(sorted(skipped.system_names))})" if skipped.system_names else ""
        lines.append(f"skipped {', '.join(filter(None, parts))}{names}")
    if found.sidecars:
        lines.append(f"{_counted(found.sidecars, 'sidecar')} (.xmp) beside photos")
    return lines


def search_document(found: Findings) -> dict[str, Any]:
    """The same for a JSON document."""
    return {
        **{name: value for name, value in vars(found.skipped).items() if name != "system_names"},
        "system_names": sorted(found.skipped.system_names),
        "sidecars": found.sidecars,
        "not_followed": list(found.not_followed),
        "inputs_without_photos": [printable(path) for path in found.empty],
    }


def blame_lines(found: Findings) -> list[str]:
    """One line for each file, folder and link that cannot be looked at."""
    return [f"left out: {entry.error}" for entry in found.unreadable]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}" if count else ""
