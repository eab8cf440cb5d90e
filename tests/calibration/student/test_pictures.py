"""Crops are the pictures' own pixels, and copies of photos that still show noise are not learnt from."""

import numpy as np
import torch
from noisy_photos import clean_scene

from nsp_pipeline.calibration.student.pictures import SHRINKS, PictureStore, clean_copies


def test_every_crop_is_a_part_of_a_picture_turned_or_mirrored() -> None:
    """Each pixel holds its picture and its place, and so says where it was."""
    pictures = []
    for number, (height, width) in enumerate(((40, 60), (50, 35))):
        rows, columns = np.mgrid[0:height, 0:width]
        pictures.append(np.stack([np.full_like(rows, number), rows, columns], 2).astype(np.uint8))
    crops = PictureStore(pictures, 16, "cpu").draw(400, torch.Generator().manual_seed(0))
    found = (crops * 255).round().long()
    assert crops.shape == (400, 3, 16, 16)
    assert {int(number) for number in found[:, 0].flatten()} == {0, 1}
    assert (found[:, 0] == found[:, 0, :1, :1]).all()
    ways = set()
    for crop in found[:, 1:]:
        down, across = (crop[:, 1, 0] - crop[:, 0, 0]).tolist(), (crop[:, 0, 1] - crop[:, 0, 0]).tolist()
        steps = torch.arange(16).view(-1, 1), torch.arange(16).view(1, -1)
        expected = (
            crop[:, :1, :1]
            + torch.tensor(down).view(2, 1, 1) * steps[0]
            + (torch.tensor(across).view(2, 1, 1) * steps[1])
        )
        assert torch.equal(crop, expected)
        ways.add((*down, *across))
    assert len(ways) == 8
    # All of a picture is reached, to its last row and column.
    first = found[found[:, 0, 0, 0] == 0]
    assert (int(first[:, 1].min()), int(first[:, 1].max())) == (0, 39)
    assert (int(first[:, 2].min()), int(first[:, 2].max())) == (0, 59)


def test_a_clean_photo_serves_in_all_sizes_that_are_large_enough() -> None:
    photo = clean_scene(640, 800).astype(np.uint8)
    assert [copy.shape[0] for copy in clean_copies(photo, 64)] == [round(640 / factor) for factor in SHRINKS]
    assert [copy.shape[0] for copy in clean_copies(photo, 200)] == [320, 226]
    assert clean_copies(photo, 400) == []


def test_a_noisy_photo_serves_only_where_shrinking_took_its_noise() -> None:
    scene = np.full((1200, 1600, 3), 120.0)
    noisy = scene + np.random.default_rng(0).normal(0, 8, scene.shape)
    sides = [copy.shape[0] for copy in clean_copies(noisy.clip(0, 255).astype(np.uint8), 64)]
    assert sides == [round(1200 / factor) for factor in SHRINKS[3:]]
