"""Noise tables of training crops are those that would be measured in photos."""

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, with_measurement_error
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN, measure_noise

EVERYWHERE = torch.ones(1, 1, 1, 1)
"""As noisy as flat places."""


def ramp(side: int = 512) -> torch.Tensor:
    """A smooth picture (1, 3, side, side) from dark to bright."""
    return torch.linspace(0.1, 0.9, side).expand(1, 3, side, side)


@pytest.mark.parametrize("colourful", [False, True])
def test_a_crop_s_table_is_the_one_measured_in_the_photo(colourful: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3 if colourful else 1, 512, 512, generator=rng).expand(1, 3, -1, -1)
    clean = ramp()
    noisy = clean + noise * (0.01 + 0.03 * clean)
    measured = measure_noise(noisy[0].permute(1, 2, 0).numpy()).table[0]
    (known,) = noise_tables(noisy, clean, EVERYWHERE).numpy()
    # Where the picture is: patches lie at brightness 0.12 to 0.88, and their ramp is taken for none of the noise.
    assert known[:, 2:6] == pytest.approx(measured[:, 2:6], rel=0.15, abs=1e-3)


def test_each_crop_has_its_own() -> None:
    clean = torch.full((2, 3, 64, 64), 0.5)
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tables = noise_tables(clean + noise * torch.tensor([0.01, 0.05]).view(2, 1, 1, 1), clean, EVERYWHERE)
    assert tables.shape == (2, TABLE_ROWS, TABLE_NODES)
    assert (tables[1] / tables[0]).numpy() == pytest.approx(5, rel=0.1)


def test_the_noise_table_holds_the_noise_of_flat_places() -> None:
    clean = torch.full((1, 3, 64, 64), 0.5)
    noise = 0.02 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    stronger = torch.linspace(1, 3, 64).view(1, 1, 1, 64)
    measured = noise_tables(clean + stronger * noise, clean, stronger)
    assert torch.allclose(measured, noise_tables(clean + noise, clean, EVERYWHERE), atol=1e-5)


def test_training_tables_have_an_error_or_are_unknown() -> None:
    tables = torch.full((400, TABLE_ROWS, TABLE_NODES), 0.02)
    measured = with_measurement_error(tables, np.random.default_rng(0), within=0.1, unknown_share=0.25)
    unknown = measured.eq(UNKNOWN).all(2).all(1)
    assert float(unknown.float().mean()) == pytest.approx(0.25, abs=0.06)
    assert float((measured[~unknown] / 0.02).log().std()) == pytest.approx(0.1, abs=0.01)
