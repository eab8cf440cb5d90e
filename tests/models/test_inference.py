"""The ways to run a network: the whole image, PD, shifted grids, and blends."""

from itertools import product
from typing import Any

import pytest
import torch
from tiny import tiny_network
from torch.nn.functional import pad

from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.inference import Denoiser

WAYS: list[dict[str, Any]] = [
    {"pd_factor": 1},
    {"pd_factor": 1, "self_ensemble": 8},
    {"pd_factor": 2},
    {"pd_factor": 2, "shifted_grids": True},
    {"pd_factor": 2, "shifted_grids": True, "whole_share": 0.5},
]


def run(image: torch.Tensor, **way: Any) -> torch.Tensor:
    with torch.inference_mode():
        estimate: torch.Tensor = Denoiser(tiny_network(), **way)(image)
    return estimate


def picture(height: int = 64, width: int = 80) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))


def test_shifted_grids_are_the_mean_over_all_places_of_the_grid() -> None:
    image = picture()
    moved = []
    for down, right in product(range(2), repeat=2):
        wide = pad(image, (right, 2 - right, down, 2 - down), mode="reflect")
        moved.append(run(wide, pd_factor=2)[..., down : down + 64, right : right + 80])

    found = run(image, pd_factor=2, shifted_grids=True)

    # At the border the two make up different pixels beyond it.
    reach = 2 * tiny_network().halo + 4
    inner = (..., slice(reach, -reach), slice(reach, -reach))
    torch.testing.assert_close(found[inner], torch.stack(moved).mean(0)[inner])
    assert found[inner].numel()


def test_a_blend_is_between_its_parts() -> None:
    image = picture()
    without, shifted = run(image, pd_factor=1), run(image, pd_factor=2, shifted_grids=True)
    blend = run(image, pd_factor=2, shifted_grids=True, whole_share=0.25)
    torch.testing.assert_close(blend, 0.25 * without + 0.75 * shifted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("row", "column"), [(20, 20), (21, 20), (20, 21), (21, 21)])
def test_no_pixel_reaches_its_own_estimate(way: dict[str, Any], row: int, column: int) -> None:
    image = picture()
    changed = image.clone()
    changed[..., row, column] += 0.5
    before, after = run(image, **way), run(changed, **way)
    assert torch.equal(before[..., row, column], after[..., row, column])
    assert not torch.equal(before, after)


@pytest.mark.parametrize("way", WAYS)
def test_the_halo_is_far_enough_and_no_farther(way: dict[str, Any]) -> None:
    denoiser = Denoiser(tiny_network(), **way)
    image, halo, start = picture(96, 96), denoiser.halo, 40
    whole = run(image, **way)[..., start : start + 8, start : start + 8]

    def in_a_tile(halo: int) -> torch.Tensor:
        window = image[..., start - halo : start + 8 + halo, start - halo : start + 8 + halo]
        return run(window, **way)[..., halo : halo + 8, halo : halo + 8]

    assert denoiser.halo % denoiser.multiple == 0
    torch.testing.assert_close(in_a_tile(halo), whole, atol=1e-6, rtol=0)
    assert (in_a_tile(halo - denoiser.multiple) - whole).abs().max() > 1e-6


def test_other_factors_than_1_and_t_are_refused() -> None:
    with pytest.raises(UsageError, match="PD at inference by 3 is not possible for a network of scale 2"):
        Denoiser(tiny_network(), pd_factor=3)
