import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from PIL import Image

from nsp_pipeline import __version__
from nsp_pipeline.cli import main as cli
from nsp_pipeline.errors import MissingCapabilityError, OutputError, PhotoError, RecipeError, UsageError

REPOSITORY = Path(__file__).parents[2]


def python(*args: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run a command that raises."""

    def run(error: BaseException) -> int:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *args: command)
        return cli.main(["denoise"])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PhotoError(Path("a.jpg"), "is empty"), 1),
        (UsageError("no"), 2),
        (RecipeError("no"), 2),
        (MissingCapabilityError("no"), 3),
        (OutputError("no"), 4),
        (KeyboardInterrupt(), 130),
        (click.UsageError("no"), 2),
        (click.FileError("no"), 2),
        (click.Abort(), 130),
        (MemoryError(), 3),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 4),
    ],
)
def test_every_error_for_the_user_ends_in_its_exit_code_without_a_traceback(
    failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    assert failing(error) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


def test_a_bug_of_ours_keeps_its_traceback(failing: Callable[[BaseException], int]) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())
    with pytest.raises(OSError):
        failing(OSError(errno.EIO, "input/output error"))


def test_help_and_version_work_as_a_module_and_import_nothing_heavy() -> None:
    code = (
        "import sys; from nsp_pipeline.cli.main import main; main(['--help']); "
        "print([name for name in ('torch', 'numpy', 'onnxruntime', 'rich', 'PIL') if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"
    assert python("-m", "nsp_pipeline", "--version").stdout == f"nsp {__version__}\n"


NOT_AT_START = ("torch", "onnxruntime", "openvino", "onnx", "nsp_export", "rawpy", "tifffile", "ray", "cv2", "scipy")
"""What `nsp denoise` must not import before it knows what there is to be done."""

NOT_FOR_A_JPEG = ("torch", "openvino", "onnx", "nsp_export", "rawpy", "tifffile", "ray", "cv2", "scipy", "PIL.ImageCms")
"""Nor ever, for one small JPEG."""


def test_denoise_imports_nothing_that_it_may_not_need() -> None:
    code = (
        "import sys; from nsp_pipeline.cli.main import main; main(['denoise', '--help']); "
        f"print([name for name in {NOT_AT_START} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_a_jpeg_is_denoised_without_what_only_other_photos_need(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    Image.new("RGB", (64, 48), (90, 120, 80)).save(tmp_path / "a.jpg")
    code = (
        "import sys; from nsp_pipeline.cli.main import main; "
        f"code = main(['denoise', {str(tmp_path / 'a.jpg')!r}, {str(tmp_path / 'b.jpg')!r}, '--profile', 'fast']); "
        f"print(code, [name for name in {NOT_FOR_A_JPEG} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "0 []"


def test_every_command_of_the_table_that_exists_opens(capsys: pytest.CaptureFixture[str]) -> None:
    context = click.Context(cli.nsp)
    names = cli.nsp.list_commands(context)
    assert {"denoise", "status"} <= set(names) <= set(cli.COMMANDS)
    for name in names:
        command = cli.nsp.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert cli.main([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: nsp {name}")


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["denoize"]) == 2
    assert "No such command 'denoize'" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_trouble(tmp_path: Path) -> None:
    script = "from nsp_pipeline.cli.main import main; import sys; sys.exit(main(['denoise', '--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(30)
    assert errors == b""


def test_status_without_a_record_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (tmp_path, tmp_path / "nothere"):
        assert cli.main(["status", str(place)]) == 2
        assert "nsp has no record there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
