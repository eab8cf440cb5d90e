"""What photos decide of the student of a calibration: the network that it starts from, and the size of its crops."""

from pathlib import Path

import numpy as np
import pytest
from noisy_photos import clean_scene
from small_student import SIZES, write_pair

from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.student.suited import large_enough, settings_for, start_for
from nsp_pipeline.calibration.training.photos import Photo, PhotoSet
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import Profile


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return write_pair(tmp_path_factory.mktemp("pair"), inference={"pd_factor": 1, "self_ensemble": 2})


def photo(height: int, width: int, *, smoothed: bool = False, number: int = 0) -> Photo:
    rng = np.random.default_rng(number)
    # No camera leaves more than this of what it has smoothed.
    noise = rng.normal(0, 5 if smoothed else 14, (height, width, 3))
    if smoothed:
        # As cameras do: grey noise stays, and colours are averaged over many pixels.
        grey = noise.mean(2, keepdims=True)
        colour = noise - grey
        for axis in (0, 1):
            colour = sum(np.roll(colour, step, axis) for step in range(-4, 5)) / 9
        noise = grey + 6 * colour
    pixels = np.clip(clean_scene(height, width) + noise, 0, 255).astype(np.uint8)
    return Photo(Path(f"{number}.jpg"), pixels, Camera())


def photos(*sizes: tuple[int, int]) -> PhotoSet:
    made = [photo(*size, number=number) for number, size in enumerate(sizes)]
    return PhotoSet(made[:-1], made[-1:], [])


def settings(crop: int = 128) -> StudentSettings:
    return StudentSettings.model_validate({"channels": SIZES["channels"], "pairs": SIZES["pairs"], "crop": crop})


def test_noise_that_nobody_smoothed_trains_the_network_that_makes_such_photos(pair: Profile) -> None:
    assert pair.unsmoothed
    rough = [photo(256, 256, number=number) for number in range(3)]
    smooth = [photo(256, 256, number=number, smoothed=True) for number in range(3)]
    second = start_for(pair, rough)
    assert second.content == pair.unsmoothed.content
    assert second.name == pair.name, "a gain is one over the profile that its user knows"
    assert start_for(pair, smooth) is pair
    assert start_for(pair, [*smooth[:2], rough[0]]) is pair
    assert start_for(pair.unsmoothed, rough) is pair.unsmoothed, "there is no other"


def test_settings_are_of_the_network_that_training_starts_from(pair: Profile) -> None:
    assert pair.unsmoothed
    given = settings_for(pair.unsmoothed, settings(), photos((300, 400), (300, 400)), unsmoothed=True)
    assert (given.simulated_noise, given.self_ensemble, given.crop) == ("any", 2, 128)
    assert settings_for(pair, settings(), photos((300, 400), (300, 400)), unsmoothed=False).simulated_noise == "cameras"


def test_crops_are_as_small_as_most_photos_ask_for(pair: Profile) -> None:
    def crop(*sizes: tuple[int, int], largest: int = 128) -> int:
        return settings_for(pair, settings(largest), photos(*sizes), unsmoothed=False).crop

    assert crop(*[(256, 256)] * 17) == 112
    assert crop(*[(150, 400)] * 4) == 64
    assert crop((150, 150), *[(300, 400)] * 5) == 128, "one small photo is left out instead"
    assert crop((150, 150), (300, 400), (150, 150), (300, 400)) == 64
    assert crop(*[(100, 400)] * 4, largest=32) == 32, "never larger than asked for"


def test_what_holds_no_crop_is_refused_by_name() -> None:
    kept = large_enough(photos((300, 400), (150, 150), (300, 400), (200, 999)), settings())
    assert [part.path.name for part in kept.training] == ["0.jpg", "2.jpg"]
    assert not kept.held_out
    assert kept.refused == [
        "1.jpg: 150×150 pixels are too few: a crop takes 272 a side",
        "3.jpg: 999×200 pixels are too few: a crop takes 272 a side",
    ]
    with pytest.raises(UsageError, match=r"no photo to calibrate on:\n  0.jpg: 160×150 pixels"):
        large_enough(photos((150, 160), (300, 400)), settings())
