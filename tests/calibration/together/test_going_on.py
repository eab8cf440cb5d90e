"""A training of all networks that was killed goes on from where it was last judged."""

import csv
import os
import signal
import sys
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from run_nsp import start_python  # noqa: E402

from nsp_pipeline.calibration.together import resume  # noqa: E402
from nsp_pipeline.calibration.together.held_out import HeldOut  # noqa: E402
from nsp_pipeline.calibration.together.learner import Learner  # noqa: E402
from nsp_pipeline.calibration.together.train import TogetherSettings, train_together  # noqa: E402
from nsp_pipeline.calibration.training.checkpoint import load_checkpoint  # noqa: E402
from nsp_pipeline.errors import OutputError, UsageError  # noqa: E402
from nsp_pipeline.models.unet import UNet  # noqa: E402

SIDE = 64
SETTINGS = TogetherSettings(
    steps=6, counts=(2, 2, 0), parts=2, side=SIDE, students=["fast"], judge_every=0.0, judged=1, workers=1, pooled=32
)

KILLED = """
import sys, time
from dataclasses import replace
from pathlib import Path
from test_going_on import SETTINGS, Notes, train
notes = Notes(lambda figures: time.sleep(600) if figures["step"] == 6 else None)
train(Path(sys.argv[1]), (SETTINGS, notes))
"""

WORKING = """
import time
from test_going_on import SIDE, pictures
from nsp_pipeline.calibration.together.pool import ShotPool
pool = ShotPool(pictures(2), SIDE, workers=2, seed=1)
pool.open_on("cpu", 8)
while not pool.made:
    pool.refresh()
print("at work", flush=True)
time.sleep(600)
"""


class CutOffError(Exception):
    """What ends a training where a test wants it to."""


class Notes:
    """What a stage saved: the last weights, and all figures."""

    def __init__(self, then: Any = lambda figures: None) -> None:
        self.weights: dict[str, dict[str, Any]] = {}
        self.figures: list[dict[str, Any]] = []
        self._then = then

    def __call__(self, networks: Mapping[str, Any], figures: dict[str, Any]) -> None:
        self._then(figures)
        self.figures.append(figures)
        self.weights = {
            name: {key: part.clone() for key, part in network.state_dict().items()}
            for name, network in networks.items()
        }

    @property
    def steps(self) -> list[int]:
        return [row["step"] for row in self.figures]


def stopped_at(step: int) -> Notes:
    """Notes of a stage that ends when it would save this step."""

    def end(figures: dict[str, Any]) -> None:
        if figures["step"] >= step:
            raise CutOffError

    return Notes(end)


