"""A decoding process that fails us says nothing about the photo: only its verdict counts."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from make_dng import make_dng

from nsp_pipeline.errors import DecoderFailedError, PhotoError
from nsp_pipeline.frames.decoders import isolated
from nsp_pipeline.frames.read import read_facts, read_frame


@pytest.fixture
def dng(tmp_path: Path) -> Path:
    return make_dng(tmp_path / "sound.dng")


def failure(path: Path) -> DecoderFailedError:
    with pytest.raises(DecoderFailedError) as caught:
        read_frame(path)
    assert "damaged" not in caught.value.reason
    assert "tried again" in caught.value.reason
    return caught.value


def put_in_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let the decoding process find other code where it looks for rawpy."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "rawpy.py").write_text(code)
    package = tmp_path / "shadow", isolated.PACKAGE_ROOT
    monkeypatch.setattr(isolated, "PACKAGE_ROOT", os.pathsep.join(map(str, package)))


def test_a_missing_module_is_our_failure(dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_the_way(monkeypatch, tmp_path, "raise ModuleNotFoundError(\"No module named 'rawpy'\")")
    error = failure(dng)
    assert "No module named 'rawpy'" in error.reason
    assert error.details is not None
    assert "Traceback" in error.details
    monkeypatch.undo()
    assert read_frame(dng).damage is None


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_is_killed_is_our_failure(
    dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    put_in_the_way(monkeypatch, tmp_path, f"import os\nos.kill(os.getpid(), {int(signum)})")
    assert signum.name in failure(dng).reason


def test_a_kill_in_the_midst_of_the_answer_is_our_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_dng(tmp_path / "large.dng", side=1024)
    received = isolated._received

    def killing(path: Path, process: "subprocess.Popen[bytes]", *rest: Any) -> object:
        threading.Timer(0.5, process.kill).start()
        assert process.stdout is not None
        time.sleep(3)  # the pipe is full by then, and the process waits
        return received(path, process, *rest)

    monkeypatch.setattr(isolated, "_received", killing)
    assert "SIGKILL" in failure(path).reason


def test_a_traceback_is_our_failure_and_its_text_is_kept(
    dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_the_way(monkeypatch, tmp_path, "raise ZeroDivisionError('a bug of ours')")
    error = failure(dng)
    assert "ZeroDivisionError: a bug of ours" in error.reason
    assert "Traceback" in str(error.details)


def test_memory_that_runs_out_is_our_failure(dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1, 1))\nbytes(1 << 30)"
    put_in_the_way(monkeypatch, tmp_path, code)
    assert "MemoryError" in failure(dng).reason


def test_a_time_out_is_our_failure(dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_the_way(monkeypatch, tmp_path, "import time\ntime.sleep(60)")
    monkeypatch.setattr(isolated, "LONGEST_RUN", 0.5)
    assert "did not finish in 0 seconds" in failure(dng).reason or "did not finish" in failure(dng).reason


def test_a_process_that_cannot_be_started_is_our_failure(dng: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "could not be started" in failure(dng).reason


def test_nonsense_instead_of_an_answer_is_our_failure(
    dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_the_way(monkeypatch, tmp_path, "import os\nos.write(1, b'hello\\n')\nos._exit(0)")
    assert "code 0" in failure(dng).reason


def test_what_a_library_prints_does_not_disturb_the_answer(
    dng: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = isolated.ask(dng, "nsp_pipeline.frames.decoders.develop_raw")
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "from nsp_pipeline.frames.decoders import develop_raw, isolated\n"
        "def main(arguments):\n"
        "    print('hello from a library', flush=True)\n"
        "    os.write(2, b'x' * 300_000)\n"
        "    return develop_raw.main(arguments)\n"
        "isolated.respond(main)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    noisy = isolated.ask(dng, "noisy")
    assert (noisy.pixels == answer.pixels).all()
    assert "hello from a library" in noisy.words
    assert len(noisy.words) < 3 * isolated.MOST_WORDS


def test_the_camera_of_a_raw_file_that_could_not_be_asked_for_is_not_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(2000))
    put_in_the_way(monkeypatch, tmp_path, "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(DecoderFailedError):
        read_facts(tmp_path / "a.raf")


def test_a_decoder_that_rejects_the_file_is_believed(tmp_path: Path) -> None:
    (tmp_path / "a.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(2000))
    with pytest.raises(PhotoError, match="damaged") as caught:
        read_frame(tmp_path / "a.raf")
    assert not isinstance(caught.value, DecoderFailedError)
    assert "LibRaw: " in str(caught.value.details)


def test_a_bug_of_ours_is_not_blamed_on_the_photo(dng: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, **options: bool) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("nsp_pipeline.frames.read.read_raw", broken)
    with pytest.raises(DecoderFailedError, match="nsp broke down") as caught:
        read_frame(dng)
    assert "KeyError: 'oops'" in str(caught.value.details)
    assert "oops" not in caught.value.reason
