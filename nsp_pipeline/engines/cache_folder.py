"""Where engines keep what they compiled, so that the next start is quick."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

FOLDER_VARIABLE = "NSP_CACHE"


def cache_folder() -> Path:
    """Where engines are kept: $NSP_CACHE, or the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("nsp", appauthor=False) / "engines"


def writable_cache(name: str) -> Path | None:
    """A back end's own folder in the cache; None where nothing can be kept, which costs time and nothing else."""
    folder = cache_folder() / name
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    return None
