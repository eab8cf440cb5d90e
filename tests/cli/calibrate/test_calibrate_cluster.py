"""`nsp calibrate --split --cluster`: profiles of several cameras, trained at once in processes of Ray."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from noisy_photos import save_archive
from run_nsp import Finished, finish, start_python

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.cli.calibrate import on_cluster
from nsp_pipeline.cli.calibrate.on_cluster import Where, train_on_cluster
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import load_profile

Nsp = Callable[..., Finished]
RECIPE = "[calibrate]\nbase_channels = 4\nmodules = 1\ncrop = 20\nbatch = 2\nsteps = 3\npd-factor = 1\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for model in ("One", "Two"):
        save_archive(tmp_path / "in" / model, 3, iso=800, camera=("Maker", f"Maker {model}"))
    (tmp_path / "quick.toml").write_text(RECIPE)
    return tmp_path / "in"


def test_one_profile_is_not_spread_over_machines(quick_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "m.nsp", "--cluster", "auto")
    assert refused.code == 2
    assert "--cluster spreads the profiles of --split" in refused.err


def test_a_training_that_was_cut_off_is_not_begun_again_unasked(quick_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    arguments = ("--out", tmp_path / "made", "--recipe", tmp_path / "quick.toml", "--split", "camera")
    made = quick_nsp("calibrate", archive / "One", *arguments)
    assert made.code == 0, made.err
    (profile,) = (tmp_path / "made").glob("*.nsp")
    cut_off = profile.with_name(f"{profile.name}.training") / "checkpoint.pt"
    profile.unlink()
    cut_off.parent.mkdir(exist_ok=True)
    cut_off.touch()
    refused = quick_nsp("calibrate", archive / "One", *arguments, "--cluster", "auto")
    assert refused.code == 2
    assert "a training was cut off: --resume goes on with it; to start again, delete it: Maker One" in refused.err
    assert str(cut_off.parent) in refused.err


class RayError(Exception):
    pass


class Reference:
    def __init__(self, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
        self.function, self.given = function, given


class FakeRay:
    """Does each task when its result is asked for; `deaths` are how often the trainings of a profile die."""

    def __init__(self, deaths: dict[str, int]) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=type("RayTaskError", (RayError,), {}))
        self.deaths, self.begun = deaths, list[str]()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2}}, {"Alive": False, "Resources": {"CPU": 1}}]

    def remote(self, **resources: int) -> Callable[[Any], Any]:
        assert resources == {"num_cpus": 2, "max_retries": 0}
        return lambda function: SimpleNamespace(remote=lambda *given: Reference(function, given))

    def wait(self, references: list[Reference], num_returns: int) -> tuple[list[Reference], list[Reference]]:
        return references[:1], references[1:]

    def get(self, reference: Reference) -> Any:
        name = reference.given[2].stem
        self.begun.append(name)
        if self.deaths.get(name, 0):
            self.deaths[name] -= 1
            raise RayError("the worker died")
        return reference.function(*reference.given)


def trained(monkeypatch: pytest.MonkeyPatch, ray: FakeRay, folder: Path) -> dict[str, str | None]:
    """Trouble by profile, of trainings that only write their target."""

    @contextmanager
    def connected(address: str) -> Iterator[FakeRay]:
        yield ray

    monkeypatch.setattr(on_cluster, "connected", connected)
    monkeypatch.setattr(on_cluster, "usable", lambda device, threads: f"{device} {threads}")
    monkeypatch.setattr(on_cluster, "replace", lambda value, **changes: SimpleNamespace(**{**vars(value), **changes}))
    monkeypatch.setattr(on_cluster, "calibrate_one", lambda plan, files, out: out.write_text(plan.device))
    targets = [
        (Group(name, "JPEG", None, False, None, (folder / f"{name}.jpg",)), folder / "made" / f"{name}.nsp")
        for name in ("one", "two", "three")
    ]
    plan: Any = SimpleNamespace(resume=False)
    return {found.target.stem: found.trouble for found in train_on_cluster(Where("auto", "auto", None), plan, targets)}


def test_a_training_that_died_is_taken_up_and_one_that_dies_twice_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay({"one": 1, "two": 2})
    found = trained(monkeypatch, ray, tmp_path)
    assert found == {"one": None, "three": None, "two": "it died 2 times on the cluster: the worker died"}
    assert {name: ray.begun.count(name) for name in found} == {"one": 2, "two": 2, "three": 1}
    assert {path.name: path.read_text() for path in (tmp_path / "made").iterdir()} == {
        "one.nsp": "auto 2",
        "three.nsp": "auto 2",
    }


def test_a_machine_that_does_not_see_the_folder_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_cluster, "what_differs", lambda proof: "it does not see /photos")
    with pytest.raises(MissingCapabilityError, match="cannot take part: it does not see /photos"):
        trained(monkeypatch, FakeRay({}), tmp_path)


def test_profiles_of_several_cameras_are_trained_in_processes_of_ray(archive: Path, tmp_path: Path) -> None:
    if "NSP_SLOW" not in os.environ:
        pytest.skip("starting Ray and two trainings take minutes; NSP_SLOW=1 does it")
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    out = tmp_path / "made"
    command = ("calibrate", archive, "--out", out, "--recipe", tmp_path / "quick.toml", "--base", "none")
    options = ("--split", "camera", "--cluster", "auto", "--threads", "1", "--json")
    ended = finish(start_python("-m", "nsp_pipeline", *command, *options))
    assert ended.code == 0, ended.err
    assert {profile["camera_model"] for profile in json.loads(ended.out)} == {"Maker One", "Maker Two"}
    made = sorted(out.glob("*.nsp"))
    assert [load_profile(path).name for path in made] == [path.stem for path in made]
    assert sorted(path for path in out.iterdir() if path.suffix not in (".nsp", ".training")) == [], "no token is left"
    again = finish(start_python("-m", "nsp_pipeline", *command, *options))
    assert (again.code, json.loads(again.out)) == (0, []), "what is there is not made again"