def pictures(count: int, side: int = 260) -> list[np.ndarray]:
    coarse = torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (count, 3, 12, 12)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    return [(part.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy().copy() for part in smooth]


def train(
    checkpoint: Path, *stages: tuple[TogetherSettings, Notes], go_on: bool = False, scenes: int = 2, said: Any = None
) -> None:
    train_together(
        pictures(scenes),
        pictures(1),
        stages,
        "cpu",
        say=said or (lambda message: None),
        checkpoint=checkpoint,
        begun_before=load_checkpoint(checkpoint) if go_on else None,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """What a training saved that nobody disturbed."""
    notes, checkpoint = Notes(), tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    train(checkpoint, (SETTINGS, notes))
    assert not checkpoint.exists(), "it came to its end"
    return notes


def assert_same(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> None:
    assert one.keys() == other.keys()
    for name, weights in one.items():
        for key, part in weights.items():
            assert torch.equal(part, other[name][key]), f"{name} {key}"


def test_killed_and_resumed_it_ends_at_the_very_weights_of_an_undisturbed_one(tmp_path: Path, whole: Notes) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    process = start_python("-c", KILLED, checkpoint, PYTHONPATH=paths)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and load_checkpoint(checkpoint)["state"]["step"] == 4:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = load_checkpoint(checkpoint)["state"]
    resumed = Notes()
    train(checkpoint, (SETTINGS, resumed), go_on=True)
    assert (before["step"], resumed.steps, whole.steps) == (4, [6], [2, 4, 6])
    assert_same(resumed.weights, whole.weights)
    last, undisturbed = resumed.figures[-1], whole.figures[-1]
    spent = ("seconds", "processor_hours")
    assert {key: value for key, value in last.items() if key not in spent} == {
        key: value for key, value in undisturbed.items() if key not in spent
    }
    assert all(last[key] > before[key] for key in spent), "time that was spent before counts"
    assert not checkpoint.exists()


def test_stages_that_are_finished_are_not_trained_again(tmp_path: Path) -> None:
    checkpoint, first, second = tmp_path / "checkpoint.pt", replace(SETTINGS, steps=2), replace(SETTINGS, steps=4)
    notes = Notes()
    with pytest.raises(CutOffError):
        train(checkpoint, (first, notes), (second, stopped_at(2)))
    assert notes.steps == [2]
    stage, state = resume.place(load_checkpoint(checkpoint), _identity(first, second))
    assert (stage, state) == (1, None), "the second was not judged yet"
    with pytest.raises(CutOffError):
        train(checkpoint, (first, stopped_at(0)), (second, stopped_at(4)), go_on=True)
    again = Notes()
    train(checkpoint, (first, stopped_at(0)), (second, again), go_on=True)
    assert again.steps == [4]


def _identity(*stages: TogetherSettings) -> resume.Identity:
    from dataclasses import asdict

    return resume.Identity.of([asdict(stage) for stage in stages], (pictures(2), pictures(1), (), ()))


def test_with_shots_it_goes_on_from_the_saved_weights_with_other_shots(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    settings = replace(SETTINGS, counts=(2, 0, 2), learning_rate=1e-9, keep_estimator=True)
    kept = stopped_at(6)
    with pytest.raises(CutOffError):
        train(checkpoint, (settings, kept))
    before = load_checkpoint(checkpoint)["state"]
    resumed = Notes()
    train(checkpoint, (replace(settings, workers=2), resumed), go_on=True)
    assert (before["step"], resumed.steps) == (4, [6])
    assert resumed.figures[-1]["megapixels"] == pytest.approx(3 * 4 * SIDE**2 / 1e6)
    assert resumed.figures[-1]["processor_hours"] > before["processor_hours"] > 0
    for key, part in resumed.weights["fast"].items():
        assert torch.allclose(part, kept.weights["fast"][key], atol=1e-6), "at no rate nothing moves"


def test_workers_end_with_a_training_that_is_killed() -> None:
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    process = start_python("-c", WORKING, PYTHONPATH=paths)
    assert process.stdout
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGKILL)
    # What the workers hold, too, comes to its end only with them.
    process.communicate(timeout=60)


def test_other_settings_or_pictures_are_not_gone_on_with(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(CutOffError):
        train(checkpoint, (SETTINGS, stopped_at(4)))
    with pytest.raises(UsageError, match="other settings"):
        train(checkpoint, (replace(SETTINGS, seed=1), Notes()), go_on=True)
    with pytest.raises(UsageError, match="other settings"):
        train(checkpoint, (SETTINGS, Notes()), (SETTINGS, Notes()), go_on=True)
    with pytest.raises(UsageError, match="other pictures"):
        train(checkpoint, (SETTINGS, Notes()), go_on=True, scenes=3)


def test_a_checkpoint_that_cannot_be_written_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("checkpoint.pt: no space left")

    monkeypatch.setattr(resume, "save_checkpoint", full)
    said: list[str] = []
    notes = Notes()
    train(tmp_path / "checkpoint.pt", (replace(SETTINGS, steps=4), notes), said=said.append)
    assert notes.steps == [2, 4]
    assert "checkpoint.pt: no space left; training goes on, and the last checkpoint stays" in said


def test_a_learner_that_was_restored_takes_the_very_steps_of_the_first_at_the_rate_that_it_is_given() -> None:
    def learner(seed: int) -> Learner:
        torch.manual_seed(seed)
        network = UNet((8, 16), (1, 1), 2)
        torch.nn.init.normal_(network.tail.weight, std=0.1)
        return Learner(network, lambda net, given: (net(given) - 0.6).square().mean(), 1e-2, 0.9, "cpu")

    first, second = learner(1), learner(2)
    given = (torch.rand(1, 3, 16, 16),)
    for share in (0.5, 1.0):
        first.learn(given, share)
    second.restore(deepcopy(first.state()))
    for share in (0.9, 0.1, 0.0):
        for one in (first, second):
            one.learn(given, share)
        for part in ("network", "average"):
            assert_same({part: first.state()[part]}, {part: second.state()[part]})
        assert torch.equal(first.loss, second.loss)


def test_the_command_goes_on_where_it_was_cut_off_and_its_log_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner
    from PIL import Image

    from nsp_pipeline.cli import together

    monkeypatch.setattr(TogetherSettings, "judged", 1)
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    scenes.mkdir()
    for number, picture in enumerate(pictures(3)):
        Image.fromarray(picture).save(scenes / f"{number}.png")
    options = {"steps": 6, "counts": "2,2,0", "parts": 2, "side": SIDE, "held-out": 3, "judge-every": 0, "workers": 1}
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = ["train", str(scenes), str(out), "--students", "fast", "--device", "cpu", *given]

    early = CliRunner().invoke(together.main, [*command, "--resume"])
    assert isinstance(early.exception, UsageError)
    assert "there is no training to resume" in str(early.exception)
    judge = HeldOut.judge

    def cut_off(held_out: Any, *args: Any) -> dict[str, Any]:
        found = judge(held_out, *args)
        judged.append(1)
        if len(judged) == 3:
            raise CutOffError
        return found

    judged: list[int] = []
    monkeypatch.setattr(HeldOut, "judge", cut_off)
    assert isinstance(CliRunner().invoke(together.main, command).exception, CutOffError)
    monkeypatch.setattr(HeldOut, "judge", judge)
    with (out / "log.csv").open("a", encoding="utf-8") as log:
        log.write("99,0.1,5,0.1\n")  # of a judgement after the checkpoint

    anew = CliRunner().invoke(together.main, command)
    assert isinstance(anew.exception, UsageError)
    assert "--resume goes on with it" in str(anew.exception)
    done = CliRunner().invoke(together.main, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    with (out / "log.csv").open(newline="", encoding="utf-8") as log:
        rows = list(csv.DictReader(log))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    for column in ("seconds", "processor_hours", "megapixels"):
        figures = [float(row[column]) for row in rows]
        assert figures == sorted(figures)
        assert figures[0] > 0
    assert not (out / "checkpoint.pt").exists()
