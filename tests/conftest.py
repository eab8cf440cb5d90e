"""Fixtures that several packages' tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, which is not part of the repository; tests that need it skip without it."""
    folder = Path(os.environ.get("NSP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real photos at {folder} (set NSP_DATA to have these tests)")
    return folder
