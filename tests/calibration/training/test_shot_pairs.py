"""Two shots of one scene: the network nearer to the clean scene is found, and pairs that are none are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_photos import clean_scene
from PIL import Image
from torch import nn

from nsp_pipeline.calibration.training.judge import compare_errors
from nsp_pipeline.calibration.training.shot_pairs import read_shot_pairs
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.spec import InferenceSpec

HEIGHT, WIDTH = 300, 520
WITHOUT_PD = InferenceSpec(pd_factor=1)
CLEAN = clean_scene(HEIGHT, WIDTH)


def save(folder: Path, name: str, seed: int, offset: float = 0.0, sigma: float = 8.0) -> Path:
    noise = np.random.default_rng(seed).normal(offset, sigma, CLEAN.shape)
    Image.fromarray(np.rint(CLEAN + noise).clip(0, 255).astype(np.uint8)).save(folder / name)
    return folder / name


class Towards(Backbone):
    """Moves a part of the way from the photo to its blurred self: the scene is smooth, so further is better."""

    scale, halo = 1, 4

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        blurred = torch.nn.functional.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
        return image + self.share * (blurred - image)


def test_the_gain_is_the_one_against_the_clean_scene(tmp_path: Path) -> None:
    first, second = save(tmp_path, "a.png", 1), save(tmp_path, "b.png", 2, offset=3.0)
    pairs = read_shot_pairs([(first, second)])
    assert pairs is not None
    assert pairs.noise**0.5 * 255 == pytest.approx(8.0, rel=0.03)
    network = Towards(0.5)
    noisy = torch.from_numpy(np.array(Image.open(first), np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        estimate = network(noisy)[0].permute(1, 2, 0).numpy() * 255
    before, after = (float(((image - CLEAN) ** 2).mean()) for image in (np.array(Image.open(first), float), estimate))
    gain = pairs.gain(pairs.errors(network, WITHOUT_PD))
    assert gain == pytest.approx(10 * np.log10(before / after), abs=0.2)


def test_the_better_network_is_distinguished_from_the_worse(tmp_path: Path) -> None:
    pairs = read_shot_pairs([(save(tmp_path, "a.png", 1), save(tmp_path, "b.png", 2))])
    assert pairs is not None
    better, worse = (pairs.errors(Towards(share), WITHOUT_PD) for share in (0.9, 0.6))
    assert compare_errors(better, worse, "x").accepted
    assert not compare_errors(worse, better, "x").accepted


def test_no_pairs_are_no_test() -> None:
    assert read_shot_pairs([]) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [("moved", "not two shots of one scene"), ("small", "one size"), ("broken", "--pair")],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, other: str, message: str) -> None:
    first, second = save(tmp_path, "a.png", 1), tmp_path / "b.png"
    if other == "moved":
        Image.open(save(tmp_path, "c.png", 2)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(second)
    elif other == "small":
        Image.open(first).crop((0, 0, 280, 280)).save(second)
    else:
        second.write_bytes(b"no photo")
    with pytest.raises(UsageError, match=message):
        read_shot_pairs([(first, second)])
