"""A folder of small photos, and `nsp` with the fake engine in this process."""

from collections.abc import Callable
from pathlib import Path

import fake_engine
import pytest
from batch_runs import save_photo
from run_nsp import Finished, run_here


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos in two folders."""
    folder = tmp_path / "in"
    save_photo(folder / "a.jpg", 1)
    save_photo(folder / "b.png", 2)
    save_photo(folder / "sub" / "c.tif", 3)
    return folder


@pytest.fixture
def nsp(capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run `nsp` with the fake engine in this process; `fakes` take the place of single functions of its sources."""

    def run(*args: str | Path, **fakes: Callable[..., object]) -> Finished:
        return run_here(capfd, *args, given=fake_engine.fake_sources(**fakes))

    return run
