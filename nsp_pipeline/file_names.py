r"""File names as text, and back: one way for messages, JSON documents, the manifest and reports.

A name on a disk may hold what no terminal, log or JSON reader takes: line breaks, control characters, bytes that are
no UTF-8. They are escaped, and the escape sign itself too, so that every name can be had back:

    \\              a backslash
    \n \r \t        line feed, carriage return, tab
    \xNN            a byte: another control character, or a byte that is no UTF-8
    \uNNNN \UNNNNNNNN   a character that shows nothing or moves what stands beside it

All other characters, accents and emoji among them, stand for themselves. On Windows folders are parted by slashes.
"""

import os
import re
from pathlib import Path, PurePath, PureWindowsPath

SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
JOINERS = "\u200c\u200d"
"""They join what stands beside them, as in the emoji of families and in Persian, and are left as they are."""

ESCAPE = re.compile(r"\\(?:\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
LONG = {short: char for char, short in SHORT.items()}


LONGEST_SHOWN = 100
"""Letters of a name that a message repeats."""


def shown(name: str) -> str:
    """A name that the user gave, fit for a message: one line, and not all of it where it is very long."""
    letters = "".join(letter if letter.isprintable() else "?" for letter in name)
    return letters if len(letters) <= LONGEST_SHOWN else letters[:LONGEST_SHOWN] + "…"


def printable(path: PurePath | str) -> str:
    """Return a path as text that every terminal, log, database and JSON reader takes (see the module)."""
    text = path.as_posix() if isinstance(path, PureWindowsPath) else str(path)
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text  # nearly all, and a plan has many thousands
    return "".join(map(_escaped, os.fsencode(text).decode("utf-8", "surrogateescape")))


def from_printable(text: str) -> str:
    """Return the path that `printable` wrote as this text, as the system's functions take it."""
    encoded = bytearray()
    end = 0
    for match in ESCAPE.finditer(text):
        encoded += text[end : match.start()].encode() + _meant(match[0])
        end = match.end()
    return os.fsdecode(bytes(encoded + text[end:].encode()))


def absolute_name(path: Path) -> str:
    """A photo as the manifest names it: its absolute path, links not resolved, as `printable` writes it."""
    text = os.path.abspath(path)  # noqa: PTH100
    return printable(Path(text) if os.name == "nt" else text)


def _escaped(char: str) -> str:
    if char in SHORT:
        return SHORT[char]
    if char.isprintable() or char in JOINERS:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _meant(escape: str) -> bytes:
    if escape in LONG:
        return LONG[escape].encode()
    code = int(escape[2:], 16)
    return bytes([code]) if escape[1] == "x" else chr(code).encode("utf-8", "surrogatepass")
