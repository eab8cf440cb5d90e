"""What `.ci/run` ends with, by stand-ins for Python, pip, the tests and the linters."""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it is a script for bash")

SCRIPT = Path(__file__).parents[2] / ".ci" / "run"

PYTHON = """#!/usr/bin/env bash
mkdir -p .venv-test/bin
cp stand_ins/pip .venv-test/bin/pip
cp stand_ins/tests .venv-test/bin/python
"""
PIP = """#!/usr/bin/env bash
[ "$BROKEN" != pip ] || exit 1
for one in ruff mypy lint-imports nsp; do cp stand_ins/linter .venv-test/bin/$one; done
"""
TESTS = """#!/usr/bin/env bash
echo "5 passed in 1.00s"
[ "$BROKEN" != tests ]
"""
LINTER = """#!/usr/bin/env bash
echo "$(basename "$0") has spoken"
[ "$BROKEN" != "$(basename "$0")" ]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes(SCRIPT.read_bytes())
    stand_ins = tmp_path / "stand_ins"
    stand_ins.mkdir()
    for name, text in {
        "python3": PYTHON,
        "pip": PIP,
        "tests": TESTS,
        "linter": LINTER,
        "exiftool": LINTER,
        "chromium": LINTER,
    }.items():
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    return tmp_path


def run(checkout: Path, broken: str) -> tuple[int, list[str]]:
    path = f"{checkout / 'stand_ins'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", checkout / ".ci" / "run"],
        env=os.environ | {"PATH": path, "BROKEN": broken},
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, done.stdout.splitlines()


def test_where_all_is_well_the_output_ends_with_the_tests_result(checkout: Path) -> None:
    code, lines = run(checkout, "nothing")
    assert code == 0
    assert lines[-1] == "5 passed in 1.00s"


@pytest.mark.parametrize("broken", ["mypy", "lint-imports"])
def test_a_linter_that_complains_fails_it_and_is_heard_last(checkout: Path, broken: str) -> None:
    code, lines = run(checkout, broken)
    assert code == 1
    assert lines[-1] == f"{broken} has spoken"


@pytest.mark.parametrize("broken", ["tests", "pip"])
def test_it_fails_with_the_tests_and_where_nothing_could_be_installed(checkout: Path, broken: str) -> None:
    code, _ = run(checkout, broken)
    assert code == 1
