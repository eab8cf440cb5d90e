"""A camera's own noise: cut out of its photos, put onto other pictures, learnt from, and judged by."""

from collections import Counter

import numpy as np
import pytest
import torch
from noisy_photos import clean_scene, noisy_scene
from small_student import SIZES
from torch import nn

from nsp_pipeline.calibration.simulation.camera_noise import halved
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.simulation.real_noise import SIDE, PhotoNoise
from nsp_pipeline.calibration.student import own_noise
from nsp_pipeline.calibration.student.objective import Ahead
from nsp_pipeline.calibration.student.own_judge import FLAT, TEXTURED
from nsp_pipeline.calibration.student.own_noise import OwnNoiseObjective
from nsp_pipeline.calibration.student.own_photos import look_at
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.judge import compare
from nsp_pipeline.core.noise import UNKNOWN
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.noise.estimate import estimate_noise

SIGMA = 12.0
PHOTOS = [noisy_scene(seed, 224, 256, SIGMA) for seed in range(2)]


class Mixed(Backbone):
    """Stands for a student: so much of a 9×9 mean, and the rest of the photo as it is."""

    blind, noise_conditioned, scale, multiple, halo = False, True, 2, 4, 8

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def cell_means(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        mean = nn.functional.avg_pool2d(image, 9, stride=1, padding=4, count_include_pad=False)
        return self.share * mean + (1 - self.share) * image


def settings(**changes: object) -> StudentSettings:
    small = {"channels": SIZES["channels"], "pairs": SIZES["pairs"], "crop": 32, "batch": 4, "noise_kinds": "photos"}
    return StudentSettings.model_validate({**small, "teacher_crops": 2, **changes})


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in {"WINDOWS": 4, "JUDGED_WINDOWS": 2, "JUDGED": 12, "JUDGED_SIDE": 96}.items():
        monkeypatch.setattr(own_noise, name, count)


@pytest.fixture(scope="module")
def noise() -> PhotoNoise:
    photo, clean = (
        torch.from_numpy(part / np.float32(255)).permute(2, 0, 1).float() for part in (PHOTOS[0], clean_scene(224, 256))
    )
    found = PhotoNoise.of([(photo, clean)], estimate_noise(PHOTOS[0]))
    assert found
    return found


def test_noise_out_of_a_photo_is_as_strong_and_as_white_as_the_photos_own(noise: PhotoNoise) -> None:
    clean = torch.full((1, 3, 200, 168), 0.5)
    drawn = noise.draw(clean, np.random.default_rng(0))
    assert drawn.shape == clean.shape
    assert 255 * float(drawn.std()) == pytest.approx(SIGMA, rel=0.06)
    assert float((drawn[..., 1:] * drawn[..., :-1]).mean() / drawn.var()) == pytest.approx(0, abs=0.03)
    for part, where in ((slice(SIDE - 8, SIDE), "where pieces overlap"), (slice(0, 4), "at the border")):
        assert 255 * float(drawn[..., part].std()) == pytest.approx(SIGMA, rel=0.12), where


def test_a_photo_without_a_flat_place_shows_no_noise() -> None:
    stripes = np.repeat(np.random.default_rng(0).integers(0, 2, (256, 256, 1)) * np.uint8(200) + 20, 3, 2).astype(
        np.uint8
    )
    piece = torch.from_numpy(stripes).permute(2, 0, 1).float() / 255
    assert PhotoNoise.of([(piece, piece)], estimate_noise(stripes)) is None
    with pytest.raises(UsageError, match="the noise of these photos cannot be measured: none has enough flat places"):
        OwnNoiseObjective(([stripes], []), settings(), UNet(**SIZES))


def test_crops_carry_the_noise_and_the_table_that_the_photo_is_told_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_noise, "MOST_KEPT", (1.5, 0.0))
    chosen = settings(unconditioned_share=0, noise_error=0, unshrunk_share=0.5, simulated_share=0)
    made = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0))
    noisy, clean, sharp, known, told = made._draw(16, 1, 0)
    assert noisy.shape == clean.shape == (16, 3, 32, 32)
    assert sharp.shape == (16, 3, 64, 64)
    assert 0 < float(known.mean()) < 1, "some are shrunk, and have finer detail than their crop, and some are not"
    # Grey and colour noise together, told for middle brightness; where it is faint, 8 bits add to it.
    stated = (told[:, 0, 2:6].mean(1) ** 2 + told[:, 2, 2:6].mean(1) ** 2).sqrt()
    ratios = ((noisy - clean) ** 2).mean((1, 2, 3)).sqrt() / stated
    assert float(ratios.min()) > 0.85, "as strong as told, or stronger in texture"
    assert float(ratios.max()) < 2.6
    assert float(stated.max() / stated.min()) > 2, "faint noise is met as well"
    again = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0))._draw(16, 1, 0)
    assert all(torch.equal(one, other) for one, other in zip((noisy, told), (again[0], again[4]), strict=True))


