"""DBSN is blind where it must be, sees as far as it says, and computes the same with its masks folded in."""

import pytest
import torch

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.models.dbsn import Dbsn
from nsp_pipeline.models.registry import build_backbone, load_backbone

SKIPS = pytest.mark.parametrize("local_mean_skip", [True, False])


def small(local_mean_skip: bool, modules: int = 2) -> Dbsn:
    torch.manual_seed(0)
    return Dbsn(base_channels=8, modules=modules, local_mean_skip=local_mean_skip).double()


@SKIPS
def test_no_output_of_a_cell_depends_on_its_own_input_pixel(local_mean_skip: bool) -> None:
    """Every pixel of a small image, so every border and corner too; every channel of every output pixel."""
    height, width = 7, 8
    network = small(local_mean_skip)
    image = torch.rand(1, 3, height, width, dtype=torch.double, requires_grad=True)
    output = network(image)
    for y in range(height):
        for x in range(width):
            cell = output[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flatten()
            for value in cell:
                (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
                assert gradient[0, :, y, x].eq(0).all(), f"cell ({y}, {x}) sees its own pixel"
                assert gradient.ne(0).any()


@SKIPS
def test_changing_a_pixel_leaves_its_own_cell_bit_for_bit(local_mean_skip: bool) -> None:
    network = small(local_mean_skip).float()
    image = torch.rand(1, 3, 16, 16)
    changed = image.clone()
    changed[0, :, 5, 9] = 1000.0
    with torch.inference_mode():
        before, after = network(image), network(changed)

    assert torch.equal(before[..., 10:12, 18:20], after[..., 10:12, 18:20])
    assert not torch.equal(before, after)


@SKIPS
def test_halo_is_exactly_as_far_as_the_network_sees(local_mean_skip: bool) -> None:
    network = small(local_mean_skip, modules=1)
    side = 2 * network.halo + 5
    centre = side // 2
    image = torch.rand(1, 3, side, side, dtype=torch.double, requires_grad=True)
    cell = network(image)[..., 2 * centre : 2 * centre + 2, 2 * centre : 2 * centre + 2]
    (gradient,) = torch.autograd.grad(cell.sum(), image)
    distances = (gradient[0].abs().sum(0).nonzero() - centre).abs()

    assert int(distances.max()) == network.halo


def test_folding_the_masks_changes_nothing() -> None:
    network = small(True).float().eval()
    image = torch.rand(1, 3, 20, 24)
    with torch.inference_mode():
        assert torch.equal(network(image), network.folded()(image))
    assert not any(key.endswith("mask") for key in network.folded().state_dict())


def test_full_size_has_the_papers_number_of_weights() -> None:
    """3.75 M parameters (paper, Table 1)."""
    weights = sum(parameter.numel() for parameter in Dbsn(local_mean_skip=False).parameters())

    assert round(weights / 1e6, 2) == 3.75


def test_state_dict_has_the_published_key_layout() -> None:
    keys = set(Dbsn(base_channels=8, modules=9, local_mean_skip=False).state_dict())
    branch = {"body.0.mask", *(f"body.{i}.{p}" for i in (0, 2, 4, 15) for p in ("weight", "bias"))}
    branch |= {f"body.{i}.body.{j}.{p}" for i in range(6, 15) for j in (0, 2) for p in ("weight", "bias")}
    expected = {f"branch{k}.{key}" for k in (1, 2) for key in branch}
    expected |= {f"tail.{i}.{p}" for i in (0, 2, 5, 7, 9) for p in ("weight", "bias")} | {
        "head.0.weight",
        "head.0.bias",
    }

    assert keys == expected


def test_unknown_backbones_and_sizes_are_refused() -> None:
    with pytest.raises(ProfileError, match="'resnet' is not known here; known: dbsn"):
        build_backbone("resnet", {})
    with pytest.raises(ProfileError, match="does not take these sizes"):
        build_backbone("dbsn", {"depth": 3})
    with pytest.raises(ProfileError, match="weights do not fit"):
        load_backbone("dbsn", {"base_channels": 8}, b"not safetensors")
