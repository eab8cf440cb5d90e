"""What a command prints arrives whole, or the exit code says that it did not."""

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_nsp import REPOSITORY, Finished, run_here

import nsp_pipeline
from nsp_pipeline.cli.doctor import command as doctor
from nsp_pipeline.cli.doctor.gpu_findings import Finding
from nsp_pipeline.profiles.bundle import Profile

PACKAGE = Path(nsp_pipeline.__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("photos")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(made / "a.png")
    (made / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return made


def shell(folder: Path, command: str, redirection: str) -> Finished:
    nsp = f"{shlex.quote(sys.executable)} -m nsp_pipeline {command} {redirection}"
    paths = f"{REPOSITORY}:{REPOSITORY / 'export'}"
    done = subprocess.run(
        ["bash", "-c", nsp], cwd=folder, env={"PYTHONPATH": paths, "HOME": str(folder)}, capture_output=True, text=True
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("command", "redirection", "reason"),
    [
        ("profiles list --json", "> /dev/full", "No space left on device"),
        ("profiles list", "> /dev/full", "No space left on device"),
        ("profiles show standard --json", "> /dev/full", "No space left on device"),
        ("scan a.png broken.png --json", "> /dev/full", "No space left on device"),
        ("scan a.png broken.png", "> /dev/full", "No space left on device"),
        ("denoise a.png out --dry-run --json", "> /dev/full", "No space left on device"),
        ("profiles list --json", "1< /dev/null", "Bad file descriptor"),
        ("profiles list --json", ">&-", "standard output is closed"),
    ],
)
def test_a_document_that_does_not_arrive_ends_in_exit_code_4(
    folder: Path, command: str, redirection: str, reason: str
) -> None:
    ended = shell(folder, command, redirection)
    assert (ended.code, ended.out) == (4, ""), ended.err
    assert reason in ended.err
    assert "Traceback" not in ended.err
    assert "Exception ignored" not in ended.err


def test_a_closed_output_is_no_trouble_where_nothing_belongs_there(folder: Path) -> None:
    assert shell(folder, "--help", ">&-").code == 0


def test_commands_print_through_one_door() -> None:
    strays = []
    for path in (PACKAGE / "cli").rglob("*.py"):
        if path.name == "standard_output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                given = {keyword.arg for keyword in node.keywords}
                if (called == "print" or (called == "click.echo" and "err" not in given)) or (
                    called == "Console" and not given & {"stderr", "file"}
                ):
                    strays.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
    assert strays == []


def test_what_is_piped_is_not_wrapped(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    detail = "a library [with brackets] is missing " * 10 + "the end"
    found = [Finding("engine", None, detail), Finding("nsp", True, "1"), Finding("verdict", True, detail)]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    ended = run_here(capfd, "doctor")
    assert ended.out.splitlines() == [f"note     {'engine':<22}{detail}", f"ok       {'nsp':<22}1", detail]


@pytest.mark.usefixtures("user_profiles")
def test_tables_that_are_piped_lose_no_column(
    folder: Path, tiny_builtin: Profile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    listed = run_here(capfd, "profiles", "list").out
    for value in json.loads(run_here(capfd, "profiles", "list", "--json").out)[0].values():
        assert value in listed
    assert str(tiny_builtin.path) in listed
    scanned = run_here(capfd, "scan", folder / "a.png", "--noise").out
    header, row, *notes = scanned.splitlines()
    assert header.split() == [
        "camera",
        "ISO",
        "kind",
        "size",
        "photos",
        "noise",
        "(of",
        "255)",
        "in",
        "words",
        "alike",
        "s",
        "PD",
    ]
    assert row.split()[-1] == "(1)"
    assert any(note.startswith("(1) too little of these photos is flat") for note in notes)


def test_a_card_that_is_piped_is_markdown(tiny_profile: Profile, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here(capfd, "profiles", "show", tiny_profile.path, "-v").out == "# tiny\n"
