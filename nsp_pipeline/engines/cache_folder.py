"""Where built engines are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path

FOLDER_VARIABLE = "NSP_CACHE"


def cache_folder() -> Path:
    """Where engines are kept: $NSP_CACHE, or the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("nsp", appauthor=False) / "engines"
