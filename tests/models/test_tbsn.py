"""TBSN is what was published, blind but for its channel weights, and exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import pad

from nsp_export.attention_ops import use_operators
from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.calibration.next_scale.settings import INPUT_MULTIPLE, NextScaleSettings
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.models import tbsn_attention
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.registry import BACKBONES, build_backbone
from nsp_pipeline.models.tbsn import Tbsn, phase_shuffle, phase_unshuffle
from nsp_pipeline.models.tbsn_attention import WindowAttention
from nsp_pipeline.recipe import load_recipe


def small(**sizes: Any) -> Tbsn:
    """One block a level; its output layer loud enough that a value in 0..1 matters."""
    torch.manual_seed(0)
    network = Tbsn(**{"channels": 8, "blocks": (1, 1, 1), "refinement_blocks": 1, "head_dim": 4, **sizes}).eval()
    with torch.no_grad():
        last = network.output[-1]
        assert isinstance(last, nn.Conv2d)
        last.weight.mul_(500)
    return network


@pytest.fixture
def frozen_channel_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channel attention with weights that carry no gradient and do not change from image to image."""

    def even(query: torch.Tensor, key: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
        rng = torch.Generator().manual_seed(query.shape[1])
        weights = torch.rand(1, query.shape[1], key.shape[1], generator=rng, dtype=query.dtype)
        return weights.softmax(-1).expand(len(query), -1, -1)

    monkeypatch.setattr(tbsn_attention, "channel_weights", even)


def own_cell_gradients(network: Tbsn, places: list[tuple[int, int]]) -> tuple[float, float]:
    """Largest gradient of an output cell with respect to its own pixel, and with respect to any other."""
    image = torch.rand(1, 3, 32, 32, dtype=torch.double, requires_grad=True)
    output = network(image)
    own = others = 0.0
    for y, x in places:
        for value in output[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flatten():
            (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
            size = gradient[0].abs()
            own = max(own, size[:, y, x].max().item())
            size[:, y, x] = 0.0
            others = max(others, size.max().item())
    return own, others


CORNERS_AND_INSIDE = [(0, 0), (31, 31), (0, 17), (7, 8), (15, 16), (20, 13)]


@pytest.mark.usefixtures("frozen_channel_weights")
def test_without_channel_attention_no_pixel_reaches_its_own_cell() -> None:
    own, others = own_cell_gradients(small().double(), CORNERS_AND_INSIDE)

    assert own == 0.0
    assert others > 1e-3


@pytest.mark.usefixtures("frozen_channel_weights")
def test_changing_a_pixel_leaves_its_own_cell_bit_for_bit() -> None:
    network = small()
    image = torch.rand(1, 3, 32, 64)
    changed = image.clone()
    changed[0, :, 5, 9] = 100.0
    with torch.inference_mode():
        before, after = network(image), network(changed)

    assert torch.equal(before[..., 10:12, 18:20], after[..., 10:12, 18:20])
    assert not torch.equal(before, after)


def test_the_pooled_channel_weights_leak_little() -> None:
    """They are sums over all positions, the pixel's own among them: not blind in the strict sense, and documented."""
    own, others = own_cell_gradients(small().double(), [(15, 16), (0, 0)])

    assert 0.0 < own < 0.05 * others


def test_every_output_depends_on_the_whole_image() -> None:
    """Why tiles are blended and not exact."""
    network = small()
    image = torch.rand(1, 3, 64, 64)
    changed = image.clone()
    changed[..., 56:, 56:] = 0.0
    with torch.inference_mode():
        difference = (network(image) - network(changed))[..., :16, :16].abs().max()

    assert difference > 0
    assert network.tiling == "blended"
    assert network.tile == 128


def masked_attention(layer: WindowAttention, features: torch.Tensor) -> torch.Tensor:
    """Window attention as it is described: 64 queries, 144 keys, a mask of -inf, one window after the other."""
    heads, d = layer.project_out.in_channels // layer.head_dim, layer.head_dim
    query, key, value = layer.qkv(features)[0].unflatten(0, (3, heads, d))
    key, value = pad(key, (2, 2, 2, 2)), pad(value, (2, 2, 2, 2))
    place = torch.arange(12)[None] - torch.arange(8)[:, None] + 11
    rows, columns = layer.rel_pos_emb.rel_height[place], layer.rel_pos_emb.rel_width[place]
    result = torch.zeros_like(query)
    for top in range(0, query.shape[2], 8):
        for left in range(0, query.shape[3], 8):
            q = query[:, :, top : top + 8, left : left + 8] * d**-0.5
            k, v = (part[:, :, top : top + 12, left : left + 12] for part in (key, value))
            logits = torch.einsum("hdyx,hdkl->hyxkl", q, k)
            logits = logits + torch.einsum("hdyx,ykd->hyxk", q, rows)[..., None]
            logits = logits + torch.einsum("hdyx,xld->hyxl", q, columns)[..., None, :]
            weights = (logits.flatten(3).flatten(1, 2) + layer.fixed_pos_emb.attention_mask).softmax(-1)
            mixed = torch.einsum("hqk,hdk->hdq", weights, v.flatten(2))
            result[:, :, top : top + 8, left : left + 8] = mixed.unflatten(2, (8, 8))
    projected: torch.Tensor = layer.project_out(result.flatten(0, 1)[None])
    return projected


def test_attending_phase_by_phase_is_what_masking_amounts_to() -> None:
    torch.manual_seed(0)
    layer = WindowAttention(12, heads=3, head_dim=5).double()
    features = torch.randn(1, 12, 16, 24, dtype=torch.double)

    with torch.inference_mode():
        torch.testing.assert_close(layer(features), masked_attention(layer, features), rtol=0, atol=1e-12)


def test_resizing_keeps_phases_and_goes_both_ways() -> None:
    rows = torch.arange(8.0)[:, None].expand(8, 12)
    image = torch.stack([rows, torch.arange(12.0).expand(8, 12)])[None]
    small_image = phase_unshuffle(image)

    assert small_image.shape == (1, 8, 4, 6)
    assert torch.equal(small_image[0, 0, :, 0], torch.tensor([0.0, 1.0, 4.0, 5.0]))
    assert torch.equal(small_image[0, 2, :, 0], torch.tensor([2.0, 3.0, 6.0, 7.0]))
    assert torch.equal(small_image[0, 5, 0], torch.tensor([2.0, 3.0, 6.0, 7.0, 10.0, 11.0]))
    assert torch.equal(phase_shuffle(small_image), image)


def test_it_computes_what_the_published_network_computes(shared_data: Path) -> None:
    """The pair was made with the authors' network, values in 0..255."""
    folder = shared_data.parent / "parity"
    if not folder.is_dir():
        pytest.skip(f"no parity pairs at {folder}")
    network = Tbsn(channels=16, blocks=(1, 1, 1), refinement_blocks=1, head_dim=8).eval()
    network.load_state_dict(torch.load(folder / "tbsn_d16.pth", weights_only=True))
    pair = np.load(folder / "tbsn_d16.npz")
    with torch.inference_mode():
        result = 255 * network(torch.from_numpy(pair["x"]) / 255).numpy()

    assert np.abs(result - pair["y"]).max() < 1e-5 * np.abs(pair["y"]).max()


def test_folding_the_masks_changes_nothing() -> None:
    network = small()
    image = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(network(image), network.folded()(image))
    assert not any("mask" in key for key in network.folded().state_dict())
    assert any("mask" in key for key in network.state_dict())


def test_full_size_has_the_papers_number_of_weights() -> None:
    """12.77 M parameters (paper, Table 1)."""
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Tbsn().parameters())

    assert round(weights / 1e6, 2) == 12.77


def test_the_papers_recipe_gives_the_papers_network() -> None:
    settings = NextScaleSettings.model_validate(
        load_recipe("paper-sidd-tbsn", "calibrate", NextScaleSettings.model_fields)
    )
    with torch.device("meta"):
        network = build_backbone(settings.backbone, settings.backbone_sizes)

    assert sum(parameter.numel() for parameter in network.parameters()) == 12_766_148
    assert (settings.s, settings.t, settings.n, settings.crop, settings.batch) == (5, 2, 1, 160, 16)
    assert (settings.learning_rate, settings.schedule, settings.steps) == (1e-4, "constant", 750 * 400)
    assert NextScaleSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_settings_know_what_each_backbone_takes() -> None:
    for name, multiple in INPUT_MULTIPLE.items():
        assert BACKBONES[name].multiple == multiple
    with pytest.raises(ValueError, match=r"crop\n.*inputs of 48 pixels.*a multiple of 160"):
        NextScaleSettings(backbone="tbsn", crop=240)
    with pytest.raises(ValueError, match=r"modules\n.*'tbsn' has no such size; it has: channels"):
        NextScaleSettings(backbone="tbsn", crop=160, modules=3)
    with pytest.raises(ValueError, match="3 heads cannot share 40 channels"):
        NextScaleSettings(backbone="tbsn", crop=160, channels=20, channel_heads=(1, 3, 4))


@pytest.fixture(scope="module")
def exported() -> tuple[ImageToImage, bytes]:
    """A graph with PD in front and dynamic sides; `onnx_bytes` has checked three sizes already."""
    graph = ImageToImage(small(channels=4, channel_heads=(1, 2, 2), spatial_heads=(1, 1, 2)), mode="sr", pd_factor=2)
    return graph, onnx_bytes(graph, {"profile": "small", "sha256": "0" * 64})


def test_the_exported_graph_agrees_at_a_size_it_was_not_checked_at(exported: tuple[ImageToImage, bytes]) -> None:
    graph, content = exported
    image = torch.rand(1, 3, 192, 256)
    session = import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    (got,) = session.run(["denoised"], {"image": image.numpy()})
    with torch.inference_mode():
        expected = graph(image).numpy()

    assert np.abs(expected).max() > 0.1
    assert np.abs(got - expected).max() < 1e-4


def test_the_exported_graph_says_how_to_tile(exported: tuple[ImageToImage, bytes]) -> None:
    session = import_onnxruntime().InferenceSession(exported[1], providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map

    assert {key: facts[key] for key in ("multiple", "halo", "tiling", "tile")} == {
        "multiple": "64",
        "halo": "64",
        "tiling": "blended",
        "tile": "256",
    }


@pytest.mark.parametrize(("mode", "pd_factor"), [("denoise", 2), ("denoise", 1), ("sr-direct", 1)])
def test_other_modes_compute_the_same_through_the_operators(mode: str, pd_factor: int) -> None:
    network = small()
    plain = ImageToImage(network, mode=mode, pd_factor=pd_factor)
    through = ImageToImage(network, mode=mode, pd_factor=pd_factor)
    use_operators(through)
    image = torch.rand(1, 3, 64, 128)
    with torch.inference_mode():
        assert torch.equal(plain(image), through(image))


def test_it_learns() -> None:
    network = small()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    image, target = torch.rand(1, 3, 32, 32), torch.full((1, 3, 64, 64), 0.5)
    losses = []
    for _ in range(12):
        loss = nn.functional.l1_loss(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.7 * losses[0]
