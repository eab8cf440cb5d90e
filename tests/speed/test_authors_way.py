"""The line that engines are held to is the authors' inference."""

import numpy as np
from tiny import torch_result

from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.speed.authors_way import authors_way


def test_is_pd_network_and_mean_whatever_pd_the_profile_has(tiny_profile: Profile) -> None:
    assert tiny_profile.spec.inference.pd_factor == 1
    photo = np.random.default_rng(0).random((34, 46, 3), dtype=np.float32)
    expected = torch_result(photo.transpose(2, 0, 1)[None], "denoise", pd_factor=2)

    found = authors_way(tiny_profile, "cpu")(photo)

    np.testing.assert_allclose(found, expected[0].transpose(1, 2, 0).clip(0, 1), atol=1e-5)


def test_pads_odd_sides_and_keeps_the_depth(tiny_profile: Profile) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)
    found = authors_way(tiny_profile, "cpu")(photo)
    assert (found.shape, found.dtype) == (photo.shape, photo.dtype)
