"""What a training writes down as it goes: what it is said to gain at each judgement, and where the pictures lie."""

import csv
from pathlib import Path
from typing import cast
from unittest import mock

import numpy as np
import pytest
from small_training import JUDGED, noisy_picture, small_settings, train_on

from nsp_pipeline.calibration.next_scale import held_out
from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.calibration.training.log import COLUMNS, CSV_FILE, read_log
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.core.claim import Claim
from nsp_pipeline.models.backbone import Backbone

PICTURE = noisy_picture(1)


class Claiming(NextScaleObjective):
    """Is judged as a camera's student is: nothing at first, then better by each measure, then by one alone.

    At the end the best of them, which was not the last, is judged again.
    """

    def __init__(self) -> None:
        with mock.patch.object(held_out, "CROPS", JUDGED):
            super().__init__([PICTURE], [PICTURE], small_settings(steps=4, judge_every=2))
        self._judged = 0

    def judge(self, network: Backbone) -> Judgement:
        """Judge as the times before have it."""
        gain, other = ((0.0, 0.0), (1.0, 1.0), (1.0, -1.0), (1.0, 1.0))[self._judged]
        claim = Claim(0.12 * self._judged, 0.1) if self._judged else None
        self._judged += 1
        spread = np.array([-0.01, 0.0, 0.01])
        others = {"on photos": spread - other}
        return Judgement(spread - gain, 0.0, 0.0, 1.0, 1.0, what="on simulated noise", others=others, claim=claim)


def test_the_log_has_what_photos_are_said_to_gain_and_whether_a_profile_would_take_it(tmp_path: Path) -> None:
    objective = Claiming()
    settings = small_settings(steps=4, judge_every=2)
    train(objective, settings, base=cast(Backbone, settings.build()), run=RunOptions(folder=tmp_path))
    told = [(row["step"], row["gain"], row["gain_error"], row["accepted"]) for row in read_log(tmp_path)]
    assert told == [("2", "0.12", "0.1", "1"), ("4", "0.24", "0.1", "0")]


def test_a_log_of_an_older_nsp_is_gone_on_with(tmp_path: Path) -> None:
    steps = small_settings(steps=8, judge_every=4)
    done: list[object] = []
    train_on([PICTURE], [PICTURE], steps, folder=tmp_path, on_step=done.append, should_stop=lambda: len(done) >= 4)
    old = [column for column in COLUMNS if column not in ("gain", "gain_error", "accepted")]
    rows = read_log(tmp_path)
    with (tmp_path / CSV_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, old, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    trained = train_on([PICTURE], [PICTURE], steps, folder=tmp_path, resume=True)
    assert trained.steps == 8
    assert [(row["step"], row["gain"]) for row in read_log(tmp_path)] == [("4", ""), ("8", "")]


@pytest.mark.parametrize("folder", [True, False])
def test_the_first_picture_is_told_of_and_no_other(tmp_path: Path, folder: bool) -> None:
    told: list[Path] = []
    steps = small_settings(steps=4, judge_every=2)
    train_on([PICTURE], [PICTURE], steps, folder=tmp_path if folder else None, on_picture=told.append)
    assert told == ([tmp_path / "held-out-000002.png"] if folder else [])
    assert len(list(tmp_path.glob("held-out-*.png"))) == (2 if folder else 0)
