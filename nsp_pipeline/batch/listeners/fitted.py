"""Lines as wide as the terminal that shows them."""

import re
import textwrap

COMMAND = re.compile(
    r"\bnsp (?:preview|denoise|status|report|verify|scan|calibrate|distill|export|profiles|evaluate|bench|doctor)\b"
    r"|\b(?:pip (?:un)?install|sudo|torchrun) "
)
"""A line with something to type, which must not be broken in two: it is copied as it stands."""


def fitted(text: str, width: int) -> str:
    """A line in pieces of at most `width` characters, parted between words, later ones below the first one's beginning.

    A word that is longer, and a line with a command in it, are left whole.
    """
    if len(text) <= width or COMMAND.search(text):
        return text
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
