"""Fixtures that several packages' tests share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# The networks of the tests are too small for threads, which only wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As `nsp` has it, for processes that import parts of it first: to look for plugins takes a tenth of a start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import pytest
from run_nsp import Finished, run_here

from nsp_pipeline.engines import choose as choose_engine
from nsp_pipeline.engines.openvino import engine as openvino_cpu
from nsp_pipeline.profiles import choose, install
from nsp_pipeline.profiles.bundle import Profile, write_profile


@pytest.fixture(autouse=True, scope="session")
def _the_reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let "auto" be the reference on every machine, whatever was measured there: what tests compare is exact so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_cpu, "computes_in_bf16", lambda: False)
        patch.setattr(choose_engine, "in_order", lambda profile, request, reference, candidates: (candidates, ""))
        patch.setenv("NSP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _exported_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no graph be exported twice, once a test has imported the export (which takes seconds in itself)."""
    module = sys.modules.get("nsp_export.onnx_file")
    if module and not hasattr(module._export, "__wrapped__"):
        from exported_once import exported_once

        ours = tmp_path_factory.getbasetemp()
        folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "exported"
        folder.mkdir(exist_ok=True)
        module._export = exported_once(module._export, folder)  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's state folder: an empty one, in place of the real one, also for processes that tests start."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, which is not part of the repository; tests that need it skip without it."""
    folder = Path(os.environ.get("NSP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real photos at {folder} (set NSP_DATA to have these tests)")
    return folder


@pytest.fixture(scope="session")
def tiny_profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A bundle of a small random network, zipped, with the graphs of all modes."""
    from tiny import tiny_profile_files

    return write_profile(tmp_path_factory.mktemp("profiles") / "tiny.nsp", *tiny_profile_files())


@pytest.fixture
def user_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's own profile folder: an empty one, in place of the real one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    choose.look_again()
    folder = choose.user_folder()
    assert folder.is_relative_to(tmp_path)
    folder.mkdir(parents=True)
    yield folder
    choose.look_again()


def ships_only(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let one profile be all that ships."""
    for module in (choose, install):
        monkeypatch.setattr(module, "shipped_profiles", lambda: {choose.DEFAULT: path})


@pytest.fixture
def tiny_builtin(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Profile]:
    """The tiny profile in the place of those that ship."""
    choose._builtin.cache_clear()
    ships_only(monkeypatch, tiny_profile.path)
    yield tiny_profile
    choose._builtin.cache_clear()


@pytest.fixture
def real_nsp(capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run `nsp` in this process, on its real engine."""
    return lambda *args: run_here(capfd, *args)


@pytest.fixture
def denoising_nsp(real_nsp: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`nsp` that exports the graph to denoise with, and puts words where those that enlarge belong."""
    from nsp_pipeline.cli.shared import exporting

    real = exporting.make_onnx
    monkeypatch.setattr(
        "nsp_pipeline.cli.calibrate.stages.make_onnx",
        lambda network, mode, *rest: real(network, mode, *rest) if mode == "denoise" else b"words",
    )
    return real_nsp


@pytest.fixture
def quick_nsp(real_nsp: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`nsp` whose trainings put words where the graphs belong: a real export takes far longer than the training."""
    for command in ("calibrate.stages", "distill"):
        monkeypatch.setattr(f"nsp_pipeline.cli.{command}.make_onnx", lambda network, mode, *_: mode.encode())
    return real_nsp
