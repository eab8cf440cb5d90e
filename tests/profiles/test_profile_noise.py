"""The noise that a profile was calibrated on, as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bundle import FIELDS

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles.bundle import write_profile
from nsp_pipeline.profiles.noise import measured_noise

STRAIGHT = {"a": 1e-3, "b": 1e-4, "straight": True, "brightness": [0.1, 0.9], "variance": [2e-4, 1e-3]}
BENT = {"a": 0.0, "b": 0.0, "straight": False, "brightness": [0.0, 0.5, 1.0], "variance": [1e-4, 9e-4, 1e-4]}


def profile(folder: Path, **fields: Any) -> Any:
    return write_profile(folder / "p.nsp", {**FIELDS, **fields}, {})


def test_measured_noise_becomes_a_table(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[BENT] * 3, noise_correlation=[0.6, 0.3, 0.2]))
    assert found is not None
    assert found.source == "profile small"
    level = np.hypot(found.table[0, 0], found.table[0, 2])
    np.testing.assert_allclose(level**2, np.interp(np.linspace(0, 1, 8), [0, 0.5, 1], [1e-4, 9e-4, 1e-4]), rtol=1e-4)
    assert (found.table[0, 1] > 1.5 * found.table[0, 0]).all()


def test_beyond_the_brightnesses_that_were_seen_noise_is_that_of_the_nearest(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[STRAIGHT] * 3))
    assert found is not None
    level = np.hypot(found.table[0, 0], found.table[0, 2]) ** 2
    np.testing.assert_allclose(level[[0, -1]], [2e-4, 1e-3], rtol=1e-4)


def test_a_and_b_alone_are_enough(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[{"a": 3e-4, "b": 1e-4}] * 3))
    assert found is not None
    np.testing.assert_allclose(np.hypot(found.table[0, 0], found.table[0, 2])[[0, -1]] ** 2, [1e-4, 4e-4], rtol=1e-4)


@pytest.mark.parametrize("noise", [None, []])
def test_a_profile_without_measured_noise_says_so(tmp_path: Path, noise: list[Any] | None) -> None:
    assert measured_noise(profile(tmp_path, noise=noise)) is None


@pytest.mark.parametrize(
    "channel",
    [
        {**BENT, "variance": [1e-4, 9e-4]},
        {**BENT, "brightness": [0.0, 1.0, 0.5]},
        {**BENT, "brightness": [0.5], "variance": [1e-4]},
        {**BENT, "variance": [1e-4, 9e9, 1e-4]},
        {"a": 1e300, "b": 0.0},
    ],
)
def test_what_is_no_noise_is_refused(tmp_path: Path, channel: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=r"p\.nsp: profile\.json: the noise in it is not that of photos"):
        measured_noise(profile(tmp_path, noise=[channel] * 3))
