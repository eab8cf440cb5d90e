"""What is said of a gain: never a number without its error, and none where nothing is surely gained."""

import json

import pytest

from nsp_pipeline.calibration.card import profile_card
from nsp_pipeline.core.claim import Claim
from nsp_pipeline.profiles.gains import gain_in_words, is_of_a_camera
from nsp_pipeline.profiles.spec import ScoreSpec

MEASURES = {"dB on their own noise": (0.31, 0.04), "dB on the photos themselves": (0.43, 0.03)}


def scores(**fields: object) -> ScoreSpec:
    return ScoreSpec.model_validate({"held_out_photos": 2, "base": "standard", **fields})


def test_a_claim_is_sure_where_its_range_leaves_no_gain_out() -> None:
    assert Claim(0.12, 0.11).sure
    assert not Claim(0.12, 0.12).sure
    assert not Claim(-0.2, 0.1).sure
    assert (str(Claim(0.123, 0.114)), str(Claim(-0.001, 0.0))) == ("+0.12 ± 0.11 dB", "+0.00 ± 0.01 dB")
    assert (str(Claim(0.12, 0.14)), str(Claim(-0.2, 0.3))) == ("+0.12 ± 0.14 dB (perhaps nothing)", "-0.20 ± 0.30 dB")


def test_what_was_accepted_says_what_photos_gain_and_how_far_that_may_be_off() -> None:
    found = scores(accepted=True, gain=0.12, gain_error=0.1, measures=MEASURES)
    assert found.claim == Claim(0.12, 0.1)
    assert gain_in_words(found) == "photos gain +0.12 ± 0.10 dB over standard (judged by 2 photos kept out of training)"


@pytest.mark.parametrize("fields", [{"measures": MEASURES}, {"gain": 0.3, "gain_error": 0.2}])
def test_what_was_not_accepted_says_no_number(fields: dict[str, object]) -> None:
    found = scores(accepted=False, **fields)
    said = "nothing surely gained over standard, whose weights it has (judged by 2 photos kept out of training)"
    assert (gain_in_words(found), found.claim) == (said, None)


def test_a_profile_of_an_older_nsp_is_read_and_its_gain_is_called_what_it_was() -> None:
    """Such a gain is one with simulated noise, and is no claim."""
    found = scores(accepted=True, gain=0.31, gain_error=0.04)
    assert is_of_a_camera(found)
    assert found.claim is None
    assert gain_in_words(found) == (
        "+0.31 ± 0.04 dB over standard with simulated noise (judged by 2 photos kept out of training); real photos "
        "gain a third of that, or less"
    )


def test_pairs_of_shots_that_decided_leave_their_own_number_to_be_told() -> None:
    assert gain_in_words(scores(accepted=True, measures=MEASURES)) == "better than standard, by pairs of shots"


def test_profiles_that_no_camera_was_calibrated_for_are_written_as_before() -> None:
    kept = json.loads(scores(accepted=True, noisy_mse=0.1).model_dump_json())
    assert "measures" not in kept, "an older nsp, which knows no such field, reads them"
    assert not is_of_a_camera(ScoreSpec.model_validate(kept))
    again = scores(accepted=True, gain=0.12, gain_error=0.1, measures=MEASURES)
    assert ScoreSpec.model_validate_json(again.model_dump_json()) == again


def test_the_card_says_the_same_and_what_each_measure_promised() -> None:
    from tiny import tiny_fields

    told = scores(accepted=True, gain=0.12, gain_error=0.1, measures=MEASURES, verdict="photos gain +0.12 ± 0.10 dB")
    card = profile_card({**tiny_fields(), "scores": told.model_dump(exclude_none=True)})
    assert "Photos gain +0.12 ± 0.10 dB over standard (judged by 2 photos kept out of training)." in card
    assert "- +0.31 ± 0.04 dB on their own noise" in card
