"""A camera's noise by ISO, from the noise of its photos."""

from dataclasses import replace

import numpy as np
import pytest
from noise_levels import grey, seen, times

from nsp_pipeline.core.camera_noise import CameraNoise, camera_noise
from nsp_pipeline.core.noise import NoiseLevel


def at_iso(iso: int, factor: float = 1.0) -> tuple[int, NoiseLevel]:
    """A photo whose noise grows with the root of ISO: grey noise of 4 at ISO 1600, times a factor."""
    return iso, seen(times(factor * (iso / 1600) ** 0.5), unsure=0.15)


def known_of(*photos: tuple[int | None, NoiseLevel]) -> CameraNoise:
    found = camera_noise(photos)
    assert found is not None
    return found


def level(found: CameraNoise, iso: int | None) -> float:
    """Grey noise of 255 at an ISO."""
    prior = found.at(iso)
    assert prior is not None
    return 255 * float(prior.table[0, 0].mean())


def test_between_the_iso_of_the_photos_noise_rises_evenly_in_logarithms() -> None:
    found = known_of(at_iso(800), at_iso(800), at_iso(6400), at_iso(6400))
    assert (found.isos, found.photos) == ((800, 6400), (2, 2))
    for iso in (800, 1600, 2500, 6400):
        assert level(found, iso) == pytest.approx(4 * (iso / 1600) ** 0.5, rel=0.02)


def test_outside_the_iso_of_the_photos_nothing_is_known() -> None:
    found = known_of(at_iso(800), at_iso(3200))
    assert found.at(500) is None
    assert found.at(5000) is None
    assert found.at(None) is None
    # Cameras round it.
    assert level(found, 640) == level(found, 800)


def test_what_is_known_of_photos_without_iso_is_for_any() -> None:
    found = known_of((None, seen()), (None, seen(times(1.1))))
    assert found.isos == (None,)
    assert found.usual_iso is None
    assert level(found, None) == level(found, 3200) == pytest.approx(4.2, abs=0.1)


def test_photos_without_iso_do_not_count_among_those_with_one() -> None:
    assert known_of(at_iso(800), (None, seen(times(9)))).photos == (1,)


def test_one_that_is_off_among_many_hardly_counts() -> None:
    photos = [at_iso(1600) for _ in range(8)]
    found = known_of(*photos, at_iso(1600, 3.0))
    assert level(found, 1600) == pytest.approx(4, rel=0.08)


def test_photos_that_differ_leave_the_next_one_uncertain() -> None:
    def unsure(*factors: float) -> float:
        prior = known_of(*[at_iso(1600, factor) for factor in factors]).at(1600)
        assert prior is not None
        return float(prior.unsure.mean())

    alike, apart = unsure(*[1.0] * 8), unsure(*[0.5, 2.0] * 4)
    assert alike < 0.15
    assert apart > 0.4
    # Of one photo or two nobody knows how far the next may be off.
    assert unsure(1.0) > unsure(1.0, 1.0) > alike


def test_what_is_surer_counts_for_more() -> None:
    sure, unsure = seen(times(1.0), unsure=0.1), seen(times(1.5), unsure=0.6)
    assert level(known_of((800, sure), (800, unsure)), 800) == pytest.approx(grey(sure), rel=0.1)


def test_pictures_without_noise_are_no_photos() -> None:
    nothing = seen((0, 0, 0, 0))
    assert camera_noise([(800, nothing), (800, NoiseLevel.unknown())]) is None
    assert camera_noise([]) is None
    assert known_of((800, nothing), at_iso(800)).photos == (1,)


def test_a_grey_photo_says_nothing_of_colour() -> None:
    colourless = seen((4.0, 8.0, 0, 0))
    found = known_of(at_iso(1600), (1600, colourless))
    np.testing.assert_allclose(255 * found.priors[0].table[0, 2], 2.0, rtol=1e-3)
    assert camera_noise([(1600, colourless)]) is not None


def test_the_usual_iso_is_that_of_the_photo_in_the_middle() -> None:
    assert known_of(at_iso(400), *[at_iso(1600)] * 3, at_iso(6400)).usual_iso == 1600
    assert known_of(at_iso(400), at_iso(1600), *[at_iso(6400)] * 5).usual_iso == 6400


def test_noise_measured_in_flat_patches_serves_as_well() -> None:
    _, photo = at_iso(1600)
    assert level(known_of((1600, replace(photo, unsure=None, share=None))), 1600) == pytest.approx(4, rel=0.01)
