"""Lines for the person at the keyboard."""

from rich.console import Console


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: paths may hold brackets, and a command to copy must not be broken in two."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
