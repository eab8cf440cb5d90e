"""The wheel, built and installed as the Dockerfile does it, finds all that ships, and works without PyTorch."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dockerfile import ROOT, arguments, context, stages
from PIL import Image

from nsp_pipeline import __version__

# Packages are unpacked and compiled, and fetched first where pip has not kept them.
pytestmark = pytest.mark.timeout(900)


def outside_the_checkout(program: Path, *args: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program that can find this checkout neither beside it nor in the environment."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**kept, "HOME": str(cwd), "XDG_DATA_HOME": str(cwd / "data")}
    return subprocess.run([program, *args], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120)


def install_steps(place: Path) -> list[str]:
    """The Dockerfile's own commands from the wheel on, with folders of ours, the CPU's extra, and pip's cache."""
    changes = {
        "--no-cache-dir": "",
        "--extra-index-url https://pypi.nvidia.com": "",
        "${EXTRAS}": "cpu",
        "/tmp/builder": f"{place}/builder",
        "/opt/nsp": f"{place}/nsp",
        "/wheel": f"{place}/wheel",
        "python3 -m venv": f"'{sys.executable}' -m venv",
    }
    steps = [step for step in arguments(stages()[0], "RUN") if "apt-get" not in step]
    for before, after in changes.items():
        assert any(before in step for step in steps), f"the Dockerfile has no '{before}' any more"
        steps = [step.replace(before, after) for step in steps]
    return steps


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a clean virtual environment that holds the wheel."""
    place = tmp_path_factory.mktemp("image")
    source = place / "source"
    source.mkdir()
    for name in context():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    for step in install_steps(place):
        ended = subprocess.run(["sh", "-ec", step], capture_output=True, text=True, cwd=source)
        if re.search("No matching distribution|Could not fetch URL|NewConnectionError", ended.stderr):
            if os.environ.get("CI") == "true":
                pytest.fail(ended.stderr)
            pytest.skip(f"no package index can be reached: {ended.stderr.strip().splitlines()[-1]}")
        assert ended.returncode == 0, ended.stderr
    return place / "nsp" / "bin"


def test_the_program_runs_and_all_is_well(installed: Path, tmp_path: Path) -> None:
    version = outside_the_checkout(installed / "nsp", "--version", cwd=tmp_path)
    assert version.stdout == f"nsp {__version__}\n"
    doctor = outside_the_checkout(installed / "nsp", "doctor", "--json", cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    found = {finding["what"]: finding["ok"] for finding in json.loads(doctor.stdout)}
    assert found["built-in profile"] is True
    assert found["torch"] is None


def test_it_denoises_without_pytorch(installed: Path, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).normal(128, 12, (96, 128, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    ended = outside_the_checkout(installed / "nsp", "denoise", "noisy.png", "clean.png", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    with Image.open(tmp_path / "clean.png") as clean:
        assert np.asarray(clean).std() < noisy.std() / 2


@pytest.mark.parametrize("how", ["wheel", "as the tests are"])
def test_recipes_and_shipped_profiles_are_found(how: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # The tests' own Python has an editable install (README); both must find what ships.
    python = request.getfixturevalue("installed") / "python" if how == "wheel" else Path(sys.executable)
    code = (
        "import json; from nsp_pipeline.recipe import list_recipes; "
        "from nsp_pipeline.profiles.choose import shipped_profiles, find_profile; import nsp_export; "
        "print(json.dumps([list_recipes(), list(shipped_profiles()), find_profile('builtin').name]))"
    )
    ended = outside_the_checkout(python, "-c", code, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    recipes, profiles, builtin = json.loads(ended.stdout)
    assert recipes == sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
    assert profiles == ["standard", "dbsn", "fast", "quality"]
    assert builtin
