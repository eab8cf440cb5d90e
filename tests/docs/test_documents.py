"""The documents say what the program does now."""

import re
import subprocess
import sys
import tomllib
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


def test_the_workflow_runs_what_ci_runs() -> None:
    ci = _text(ROOT / ".ci" / "run")
    checks = re.findall(r"^\.venv-test/bin/(.+)$", ci, re.MULTILINE)
    extras = re.findall(r"-e '(\S+)'", ci)
    workflow = _text(ROOT / ".github" / "workflows" / "test.yml")

    assert [check for check in ["python -m pytest", *checks] if f"- run: {check}\n" not in workflow] == []
    assert [extra for extra in extras if f'-e "{extra}"' not in workflow] == []


def test_the_workflow_covers_every_python_that_is_promised() -> None:
    project = tomllib.loads(_text(ROOT / "pyproject.toml"))["project"]
    promised = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    (covered,) = re.findall(r"^ +python: \[(.*)\]", _text(ROOT / ".github" / "workflows" / "test.yml"), re.MULTILINE)

    assert covered == ", ".join(f'"{version}"' for version in promised)


def test_files_of_the_code_that_documents_name_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
    named = {name for page in pages for name in re.findall(r"`((?:nsp_pipeline|export|tests)/[\w./-]+)`", _text(page))}

    assert len(named) > 20
    # CONTRIBUTING.md calls what is to be added "xyz".
    assert [name for name in sorted(named) if "xyz" not in name and not (ROOT / name).exists()] == []


def test_architecture_shows_every_package_and_files_that_are_there() -> None:
    rows = re.findall(r"^\| `(\w+)`.*", _text(ROOT / "docs" / "architecture.md"), re.MULTILINE)
    packages = {path.parent.name for path in ROOT.glob("nsp_pipeline/*/__init__.py")}
    assert packages | {"nsp_export"} == set(rows)

    for line in re.findall(r"^\| `\w+`.*", _text(ROOT / "docs" / "architecture.md"), re.MULTILINE):
        package, *names = re.findall(r"`([\w./]+)`", line)
        folder = ROOT / "export" / package if package == "nsp_export" else ROOT / "nsp_pipeline" / package
        below = {
            path.relative_to(parent).as_posix()
            for parent in [folder, *folder.rglob("*/")]
            for path in parent.rglob("*")
        }
        files = [name.rstrip("/") for name in names if name.endswith((".py", "/"))]
        assert [name for name in files if name not in below and not (ROOT / name).exists()] == [], package


def test_file_names_in_the_picture_exist() -> None:
    picture = _text(ROOT / "docs" / "architecture.svg")
    named = re.findall(r'class="file"[^>]*>([\w/]+\.py)<', picture)

    assert len(named) >= 8
    assert [name for name in named if not [*ROOT.glob(f"nsp_pipeline/**/{name}")]] == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
