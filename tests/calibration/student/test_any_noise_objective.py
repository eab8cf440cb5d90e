"""A base is taught on clean pictures with noise of any kind, at the photo's own size, and resumes to the last bit."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_photos import clean_scene
from stored_shots import stored_shots
from torch import nn
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.student import any_noise_objective
from nsp_pipeline.calibration.student.any_noise_objective import JUDGED, WHITE, AnyNoiseObjective
from nsp_pipeline.calibration.student.distill import Sources, distill
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.log import read_log
from nsp_pipeline.calibration.training.loop import RunOptions, Trained, train
from nsp_pipeline.calibration.training.photos import Photo, PhotoSet
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.models.registry import build_backbone

PHOTOS = [clean_scene(420, 520).astype(np.uint8)]


@pytest.fixture(autouse=True)
def _small_judged_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging whole crops takes longer than the trainings here."""
    monkeypatch.setattr(any_noise_objective, "JUDGED_SIDE", 64)


def settings(**changes: object) -> StudentSettings:
    small = {"channels": (8, 12), "pairs": (1, 1), "crop": 32, "batch": 4, "steps": 12, "judge_every": 4}
    return StudentSettings.model_validate({"noise_kinds": "any", "schedule": "trapezoid", **small, **changes})


def objective(chosen: StudentSettings, held_out: list[np.ndarray] = PHOTOS) -> AnyNoiseObjective:
    return AnyNoiseObjective(PHOTOS, held_out, chosen)


class Recorder(nn.Module):
    """Stands for a network: keeps what it is given and returns it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        self.seen.append((image, noise))
        return image


def test_it_learns_to_take_noise_away() -> None:
    chosen = settings(steps=250, batch=8, learning_rate=1e-2, ema_decay=0.95, judge_every=250)
    taught = objective(chosen)
    before = taught.judge(build_backbone("unet", chosen.backbone_sizes))
    trained = train(taught, chosen)
    assert before is not None
    assert trained.judgement is not None
    assert trained.judgement.mean < 0.95 * before.mean
    for sigma in WHITE:
        assert trained.judgement.psnr[f"white_{sigma}"] > before.psnr[f"white_{sigma}"] + 0.4


def test_an_untrained_network_leaves_white_noise_as_strong_as_it_is() -> None:
    chosen = settings()
    judged = objective(chosen).judge(build_backbone("unet", chosen.backbone_sizes))
    assert judged is not None
    assert len(judged.mse) == (1 + len(WHITE)) * JUDGED
    for sigma in WHITE:
        # Of the scene a little is black or white, where clipping takes some of the noise.
        assert judged.psnr[f"white_{sigma}"] == pytest.approx(20 * np.log10(255 / sigma), abs=0.3)


def test_crops_follow_from_the_step_whatever_came_before() -> None:
    straight, jumped = Recorder(), Recorder()
    taught = objective(settings())
    for step in (1, 2, 3):
        taught.loss(straight, 4, step, 0)
    objective(settings()).loss(jumped, 4, 3, 0)
    assert all(torch.equal(one, other) for one, other in zip(straight.seen[2], jumped.seen[0], strict=True))
    assert not torch.equal(straight.seen[1][0], straight.seen[2][0])


def test_each_process_sees_crops_of_its_own() -> None:
    recorder = Recorder()
    taught = objective(settings())
    taught.loss(recorder, 4, 1, 0)
    taught.loss(recorder, 4, 1, 1)
    assert not torch.equal(recorder.seen[0][0], recorder.seen[1][0])


def test_what_is_stepped_is_the_mean_of_what_the_network_gives() -> None:
    chosen = settings()
    network = build_backbone("unet", chosen.backbone_sizes)
    for part in network.parameters():
        nn.init.normal_(part, std=0.1)
    image, table = torch.rand(2, 3, 32, 32), torch.full((2, 4, 8), 0.05)
    with torch.inference_mode():
        means = objective(chosen).stepped(network)(image, table)
        assert torch.allclose(means, avg_pool2d(network(image, table), 2), atol=1e-5)


def run(folder: Path, *, resume: bool = False, stop_after: int | None = None) -> Trained:
    folder.mkdir(exist_ok=True)
    done: list[object] = []
    options = RunOptions(
        folder=folder,
        resume=resume,
        on_step=done.append,
        should_stop=lambda: stop_after is not None and len(done) >= stop_after,
    )
    chosen = settings(cooldown=0.5)
    return train(objective(chosen), chosen, run=options)


def test_a_trapezoid_resumes_to_the_last_bit_before_and_in_its_fall(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    for stop in (4, 8):
        run(tmp_path / f"cut-{stop}", stop_after=stop)
        resumed = run(tmp_path / f"cut-{stop}", resume=True)
        weights = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in weights), stop
        assert resumed.steps == 12


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_of_stored_shots_a_base_is_told_what_the_estimator_says(tmp_path: Path, share: float) -> None:
    chosen = settings(shots_share=share, unconditioned_share=0, noise_error=0.5)
    taught = AnyNoiseObjective(PHOTOS, PHOTOS, chosen, shots=stored_shots(tmp_path))
    recorder = Recorder()
    taught.loss(recorder, 8, 1, 0)
    ((noisy, told),) = recorder.seen
    # An exposure and white noise on top change what is told as they change the noise.
    of_shots = told.amin((1, 2)) > 3
    assert noisy.shape == (8, 3, 32, 32)
    assert of_shots.any()
    assert of_shots.all() == (share == 1)
    assert (told[~of_shots] < 1).all()


def test_a_training_goes_on_with_the_same_store_only(tmp_path: Path) -> None:
    store = stored_shots(tmp_path)
    assert store.identity in AnyNoiseObjective(PHOTOS, PHOTOS, settings(), shots=store).photos
    assert store.identity not in objective(settings()).photos


def test_the_log_says_pixels_processor_hours_and_what_is_left_of_white_noise(tmp_path: Path) -> None:
    began = time.process_time()
    run(tmp_path / "t", stop_after=8)
    run(tmp_path / "t", resume=True)
    used = time.process_time() - began
    rows = read_log(tmp_path / "t")
    assert [float(row["megapixels"]) for row in rows] == [step * 4 * 32**2 / 1e6 for step in (4, 8, 12)]
    hours = [float(row["processor_hours"]) for row in rows]
    assert 0 < hours[0] < hours[1] < hours[2] <= used / 3600
    for sigma in WHITE:
        assert all(15 < float(row[f"white_{sigma}"]) < 40 for row in rows)


def photo_set(side: int, count: int) -> PhotoSet:
    photos = [
        Photo(Path(f"{number}.png"), clean_scene(side, side + 40).astype(np.uint8), Camera()) for number in range(count)
    ]
    return PhotoSet(photos[1:], photos[:1], [])


def test_a_base_takes_no_noisy_photos(tmp_path: Path) -> None:
    noisy = Sources(clean=photo_set(480, 3), noisy=photo_set(480, 3))
    with pytest.raises(UsageError, match="--clean photos and --shots"):
        distill(noisy, settings(), tmp_path / "b.nsp", origin=None, make_onnx=None)  # type: ignore[arg-type]


def test_photos_too_small_to_be_shrunk_are_refused_with_the_size_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"80 as it is"):
        distill(Sources(clean=photo_set(70, 3)), settings(), tmp_path / "b.nsp", origin=None, make_onnx=None)  # type: ignore[arg-type]
