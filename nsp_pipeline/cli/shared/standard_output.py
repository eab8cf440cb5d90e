"""What commands print on standard output: documents, lines and tables, whole or with an error that says so."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from nsp_pipeline.batch.listeners.fitted import fitted
from nsp_pipeline.errors import OutputError

if TYPE_CHECKING:
    from rich.console import RenderableType

UNLIMITED = 10_000
"""Columns of what is no terminal: nothing is wrapped or cut there, so that other programs see everything."""


def print_json(document: Any) -> None:
    """Print one JSON document; raises OutputError where it cannot be printed whole."""
    print_line(json.dumps(document, indent=2))


def print_line(text: str) -> None:
    """Print text as it is, and end the line; a single line on a terminal as wide as that. Raises OutputError."""
    with _all_or_an_error() as stream:
        if stream.isatty() and "\n" not in text:
            text = fitted(text, shutil.get_terminal_size().columns)
        stream.write(text + "\n")


def print_rich(*parts: "RenderableType") -> None:
    """Print tables and texts, each on lines of its own; raises OutputError.

    A terminal's tables are as wide as it is; elsewhere, and in texts, nothing is wrapped.
    """
    # `nsp --help` must not wait for rich.
    from rich.console import Console
    from rich.text import Text

    with _all_or_an_error() as stream:
        console = Console(file=stream, width=None if stream.isatty() else UNLIMITED)
        for part in parts:
            console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str | Text))


def printed_to_a_terminal() -> bool:
    """Whether a person reads standard output, and not a program."""
    return sys.stdout is not None and sys.stdout.isatty()


@contextmanager
def _all_or_an_error() -> Iterator[Any]:
    if sys.stdout is None:
        raise OutputError("standard output is closed: what belongs there cannot be printed")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, UnicodeEncodeError) as error:
        drop_standard_output()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(
            f"standard output cannot be written: {reason}; what was printed there is not whole"
        ) from error


def drop_standard_output() -> None:
    """Let what is left for standard output vanish: Python would complain of it once more while it shuts down."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
