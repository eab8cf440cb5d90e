"""`nsp profiles import`, `install`, `remove`, `export`: what lands where, and that nothing is overwritten."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_nsp import Finished
from tiny_checkpoints import authors_state

from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile, load_profile

Nsp = Callable[..., Finished]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"model_state_dict": authors_state("dbsn")}, tmp_path / "nsp_dbsn.pth")
    return tmp_path / "nsp_dbsn.pth"


def test_a_checkpoint_becomes_a_profile_that_denoises(
    real_nsp: Nsp, checkpoint: Path, tmp_path: Path, user_profiles: Path
) -> None:
    done = real_nsp("profiles", "import", checkpoint, "--backbone", "dbsn", "--json")
    facts = json.loads(done.out)
    assert (done.code, facts["name"], facts["path"]) == (0, "nsp_dbsn", str(user_profiles / "nsp_dbsn.nsp"))
    assert facts["profile"]["data"]["licence"] == "not stated"
    assert "licence of its weights: not stated" in done.err
    assert set(MODEL_FILES.values()) <= set(load_profile(Path(facts["path"])).content)
    assert real_nsp("profiles", "verify", "nsp_dbsn").code == 0

    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    # Little of it: whole pictures of random weights have colours of their own, and are not let through.
    run = real_nsp("denoise", tmp_path / "in", tmp_path / "out", "--profile", "nsp_dbsn", "--strength", "0.02")
    assert run.code == 0, run.err
    assert (tmp_path / "out" / "a.png").is_file()


def test_a_profile_is_taken_over_byte_for_byte(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, user_profiles: Path
) -> None:
    for command, name in (("import", "one"), ("install", "two")):
        done = real_nsp("profiles", command, tiny_profile.path, "--name", name, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["sha256"] == tiny_profile.sha256
        assert load_profile(user_profiles / f"{name}.nsp").content == tiny_profile.content
    exported = real_nsp("profiles", "export", "one", tmp_path / "out.nsp", "--json")
    assert json.loads(exported.out)["path"] == str(tmp_path / "out.nsp")
    assert load_profile(tmp_path / "out.nsp").sha256 == tiny_profile.sha256
    folder = real_nsp("profiles", "import", tmp_path / "out.nsp", "--out", tmp_path / "folder")
    assert (folder.code, folder.out) == (0, "")
    assert (tmp_path / "folder" / "profile.json").is_file()
    assert real_nsp("profiles", "install", tmp_path / "folder").code == 0
    assert (user_profiles / "folder.nsp").is_file()


def test_nothing_is_overwritten(
    real_nsp: Nsp, tiny_profile: Profile, checkpoint: Path, tmp_path: Path, user_profiles: Path
) -> None:
    assert real_nsp("profiles", "install", tiny_profile.path, "--name", "kept").code == 0
    before = (user_profiles / "kept.nsp").read_bytes()
    (tmp_path / "kept.nsp").write_bytes(b"mine")
    for args in (
        ("install", tiny_profile.path, "--name", "kept"),
        ("import", tiny_profile.path, "--name", "kept"),
        ("import", checkpoint, "--name", "kept"),
        ("import", checkpoint, "--out", tmp_path / "kept.nsp"),
        ("import", tiny_profile.path, "--out", tmp_path / "kept.nsp"),
        ("export", "kept", tmp_path / "kept.nsp"),
    ):
        refused = real_nsp("profiles", *args)
        assert (refused.code, refused.out) == (4, ""), args
        assert "already" in refused.err
    assert (user_profiles / "kept.nsp").read_bytes() == before
    assert (tmp_path / "kept.nsp").read_bytes() == b"mine"
    assert sorted(entry.name for entry in user_profiles.iterdir()) == ["kept.nsp"]


@pytest.mark.parametrize("name", ["builtin", "standard", "../up", "a/b", ".hidden", "", "x" * 300, "c:d"])
def test_names_that_no_profile_can_have_are_refused(
    real_nsp: Nsp, tiny_profile: Profile, user_profiles: Path, name: str
) -> None:
    if name:
        refused = real_nsp("profiles", "install", tiny_profile.path, "--name", name)
        assert refused.code == 2, refused.err
    assert list(user_profiles.iterdir()) == []


def test_removing_takes_the_named_profile_and_no_other(
    real_nsp: Nsp, tiny_profile: Profile, user_profiles: Path
) -> None:
    for name in ("gone", "kept"):
        real_nsp("profiles", "install", tiny_profile.path, "--name", name)
    (user_profiles / "damaged.nsp").write_bytes(b"")
    (user_profiles / "gone.nsp.training").mkdir()
    (user_profiles / "gone.nsp.training" / "log.csv").write_text("step")
    removed = real_nsp("profiles", "remove", "gone", "--json")
    assert (removed.code, json.loads(removed.out)["name"]) == (0, "gone")
    assert real_nsp("profiles", "remove", "damaged").code == 0
    assert [entry.name for entry in user_profiles.iterdir()] == ["kept.nsp"]
    again = real_nsp("profiles", "remove", "gone")
    assert again.code == 2
    assert "installed there: kept" in again.err
    assert real_nsp("profiles", "remove", "builtin").code == 2
    assert real_nsp("profiles", "remove", str(tiny_profile.path)).code == 2
    assert tiny_profile.path.is_file()


def test_what_is_no_profile_and_no_checkpoint_is_refused(
    real_nsp: Nsp, tiny_profile: Profile, checkpoint: Path, tmp_path: Path, user_profiles: Path
) -> None:
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "cut.nsp").write_bytes(tiny_profile.path.read_bytes()[:500])
    for args, message in (
        (("import", tmp_path / "text.pth"), "not a PyTorch checkpoint"),
        (("import", tmp_path / "gone.pth"), "cannot be read: No such file"),
        (("import", tmp_path / "cut.nsp"), "damaged or cut short"),
        (("import", tmp_path), "not a profile: it has no profile.json"),
        (("import", tiny_profile.path, "--backbone", "dbsn"), "--backbone is for a .pth"),
        (("import", checkpoint, "--backbone", "tbsn"), "it looks like one of dbsn"),
        (("import", checkpoint, "--out", tmp_path / "x.nsp", "--name", "y"), "--name is for installing"),
        (("install", checkpoint), "`nsp profiles import` reads the authors' checkpoints"),
        (("install", tmp_path / "cut.nsp"), "damaged or cut short"),
        (("export", "gone", tmp_path / "y.nsp"), "there is no profile 'gone'"),
        (("export", str(tiny_profile.path), tmp_path / "y.zip"), "ends in .nsp"),
    ):
        refused = real_nsp("profiles", *args)
        assert (refused.code, refused.out) == (2, ""), args
        assert message in refused.err
        assert "Traceback" not in refused.err
    assert list(user_profiles.iterdir()) == []
    assert not (tmp_path / "y.nsp").exists()
