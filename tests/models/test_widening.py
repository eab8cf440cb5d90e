"""A wider network starts where a narrower one was, and its new channels can learn."""

import pytest
import torch

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.models.registry import build_backbone
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.models.widening import can_widen, widen

TABLE = torch.full((1, TABLE_ROWS, TABLE_NODES), 0.03)


def student(*channels: int, pairs: tuple[int, ...] = (1, 1, 2)) -> UNet:
    torch.manual_seed(3)
    network = UNet(channels, pairs, 2, noise_conditioned=True).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    return network


@pytest.mark.parametrize("channels", [(8, 12, 16), (12, 12, 16), (8, 20, 16), (12, 16, 24)])
def test_it_gives_what_the_narrower_one_gives(channels: tuple[int, ...]) -> None:
    narrow, wide = student(8, 12, 16), student(*channels)
    image = torch.rand(2, 3, 32, 40)
    with torch.inference_mode():
        assert channels == (8, 12, 16) or not torch.allclose(wide(image, TABLE), narrow(image, TABLE), atol=1e-3)
    widen(narrow, wide)
    with torch.inference_mode():
        assert torch.allclose(wide(image, TABLE), narrow(image, TABLE), atol=1e-5)
        assert torch.allclose(wide.cell_means(image, TABLE), narrow.cell_means(image, TABLE), atol=1e-5)


def test_its_new_channels_learn_from_the_first_step() -> None:
    narrow, wide = student(8, 12, 16), student(12, 12, 16)
    widen(narrow, wide)
    wide(torch.rand(1, 3, 32, 32), TABLE).square().mean().backward()
    assert wide.tail.weight.grad is not None
    assert (wide.tail.weight.grad[:, 8:].abs().amax((0, 2, 3)) > 0).all()


def test_one_that_is_narrower_anywhere_or_built_otherwise_cannot_be_filled() -> None:
    narrow = student(8, 12, 16)
    assert can_widen(narrow, student(12, 12, 16))
    assert not can_widen(narrow, student(12, 8, 16))
    assert not can_widen(narrow, student(8, 12, 16, pairs=(1, 1, 1)))
    assert not can_widen(
        narrow, build_backbone("dbsn", {"base_channels": 8, "modules": 1, "scale": 2, "local_mean_skip": True})
    )


def test_a_network_that_joins_branches_is_not_widened() -> None:
    sizes = {"modules": 1, "scale": 2}
    narrow, wide = (build_backbone("dbsn", {**sizes, "base_channels": width}) for width in (4, 6))
    assert not can_widen(narrow, wide)
