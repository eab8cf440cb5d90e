"""A result is taken for a photo's picture by the means of its channels, whatever its size and depth."""

import numpy as np
import pytest

from nsp_pipeline.denoise.plausible import require_its_colours
from nsp_pipeline.errors import UntrustedResultError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("rows", [100, 256, 257, 700, 70_000])
def test_tall_and_bright_photos_have_the_mean_that_they_have(rows: int, dtype: type) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    photo: np.ndarray = np.full((rows, 32, 3), white, dtype)
    photo[:, :8, 1] = 0
    require_its_colours(photo, photo[:64])
    darker = photo[:64].copy()
    darker[:, :3] = 0
    with pytest.raises(UntrustedResultError, match=r"colours are off by 2[34]\.\d of 255"):
        require_its_colours(photo, darker)
