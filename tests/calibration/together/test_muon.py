"""Muon: directions of equal size, and steps that go down."""

import pytest

torch = pytest.importorskip("torch")

from nsp_pipeline.calibration.together.muon import Muon, MuonWithAdam, kernels, orthogonal  # noqa: E402
from nsp_pipeline.models.unet import UNet  # noqa: E402


@pytest.mark.parametrize("shape", [(3, 8, 40), (3, 40, 8), (1, 16, 16)])
def test_matrices_become_nearly_orthogonal_with_their_own_directions(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    given = torch.randn(shape) * torch.tensor([1e-6, 1.0, 1e4])[: shape[0]].view(-1, 1, 1)
    made = orthogonal(given)
    for before, after in zip(given, made, strict=True):
        left, values, right = torch.linalg.svd(before, full_matrices=False)
        kept = values > 0.1 * values[0]
        along = torch.diagonal(left.mT @ after @ right.mT)[kept]
        assert float(along.min()) > 0.4
        assert float(along.max()) < 1.3
        assert float(torch.linalg.matrix_norm(after, 2)) < 1.3


def test_no_gradient_moves_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4, 3, 3))
    weight.grad = torch.zeros_like(weight)
    Muon([weight], 0.1).step()
    assert torch.equal(weight.detach(), torch.ones(4, 4, 3, 3))


def test_a_step_is_about_as_large_as_one_of_adam() -> None:
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.zeros(24, 16, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([weight], torch.tensor(1e-3)).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.18e-3, rel=0.15)


def test_it_finds_a_convolution_whose_inputs_are_of_very_different_size_sooner_than_adam() -> None:
    left = {}
    for name in ("muon", "adam"):
        torch.manual_seed(3)
        sizes = torch.logspace(-2, 0, 8).view(1, 8, 1, 1)
        turn = torch.linalg.qr(torch.randn(8, 8))[0]
        wanted, made = (torch.nn.Conv2d(8, 8, 3, bias=False) for _ in range(2))
        optimizer = Muon([made.weight], 0.02) if name == "muon" else torch.optim.Adam(made.parameters(), 0.02)
        for _ in range(150):
            given = torch.einsum("kc,bchw->bkhw", turn, torch.randn(8, 8, 12, 12) * sizes)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(made(given), wanted(given).detach()).backward()
            optimizer.step()
        left[name] = float((made.weight - wanted.weight).square().mean().detach())
    assert left["muon"] < left["adam"]


def test_kernels_are_those_between_features() -> None:
    network = UNet((8, 16), (1, 1), 2, True)
    found = {id(part) for part in kernels(network)}
    names = {name for name, part in network.named_parameters() if id(part) in found}
    assert {"down.0.weight", "up.0.weight", "levels.0.0.body.0.weight", "after.0.body.2.weight"} <= names
    assert all("head" not in name and "tail" not in name and "bias" not in name for name in names)


def test_with_adam_all_of_a_network_moves() -> None:
    torch.manual_seed(4)
    network = UNet((8, 16), (1, 1), 2)
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    optimizer = MuonWithAdam(network, 1e-3)
    before = [part.detach().clone() for part in network.parameters()]
    for _ in range(2):
        optimizer.zero_grad()
        (network(torch.rand(1, 3, 16, 16)) - 0.6).square().mean().backward()
        optimizer.step()
    assert all(not torch.equal(part, old) for part, old in zip(network.parameters(), before, strict=True))
