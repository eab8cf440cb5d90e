"""The student: starts as the identity, sees as far as it says, and its cell means are those of its output."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.errors import ProfileError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.registry import build_backbone
from nsp_pipeline.models.unet import UNet, noise_map, sizes_of

SIZES: dict[str, Any] = {"channels": [8, 12, 16], "pairs": [1, 1, 2], "scale": 2}
TABLE = torch.full((1, TABLE_ROWS, TABLE_NODES), 0.03)


def student(noise_conditioned: bool = False) -> UNet:
    torch.manual_seed(3)
    network = UNet(**SIZES, noise_conditioned=noise_conditioned).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    return network


def test_untrained_it_returns_the_photo_enlarged() -> None:
    image = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.equal(UNet(**SIZES)(image), image.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_its_weights_say_what_network_it_is() -> None:
    network, image = student(noise_conditioned=True), torch.rand(1, 3, 32, 40)
    again = UNet.of_weights({key: part.double() for key, part in network.state_dict().items()}, 2)
    with torch.inference_mode():
        assert torch.equal(again(image, TABLE), network(image, TABLE))
    assert sizes_of(student().state_dict()) == ((8, 12, 16), (1, 1, 2))
    with pytest.raises(RuntimeError, match="no weights of a U-Net"):
        UNet.of_weights({"tail.weight": torch.zeros(3)}, 2)


def test_cell_means_are_the_means_of_the_output() -> None:
    network, image = student(), torch.rand(2, 3, 32, 40)
    with torch.inference_mode():
        expected = avg_pool2d(network(image), 2)
        assert torch.allclose(network.cell_means(image), expected, atol=1e-5)
        assert not torch.allclose(expected, image, atol=1e-2)


@pytest.mark.parametrize(("channels", "pairs"), [([8], [1]), ([8, 12], [2, 1]), ([8, 12, 16], [1, 1, 2])])
def test_a_noise_conditioned_student_sees_no_farther_than_its_halo(channels: list[int], pairs: list[int]) -> None:
    torch.manual_seed(3)
    network = UNet(channels, pairs, 2, noise_conditioned=True).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    multiple = network.multiple
    side = 2 * network.halo + 4 * multiple
    first = side // 2 // multiple * multiple
    image = torch.rand(1, 3, side, side, requires_grad=True)
    # All pixels of a cell as large as tiles are aligned to.
    cell = slice(2 * first, 2 * (first + multiple))
    output = network(image, TABLE * torch.arange(TABLE_NODES))[..., cell, cell]
    (gradient,) = torch.autograd.grad(output.abs().sum(), image)
    places = gradient[0].abs().sum(0).nonzero()
    assert first - network.halo <= int(places.min()) < int(places.max()) < first + multiple + network.halo


@pytest.mark.parametrize("noise_conditioned", [False, True])
@pytest.mark.parametrize("offset", range(0, 8, 3))
def test_no_output_pixel_depends_on_what_lies_beyond_the_halo(offset: int, noise_conditioned: bool) -> None:
    network = student(noise_conditioned)
    side = 2 * network.halo + 4 * network.multiple
    centre = side // 2 // network.multiple * network.multiple + offset
    image = torch.rand(1, 3, side, side, requires_grad=True)
    # A table that differs between brightnesses, so that the map of it depends on the image.
    noise = (TABLE * torch.arange(TABLE_NODES),) if noise_conditioned else ()
    cell = network(image, *noise)[..., 2 * centre : 2 * centre + 2, 2 * centre : 2 * centre + 2]
    (gradient,) = torch.autograd.grad(cell.sum(), image)
    distances = (gradient[0].abs().sum(0).nonzero() - centre).abs()
    assert network.halo / 2 < int(distances.max()) <= network.halo


@pytest.mark.parametrize(("mode", "scale"), [("denoise", 1), ("sr", 2), ("sr-direct", 2)])
def test_the_exported_graph_needs_no_pd_in_any_mode(mode: str, scale: int) -> None:
    network = student()
    graph = ImageToImage(network, mode=mode, pd_factor=1)
    assert (graph.multiple, graph.halo, graph.scale) == (network.multiple, network.halo, scale)
    content = onnx_bytes(graph, {"profile": "student", "sha256": "0" * 64})
    image = np.random.default_rng(0).random((1, 3, 24, 40), dtype=np.float32)
    session = import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"image": image})
    with torch.inference_mode():
        whole = network(torch.from_numpy(image))
        expected = avg_pool2d(whole, 2) if mode == "denoise" else whole
    assert np.abs(result - expected.numpy()).max() < 1e-4


def test_widths_and_numbers_must_be_of_as_many_levels() -> None:
    with pytest.raises(ProfileError, match="3 widths but 2 numbers"):
        build_backbone("unet", {**SIZES, "pairs": [1, 1]})


def test_a_table_is_looked_up_at_the_brightness_of_each_cell() -> None:
    table = torch.arange(TABLE_ROWS * TABLE_NODES, dtype=torch.float32).view(1, TABLE_ROWS, TABLE_NODES)
    for brightness in (0.0, 0.2, 0.5, 1.0):
        found = noise_map(torch.full((1, 12, 8, 8), brightness), table)
        expected = torch.arange(TABLE_ROWS) * TABLE_NODES + brightness * (TABLE_NODES - 1)
        assert torch.allclose(found, expected.view(1, -1, 1, 1).expand(1, -1, 8, 8), atol=1e-4)


def test_no_noise_table_is_the_same_as_an_unknown_one() -> None:
    network, image = student(noise_conditioned=True), torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(image), network(image, torch.full_like(TABLE, UNKNOWN)))
        assert not torch.allclose(network(image), network(image, TABLE), atol=1e-3)


def test_other_programs_may_leave_the_table_out_of_an_exported_graph() -> None:
    network = student(noise_conditioned=True)
    content = onnx_bytes(ImageToImage(network, mode="denoise", pd_factor=1), {"profile": "student", "sha256": "0" * 64})
    image = np.random.default_rng(0).random((1, 3, 24, 40), dtype=np.float32)
    session = import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["image"]
    for noise in ((), (TABLE,)):
        feed = dict(zip(("image", "noise"), (image, *(part.numpy() for part in noise)), strict=False))
        with torch.inference_mode():
            expected = network.cell_means(torch.from_numpy(image), *noise)
        assert np.abs(session.run(None, feed)[0] - expected.numpy()).max() < 1e-4
