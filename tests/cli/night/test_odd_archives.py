"""Whole nights over archives that nothing, or not all, can be learnt from, and two nights over one archive."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_engine import fake_sources
from night_training import GATE, STEPS, train_a_tiny_network
from noisy_photos import save_archive
from PIL import Image
from run_nsp import Finished, finish, run_here, start_python

from nsp_pipeline.cli.night import before, stage
from nsp_pipeline.frames.metadata.camera_names import aliases_file
from nsp_pipeline.profiles.choose import choose_profile

NIGHT = """
import sys
from functools import partial
from fake_engine import fake_sources
from night_training import train_when_told
from nsp_pipeline.cli.main import main
from nsp_pipeline.cli.night import before, stage
from nsp_pipeline.profiles.choose import choose_profile

before.Night = partial(stage.Night, train=train_when_told)
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], fake_sources(choose_profile=choose_profile)))
"""


def black(folder: Path, count: int) -> None:
    """Add black photos of a camera of their own."""
    for number in range(count):
        exif = Image.Exif()
        exif[271], exif[272] = b"Maker", b"Maker Black"
        exif.get_ifd(0x8769)[34855] = 6400
        Image.new("RGB", (64, 48)).save(folder / f"black-{number}.jpg", exif=exif)


def test_what_cannot_be_calibrated_is_named_made_with_what_ships_and_not_tried_again(
    user_profiles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One photo alone, black ones, and two cameras that the user gave one name."""
    monkeypatch.setenv(STEPS, "2")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(before, "Night", partial(stage.Night, train=train_a_tiny_network))
    aliases_file().parent.mkdir(parents=True)
    aliases_file().write_text('[aliases]\n"Maker Left" = "Studio"\n"Other Right" = "Studio"\n')
    photos = save_archive(tmp_path / "in", 1, iso=800)
    save_archive(photos / "left", 3, iso=800, camera=("Maker", "Maker Left"))
    save_archive(photos / "right", 3, iso=800, camera=("Other", "Other Right"))
    black(photos, 4)
    arguments = ("denoise", photos, tmp_path / "out", "--calibrate", "2m", "--json")
    sources = fake_sources(choose_profile=choose_profile)

    made = run_here(capfd, *arguments, given=sources)
    assert made.code == 0, made.err
    assert "not calibrated: Maker One, ISO 800, 1 photo: at least 3 are needed for a profile" in made.err
    assert "not calibrated: Studio, 6 photos: cameras.toml gives this name to Maker Left and Other Right" in made.err
    assert "Maker Black, ISO 6400, 4 photos: no profile, as no photo to calibrate on" in made.err
    assert f"{photos / 'black-0.jpg'}: it is black or white nearly all over" in made.err
    assert "Traceback" not in made.err
    document = json.loads(made.out)
    assert [group["outcome"] for group in document["calibration"]["groups"]] == ["failed"]
    assert {photo["profile"] for photo in document["photos"]} == {"standard"}
    assert len(document["photos"]) == 11
    assert not list(user_profiles.glob("*.nsp"))

    again = run_here(capfd, *arguments, given=sources)
    assert again.code == 0, again.err
    assert "not calibrated: Maker Black, ISO 6400, 4 photos: it failed with these photos before" in again.err
    assert "calibrating" not in again.err


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(there: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait until something is there, while a process lives."""
    for _ in range(2400):
        if there():
            return
        assert process.poll() is None, finish(process).err
        time.sleep(0.05)
    raise AssertionError("it has not come in two minutes")


def test_of_two_nights_over_one_archive_one_goes_on_with_what_a_killed_one_left_and_the_other_waits(
    user_profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    archive, gate = save_archive(tmp_path / "in", 4, iso=800), tmp_path / "gate"
    program = tmp_path / "night.py"
    program.write_text(NIGHT)
    monkeypatch.setenv(STEPS, "300")
    monkeypatch.setenv(GATE, str(gate))

    def start(out: str) -> Any:
        arguments = ("denoise", archive, tmp_path / out, "--calibrate", "10m", "--json")
        started.append(start_python(program, *arguments, PYTHONPATH=os.pathsep.join(sys.path)))
        return started[-1]

    gate.touch()
    killed = start("one")
    wait_for(lambda: any(user_profiles.rglob("checkpoint.pt")), killed)
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    assert not list(user_profiles.glob("*.nsp"))

    gate.unlink()
    gate.with_suffix(".waits").unlink()
    goes_on = start("one")
    wait_for(gate.with_suffix(".waits").exists, goes_on)
    waits = start("two")
    for line in waits.stderr:
        if "waiting for the run that calibrates Maker One, ISO 800-1100" in line:
            break
    gate.touch()
    ends: list[Finished] = [finish(goes_on), finish(waits)]
    assert [end.code for end in ends] == [0, 0], ends
    (profile,) = user_profiles.glob("*.nsp")
    documents = [json.loads(end.out) for end in ends]
    for document in documents:
        assert {photo["profile"] for photo in document["photos"]} == {profile.stem}
    outcomes = [document["calibration"]["groups"][0] for document in documents]
    assert [outcome["outcome"] for outcome in outcomes] == ["kept", "kept"]
    assert outcomes[1]["reason"] == f"another run made profile {profile.stem} meanwhile"
    steps = [int(line.split(",")[0]) for line in next(user_profiles.rglob("log.csv")).read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)), "no step was made twice"
    assert steps[-1] == 300