def test_the_colour_noise_of_crops_may_be_stronger_still_in_texture() -> None:
    chosen = settings(unconditioned_share=0, noise_error=0, unshrunk_share=0.5, simulated_share=0)
    noisy, clean, _, _, told = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0))._draw(32, 1, 0)
    noise = noisy - clean
    grey, colour = (
        part.square().mean((1, 2, 3)).sqrt() / told[:, row, 2:6].mean(1)
        for row, part in ((0, noise.mean(1, keepdim=True)), (2, noise - noise.mean(1, keepdim=True)))
    )
    assert float(grey.max()) < 2.6
    assert float((colour / grey).max()) > 1.5, "far beyond what white noise varies by"
    assert float((colour / grey).median()) < 1.3, "elsewhere they are as told"


def test_when_the_time_is_up_no_more_is_looked_at_than_one_photo_that_shows_its_noise() -> None:
    drawing = np.full((224, 256, 3), 90, np.uint8)
    for photos, most in (([*PHOTOS, *PHOTOS], 1), ([drawing, drawing, PHOTOS[0]], 3)):
        seen = look_at(photos, Mixed(1.0), 12, np.random.default_rng(0), by=0.0)
        assert len(seen) <= most
        assert [len(photo.pieces) for photo in seen] == [1] * len(seen)
        assert seen[-1].noise
    chosen = settings(teacher_share=1.0, teacher_crops=50)
    asked: list[torch.Tensor] = []

    def teacher(crop: torch.Tensor) -> torch.Tensor:
        asked.append(crop)
        return crop

    made = OwnNoiseObjective((PHOTOS, PHOTOS[:1]), chosen, Mixed(1.0), teacher=teacher, by=0.0)
    assert len(asked) == 1
    assert made.judged_crops == 24, "whatever the time, there is something to judge by"


def test_half_of_the_crops_have_the_noise_of_simulated_cameras_and_a_table_of_their_own() -> None:
    chosen = settings(
        unconditioned_share=0, noise_error=0, simulated_share=1.0, clean_share=0, adapted_share=0, unshrunk_share=0
    )
    exact = chosen.model_copy(update={"told": "truth"})
    noisy, clean, sharp, known, told = OwnNoiseObjective((PHOTOS, []), exact, Mixed(1.0))._draw(12, 1, 0)
    assert known.eq(1).all()
    assert torch.allclose(halved(sharp), clean, atol=1e-5)
    truth = noise_tables(noisy, clean, torch.ones(1, 1, 1, 1))
    assert torch.equal(told, truth)
    as_large = exact.model_copy(update={"unshrunk_share": 0.5})
    *_, known, _ = OwnNoiseObjective((PHOTOS, []), as_large, Mixed(1.0))._draw(12, 1, 0)
    assert 0 < float(known.mean()) < 1, "pictures as large as the photos have nothing finer"
    *_, estimated = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0))._draw(12, 1, 0)
    apart = (estimated / truth.clamp_min(1e-5)).log().abs()[truth > 1 / 255]
    assert 0.01 < float(apart.median()) < 0.5, "told with the estimator's errors"


@pytest.mark.parametrize("told", ["truth", "estimate"])
def test_nothing_is_told_of_some_crops_and_one_error_is_put_on_the_others(told: str) -> None:
    chosen = settings(unconditioned_share=0.5, simulated_share=0.5, told=told)
    *_, tables = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0))._draw(64, 1, 0)
    unknown = (tables == UNKNOWN).all((1, 2))
    assert 0.3 < float(unknown.float().mean()) < 0.7
    assert (tables[~unknown] >= 0).all()


