"""PD and PU are exact inverses, for any t and any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.core.shuffle import pad_to_multiple, pixel_shuffle_down, pixel_shuffle_up
from nsp_pipeline.errors import UsageError


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_pu_undoes_pd(t: int, rows: int, cols: int, channels: int) -> None:
    image = np.random.default_rng(0).random((channels, rows * t, cols * t))

    sub_images = pixel_shuffle_down(image, t)

    assert sub_images.shape == (t * t, channels, rows, cols)
    assert np.array_equal(pixel_shuffle_up(sub_images, t), image)


def test_sub_image_holds_one_phase() -> None:
    image = np.arange(36).reshape(6, 6)

    sub_images = pixel_shuffle_down(image, 3)

    assert all(np.array_equal(sub_images[k], image[k // 3 :: 3, k % 3 :: 3]) for k in range(9))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8))
def test_padding_reflects_up_to_the_next_multiple(height: int, width: int, multiple: int) -> None:
    image = np.random.default_rng(0).random((height, width))

    padded = pad_to_multiple(image, multiple)

    down, right = -height % multiple, -width % multiple
    assert padded.shape == (height + down, width + right)
    assert np.array_equal(padded[:height, :width], image)
    if height > 1 and width > 1:
        assert np.array_equal(padded, np.pad(image, ((0, down), (0, right)), mode="reflect"))


def test_a_single_pixel_is_repeated() -> None:
    assert np.array_equal(pad_to_multiple(np.full((1, 1), 7), 4), np.full((4, 4), 7))


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="multiples of it, got 5×4"):
        pixel_shuffle_down(np.zeros((5, 4)), 2)
    with pytest.raises(UsageError, match="needs"):
        pixel_shuffle_up(np.zeros((3, 2, 2)), 2)
