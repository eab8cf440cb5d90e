"""The documents say what the program does now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_command_pages_are_current() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_command_pages.py", "--check"], capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


def test_readme_opens_with_two_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(.*?)\n```", readme, re.DOTALL)

    assert len(commands) == 2
    assert "nsp denoise" in commands[0]
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT) for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]

    missing = [target for target in targets if not (ROOT / page.parent / target).exists()]

    assert not missing


def test_make_runs_what_ci_runs() -> None:
    recipes = re.findall(r"^\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = [line.replace("$(BIN)", ".venv-test/bin").replace("$(PYTHON)", "python3") for line in recipes]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (options,) = re.findall(r'PYTEST_ADDOPTS="(.+)"', ci)

    # CI hands pytest its options in the environment.
    missing = [line for line in commands if line.removesuffix(f" {options}") not in ci]

    assert missing == [".venv-test/bin/python docs/make_command_pages.py", ".venv-test/bin/nsp bench"]
