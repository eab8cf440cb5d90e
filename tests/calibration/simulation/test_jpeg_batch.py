"""JPEG's rounding of many crops at once is that of a real JPEG."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from nsp_pipeline.calibration.simulation.camera_noise import through_jpeg  # noqa: E402
from nsp_pipeline.calibration.simulation.jpeg_batch import through_jpeg_batch  # noqa: E402


def _picture(seed: int) -> Any:
    rng = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 8, generator=rng), size=(96, 128), mode="bicubic", align_corners=False
    )
    return (smooth + 0.03 * torch.randn(1, 3, 96, 128, generator=rng)).clamp(0, 1)


@pytest.mark.parametrize("quality", [60, 85, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_it_takes_away_as_much_as_a_file_does(quality: int, subsampling: str) -> None:
    image = _picture(quality)
    real = through_jpeg(image, quality, subsampling)
    ours = through_jpeg_batch(
        image, torch.full((1, 1, 1, 1), float(quality)), torch.full((1, 1, 1, 1), subsampling == "4:2:0")
    )
    assert float((ours - image).std()) == pytest.approx(float((real - image).std()), rel=0.03)
    assert float((ours - real).std()) < 0.35 * float((real - image).std()) + 1 / 255


def test_each_crop_has_a_quality_of_its_own() -> None:
    image = _picture(1).repeat(2, 1, 1, 1)
    fine, coarse = (
        through_jpeg_batch(image, torch.tensor([100.0, 30.0]).view(2, 1, 1, 1), torch.zeros(2, 1, 1, 1).bool()) - image
    )
    assert float(fine.std()) < 1 / 255 < 4 * float(fine.std()) < float(coarse.std())


def test_grey_stays_grey() -> None:
    image = _picture(2).mean(1, keepdim=True).repeat(1, 3, 1, 1)
    out = through_jpeg_batch(image, torch.full((1, 1, 1, 1), 80.0), torch.ones(1, 1, 1, 1).bool())
    assert float((out - out.mean(1, keepdim=True)).abs().max()) <= 1 / 255
