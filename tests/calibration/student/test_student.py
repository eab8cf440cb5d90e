"""What a student learns from, and that it learns."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_photos import clean_scene, noisy_scene
from stored_shots import stored_shots
from torch import nn

from nsp_pipeline.calibration.simulation.camera_noise import halved
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.student.objective import Material, StudentObjective, shrunk_to_sharp
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.models.registry import build_backbone

SHARP = [clean_scene(160, 200).astype(np.uint8)]
NOISY = [noisy_scene(1, 120, 120)]


def settings(**changes: object) -> StudentSettings:
    small = {"channels": (8, 12), "pairs": (1, 1), "crop": 32, "painted": 0, "batch": 4, "steps": 8, "judge_every": 4}
    return StudentSettings.model_validate({**small, **changes})


def objective(chosen: StudentSettings, **options: object) -> StudentObjective:
    return StudentObjective(Material(SHARP, SHARP, NOISY), chosen, **options)  # type: ignore[arg-type]


class Recorder(nn.Module):
    """Stands for a network: keeps what it is given and returns it enlarged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return image.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_it_learns_to_take_noise_away() -> None:
    chosen = settings(
        steps=140,
        judge_every=140,
        batch=8,
        channels=(12, 16),
        learning_rate=1e-2,
        ema_decay=0.9,
        least_sigma=12,
        most_sigma=20,
        clean_share=0,
    )
    chosen_objective = objective(chosen)
    before = chosen_objective.judge(build_backbone("unet", chosen.backbone_sizes))
    trained = train(chosen_objective, chosen)
    assert before is not None
    assert trained.judgement is not None
    assert trained.judgement.mean < 0.75 * before.mean


def test_the_same_settings_give_the_same_student() -> None:
    first, again = (train(objective(settings()), settings()).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_crops_follow_from_the_step_whatever_came_before() -> None:
    straight, jumped = Recorder(), Recorder()
    chosen_objective = objective(settings(bf16=False))
    for step in (1, 2, 3):
        chosen_objective.loss(straight, 4, step, 0)
    objective(settings(bf16=False)).loss(jumped, 4, 3, 0)
    assert torch.equal(straight.seen[2], jumped.seen[0])
    assert not torch.equal(straight.seen[1], straight.seen[2])


def test_the_teacher_makes_targets_for_the_noisy_photos_only() -> None:
    asked: list[torch.Tensor] = []

    def teacher(crop: torch.Tensor) -> torch.Tensor:
        asked.append(crop)
        return torch.full_like(crop, 0.5)

    chosen = settings(teacher_share=1.0, teacher_crops=3, bf16=False)
    recorder = Recorder()
    objective(chosen, teacher=teacher).loss(recorder, 4, 1, 0)
    assert [crop.shape for crop in asked] == [(1, 3, 32, 32)] * 3
    known = {tuple(crop.flatten().sort().values.tolist()) for crop in asked}
    assert {tuple(crop.flatten().sort().values.tolist()) for crop in recorder.seen[0]} <= known


def test_when_the_time_is_up_one_picture_and_one_target_are_enough() -> None:
    done: list[int] = []
    StudentObjective(
        Material(SHARP, SHARP, NOISY),
        settings(painted=50, teacher_share=0.5, teacher_crops=50),
        teacher=lambda crop: crop,
        on_prepared=lambda count, total: done.append(count),
        by=0.0,
    )
    assert done == [1, 51]


def test_a_time_limit_leaves_most_of_what_is_left_of_it_for_the_training() -> None:
    assert RunOptions().prepared_by() is None
    now = time.monotonic()
    assert RunOptions(max_seconds=100.0).prepared_by() == pytest.approx(now + 40, abs=1)
    assert RunOptions(max_seconds=100.0, since=now - 50).prepared_by() == pytest.approx(now + 20, abs=1)
    assert RunOptions(max_seconds=100.0, since=now - 500).prepared_by() == pytest.approx(now, abs=1)


def test_a_share_of_the_teachers_pixels_is_the_noisy_photos_own() -> None:
    chosen = settings(teacher_share=1.0, teacher_crops=2, recharge=4)
    chosen_objective = objective(chosen, teacher=lambda crop: torch.full_like(crop, 2.0))
    _, target, _, known, _ = chosen_objective._draw(8, 1, 0)
    assert known.eq(0).all()
    assert float(target.ne(2.0).all(1).float().mean()) == pytest.approx(1 / 4, abs=0.03)


def test_each_crop_has_its_own_noise_table() -> None:
    chosen_objective = objective(
        settings(least_sigma=10, most_sigma=20, unconditioned_share=0, noise_error=0, adapted_share=0, told="truth")
    )
    noisy, clean, _, _, table = chosen_objective._draw(4, 1, 0)
    assert torch.equal(table, noise_tables(noisy, clean, torch.ones(1, 1, 1, 1)))


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_student_is_told_what_the_estimator_says_of_stored_shots(tmp_path: Path, share: float) -> None:
    chosen = settings(shots_share=share, teacher_share=0, unconditioned_share=0, noise_error=0.5)
    taught = StudentObjective(Material(SHARP, SHARP, shots=stored_shots(tmp_path)), chosen)
    noisy, clean, fine, known, table = taught._draw(6, 1, 0)
    of_shots = known.flatten() == 0
    assert of_shots.any()
    assert of_shots.all() == (share == 1)
    # An exposure and white noise on top change what is told as they change the noise.
    assert float(table[of_shots].min()) > 3
    assert (table[~of_shots] < 1).all()
    assert torch.allclose(halved(fine)[of_shots], clean[of_shots], atol=1e-6)
    assert noisy.shape == clean.shape == (6, 3, 32, 32)


def test_photos_are_shrunk_but_never_below_a_crop() -> None:
    photo = np.full((100, 300, 3), 90, np.uint8)
    (shrunk,) = shrunk_to_sharp([photo], 2.0, 64)
    assert shrunk.shape == (64, 192, 3)
    (halved,) = shrunk_to_sharp([photo], 2.0, 40)
    assert halved.shape == (50, 150, 3)
    assert (shrunk == 90).all()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 numbers of pairs for 2 levels"):
        settings(pairs=(1,))
    with pytest.raises(ValueError, match="least_sigma = 5 is above most_sigma = 2"):
        settings(least_sigma=5, most_sigma=2)
