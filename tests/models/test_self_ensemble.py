"""Self-ensemble: which copies are averaged, in the module, in the exported file, and in tiles."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from pydantic import ValidationError

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.inference import Denoiser
from nsp_pipeline.models.self_ensemble import self_ensemble_mean
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.profiles.spec import InferenceSpec

TABLE = torch.full((1, TABLE_ROWS, TABLE_NODES), 0.02)
QUARTERS_AND_MIRRORED = {
    2: [(0, False), (2, False)],
    4: [(0, False), (0, True), (2, False), (2, True)],
    8: [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)],
}


def student() -> UNet:
    torch.manual_seed(5)
    network = UNet([8, 12], [1, 1], 2, noise_conditioned=True).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    return network


def copy_of(image: torch.Tensor, quarters: int, mirrored: bool) -> torch.Tensor:
    turned = torch.rot90(image, quarters, (2, 3))
    return turned.flip(3) if mirrored else turned


def put_back(image: torch.Tensor, quarters: int, mirrored: bool) -> torch.Tensor:
    return torch.rot90(image.flip(3) if mirrored else image, -quarters, (2, 3))


def copy_by_copy(run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, self_ensemble: int) -> torch.Tensor:
    ways = QUARTERS_AND_MIRRORED[self_ensemble]
    return torch.stack([put_back(run(copy_of(image, *way)), *way) for way in ways]).mean(0)


@pytest.mark.parametrize("self_ensemble", [2, 4, 8])
@pytest.mark.parametrize("mode", ["denoise", "sr", "sr-direct"])
def test_it_is_the_mean_of_each_copy_run_by_itself_and_brought_back(mode: str, self_ensemble: int) -> None:
    network, image = student(), torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        found = ImageToImage(network, mode=mode, pd_factor=1, self_ensemble=self_ensemble)(image, TABLE)
        run = network.cell_means if mode == "denoise" else network
        expected = copy_by_copy(lambda copy: run(copy, TABLE), image, self_ensemble)
        once = run(image, TABLE)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - once).abs().max() > 1e-2


def test_with_all_eight_a_rotated_photo_gives_the_rotated_result() -> None:
    denoiser, image = Denoiser(student(), pd_factor=1, self_ensemble=8), torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        expected = copy_of(denoiser(image, TABLE), 1, True)
        torch.testing.assert_close(denoiser(copy_of(image, 1, True), TABLE), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("self_ensemble", [2, 8])
def test_the_exported_file_holds_the_self_ensemble(self_ensemble: int) -> None:
    network, image = student(), torch.rand(1, 3, 20, 36)
    graph = ImageToImage(network, mode="denoise", pd_factor=1, self_ensemble=self_ensemble)
    content = onnx_bytes(graph, {"profile": "student", "sha256": "0" * 64})
    session = import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"image": image.numpy(), "noise": TABLE.numpy()})
    with torch.inference_mode():
        expected = copy_by_copy(lambda copy: network.cell_means(copy, TABLE), image, self_ensemble)
    assert np.abs(got - expected.numpy()).max() < 1e-4


def test_the_exported_weights_are_there_once() -> None:
    def size(self_ensemble: int) -> int:
        graph = ImageToImage(student(), mode="denoise", pd_factor=1, self_ensemble=self_ensemble)
        model = onnx.load_from_string(onnx_bytes(graph, {"profile": "student", "sha256": "0" * 64}))
        return sum(len(tensor.raw_data) for tensor in model.graph.initializer)

    # Each copy has nodes of its own, and no weights.
    assert size(8) - size(1) < sum(4 * part.numel() for part in student().parameters()) / 20


@pytest.mark.parametrize("self_ensemble", [2, 8])
def test_a_tile_with_its_halo_gives_what_the_whole_photo_gives(self_ensemble: int) -> None:
    denoiser = Denoiser(student(), pd_factor=1, self_ensemble=self_ensemble)
    halo, start, kept = denoiser.halo, 2 * denoiser.halo, 2 * denoiser.multiple
    side = 2 * start + kept
    image = torch.rand(1, 3, side, side + 4 * denoiser.multiple)
    wanted = slice(start, start + kept)
    seen = slice(start - halo, start + kept + halo)
    with torch.inference_mode():
        whole = denoiser(image, TABLE)[..., wanted, wanted]
        tile = denoiser(image[..., seen, seen], TABLE)[..., halo : halo + kept, halo : halo + kept]
    torch.testing.assert_close(tile, whole, atol=1e-5, rtol=0)


def test_one_copy_is_the_network_itself() -> None:
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(self_ensemble_mean(lambda copy: 2 * copy, image, 1), 2 * image)


@pytest.mark.parametrize(("self_ensemble", "factor"), [(3, 1), (2, 2)])
def test_self_ensembles_that_cannot_be_are_refused(self_ensemble: int, factor: int) -> None:
    with pytest.raises(UsageError, match="self-ensemble of"):
        Denoiser(student(), pd_factor=factor, self_ensemble=self_ensemble)
    with pytest.raises(ValidationError):
        InferenceSpec.model_validate({"pd_factor": factor, "self_ensemble": self_ensemble})


def test_the_self_ensemble_is_described_in_words() -> None:
    assert "mean over 8 rotated and mirrored copies" in InferenceSpec(pd_factor=1, self_ensemble=8).in_words
    assert "times" not in InferenceSpec(pd_factor=1).in_words
