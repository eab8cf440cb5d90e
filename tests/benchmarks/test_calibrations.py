"""The table of calibrations says what its lines hold: gains by truth, how claims rank them, and how many hold."""

from pathlib import Path
from typing import Any

import calibrations
import pytest
from calibrations import (
    ENLARGED,
    KNOWS,
    MIDDLE,
    SHIPS,
    TRAINED,
    WHOLE,
    Case,
    some_of,
    table_lines,
    trained_part,
    with_weights,
)
from small_student import student_profile_files, write_pair

from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, write_profile

SIMULATED = "dB on simulated noise"


def case(name: str, true: float, *, claim: tuple[float, float] | None, accepted: bool, measure: float = 0.0) -> Case:
    """Two photos, of which the first gains by what is known of the noise, and the second twice what is true."""
    whole = {
        SHIPS: {"a": (30.0, 0.9), "b": (40.0, 0.98)},
        KNOWS: {"a": (30.2, 0.92), "b": (40.0, 0.98)},
        TRAINED: {"a": (30.2, 0.92), "b": (40.0 + 2 * true, 0.96)},
    }
    said: dict[str, Any] = {
        "case": name,
        "photos": 8,
        "held_out": 1,
        "steps": 500,
        "best_step": 450,
        "accepted": accepted,
        "claim": claim,
        "measures": {SIMULATED: (measure, 0.1)} if claim else {},
        "scores": {WHOLE: whole, MIDDLE: {SHIPS: {}, KNOWS: {}, TRAINED: {}}},
    }
    said["scores"][ENLARGED] = {SHIPS: {"a": (28.0, 0.8)}, TRAINED: {"a": (28.1, 0.81)}}
    return Case(said)


CASES = [
    case("first", 0.3, claim=(0.2, 0.15), accepted=True, measure=0.5),
    case("second", -0.1, claim=(0.1, 0.1), accepted=True, measure=0.9),
    case("third", -0.4, claim=(-0.2, 0.3), accepted=False, measure=0.7),
    case("fourth", 0.0, claim=None, accepted=False),
]


def test_an_accepted_profile_has_the_trained_weights_and_a_refused_one_those_that_ship() -> None:
    lines = table_lines(CASES)
    assert lines[2] == (
        "| first | 8 + 1 | 450 of 500 | accepted | +0.20 ± 0.15 | 35.00 / 0.9400 → 35.40 / 0.9400 (+0.40) |  | "
        "28.00 / 0.8000 → 28.10 / 0.8100 (+0.10) | whole +0.30 |"
    )
    assert lines[4] == (
        "| third | 8 + 1 | 450 of 500 | refused | -0.20 ± 0.30 | 35.00 / 0.9400 → 35.10 / 0.9500 (+0.10) |  | "
        "28.00 / 0.8000 → 28.00 / 0.8000 (+0.00) | whole -0.40 |"
    )


def test_what_was_foretold_is_ranked_by_the_true_gain_of_the_trained_weights() -> None:
    lines = table_lines(CASES)
    assert "| claim | 3 | +1.00 |  |" in lines
    assert f"| {SIMULATED} | 3 | -0.50 |  |" in lines


def test_claims_that_hold_and_the_worst_accepted_are_named() -> None:
    assert table_lines(CASES)[-1] == (
        "2 of 3 claims hold (whole photos), 1 of the 2 of accepted weights. The worst of these, second, truly gain "
        "-0.10 dB."
    )
    assert table_lines(CASES[2:])[-1] == "1 of 1 claims hold (whole photos). None was accepted."


def test_a_gain_of_nothing_known_is_in_no_rank() -> None:
    assert CASES[3].holds is None
    assert CASES[3].true(WHOLE) == pytest.approx(0)
    assert CASES[3].true(MIDDLE) is None


def test_few_photos_are_taken_from_all_parts_of_the_list() -> None:
    photos = [Path(f"{letter}.jpg") for letter in "gfedcba"]
    assert [path.stem for path in some_of(photos, 3)] == ["a", "c", "e"]
    assert some_of(photos, None) == some_of(photos, 9) == sorted(photos)


@pytest.mark.parametrize("inside", [False, True])
def test_other_weights_take_the_place_of_those_that_were_trained_and_all_else_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    monkeypatch.setattr(calibrations, "make_onnx", lambda network, mode, *_: f"new {mode}".encode())
    ships = write_pair(tmp_path)
    fields = ships.spec.model_dump(exclude={"schema_version", "files"})
    content = dict(ships.content)
    if inside:  # the network inside then has the name of the profile
        mine = write_profile(tmp_path / "mine.nsp", *student_profile_files(4, name="pair"))
        content[ships.inner[0].path.name] = mine.path.read_bytes()
    profile = write_profile(tmp_path / "calibrated.nsp", fields, content)
    other = student_profile_files(5)[1][WEIGHTS_FILE]
    changed = with_weights(profile, other, tmp_path / "other.nsp")
    trained, kept = (changed.inner[0], changed) if inside else (changed, changed.inner[0])
    before = profile if inside else profile.inner[0]
    assert trained.read(WEIGHTS_FILE) == other
    assert trained.read(MODEL_FILES["denoise"]) == b"new denoise"
    assert kept.read(WEIGHTS_FILE) == before.read(WEIGHTS_FILE)
    assert kept.read(MODEL_FILES["denoise"]) == before.read(MODEL_FILES["denoise"])
    assert trained_part(profile, ships).read(WEIGHTS_FILE) == (ships.inner[0] if inside else ships).read(WEIGHTS_FILE)
