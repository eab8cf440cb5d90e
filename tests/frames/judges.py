"""Programs that judge what we write."""

from collections.abc import Callable

Listed = Callable[..., list[dict[str, object]]]
"""Takes paths; lists all that exiftool finds in each of these files, by group and name."""