def test_a_teacher_makes_targets_for_the_photos_themselves() -> None:
    chosen = settings(teacher_share=1.0, recharge=4)
    made = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0), teacher=lambda crop: torch.full_like(crop, 2.0))
    noisy, target, _, known, _ = made._draw(8, 1, 0)
    assert known.eq(0).all()
    assert float(target.ne(2.0).all(1).float().mean()) == pytest.approx(1 / 4, abs=0.04)
    assert 255 * float((noisy - noisy.mean((2, 3), keepdim=True)).std()) > 0.9 * SIGMA


class Anywhere(torch.Generator):
    """Draws for any device."""

    def __new__(cls, device: str = "cpu") -> "Anywhere":
        return super().__new__(cls)


@pytest.mark.parametrize("simulated_noise", ["cameras", "any"])
def test_crops_are_cut_and_noise_is_laid_on_the_device_that_is_trained_on(
    monkeypatch: pytest.MonkeyPatch, simulated_noise: str
) -> None:
    """A device that only knows shapes stands for a GPU: it refuses whatever lies elsewhere."""
    chosen = settings(simulated_share=0.4, simulated_noise=simulated_noise, teacher_share=0.3)
    seen = look_at(PHOTOS, Mixed(1.0), 4, np.random.default_rng(0))
    back = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda part: torch.full(part.shape, 0.5) if part.is_meta else back(part))
    monkeypatch.setattr(torch, "Generator", Anywhere)
    monkeypatch.setattr(own_noise, "look_at", lambda photos, *_: seen if photos else [])
    made = OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0), "meta", teacher=lambda crop: crop)
    laid = []

    def note(clean: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        laid.append(clean.device.type)
        return with_noise(clean, rng)

    with_noise = made._with_noise
    monkeypatch.setattr(made, "_with_noise", note)
    crops = made._draw(24, 1, 0)
    assert len(laid) > 4
    assert {*laid, *(part.device.type for part in crops)} == {"meta"}
    assert [part.shape for part in crops] == [part.shape for part in on_the_processor(chosen)._draw(24, 1, 0)]


def on_the_processor(chosen: StudentSettings) -> OwnNoiseObjective:
    return OwnNoiseObjective((PHOTOS, []), chosen, Mixed(1.0), teacher=lambda crop: crop)


def test_however_many_steps_are_drawn_at_once_each_has_its_own_crops() -> None:
    drawn = Counter[int]()

    def draw(batch: int, step: int, rank: int) -> list[torch.Tensor]:
        drawn[step] += 1
        return [torch.full((batch,), 10.0 * step + rank)]

    ahead = Ahead(draw, 3)
    for step in (1, 2, 3, 7, 8):
        (crops,) = ahead.take(2, step, 1)
        assert crops.tolist() == [10.0 * step + 1] * 2
    ahead._pool.shutdown()
    assert drawn == Counter(range(1, 12)), "none twice, and none but the next"


@pytest.mark.parametrize(("share", "accepted"), [(0.6, False), (0.85, False), (0.97, True)])
def test_who_takes_more_of_the_noise_away_is_better_and_who_leaves_it_is_not(share: float, accepted: bool) -> None:
    made = OwnNoiseObjective((PHOTOS[:1], PHOTOS[1:]), settings(), Mixed(0.85))
    assert made.judged_crops == 24
    base, other = made.judge(Mixed(0.85)), made.judge(Mixed(share))
    assert base is not None
    assert other is not None
    assert np.abs(base.mse).max() < 1e-5, "beside itself a network gains nothing"
    verdict = compare(other, base)
    assert verdict.accepted is accepted
    assert bool(verdict.gain > 1) is accepted
    assert bool(other.others[FLAT].mean() < -1) is accepted
    assert set(other.others) == {FLAT, TEXTURED}


def test_the_pictures_are_of_a_photo_kept_out_before_and_after() -> None:
    made = OwnNoiseObjective((PHOTOS[:1], PHOTOS[1:]), settings(), Mixed(0.6))
    ((noisy, before, after),) = made.previews(Mixed(1.0))
    assert noisy.shape == before.shape == after.shape == (96, 96, 3)
    levels = [float(np.abs(np.diff(part, axis=1)).mean()) for part in (noisy, before, after)]
    assert levels[0] > 1.5 * levels[1] > 3 * levels[2]
