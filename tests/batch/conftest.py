"""A folder of small photos, and `nsp` with the fake engine in this process."""

from collections.abc import Callable
from pathlib import Path

import fake_engine
import pytest
from batch_runs import Finished, save_photo

from nsp_pipeline.cli.main import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos in two folders."""
    folder = tmp_path / "in"
    save_photo(folder / "a.jpg", 1)
    save_photo(folder / "b.png", 2)
    save_photo(folder / "sub" / "c.tif", 3)
    return folder


@pytest.fixture
def nsp(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run `nsp` with the fake engine in this process."""
    fake_engine.install(monkeypatch.setattr)

    def run(*args: str | Path) -> Finished:
        capfd.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Finished(code, captured.out, captured.err)

    return run
