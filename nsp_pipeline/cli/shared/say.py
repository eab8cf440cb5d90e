"""Lines for the person at the keyboard."""

import shutil
import sys

import click
from rich.console import Console

from nsp_pipeline.batch.listeners.fitted import fitted
from nsp_pipeline.cli.shared.verbosity import is_quiet


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line: brackets in paths are no markup. A terminal's lines are parted between words (see fitted).

    With -q only lines with a style, which are warnings.
    """
    if style or not is_quiet():
        if console.is_terminal:
            text = fitted(text, console.width)
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a line to stderr, without rich; with -q nothing."""
    if not is_quiet():
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        click.echo(fitted(text, shutil.get_terminal_size().columns) if is_terminal else text, err=True)
