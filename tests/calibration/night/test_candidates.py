"""Which photos want a profile of their own, and why others do not."""

from pathlib import Path

from nsp_pipeline.calibration.night.candidates import Candidate, Header, find_candidates
from nsp_pipeline.frames.frame import Camera, Facts, Kind

ONE = ("NIKON CORPORATION", "NIKON D800")


def shots(*isos: int | None, camera: tuple[str, str] = ONE, software: str | None = None) -> list[Header]:
    """Headers of photos; their names are as many as there are ISO."""
    facts = [Facts(Kind.JPEG, Camera(*camera, iso=iso), software, (600, 400), None) for iso in isos]
    return [(Path(f"{camera[1]}-{number}-{software}.jpg"), each) for number, each in enumerate(facts)]


def nothing_fits(camera: Camera) -> str | None:
    return None


def of_800_to_1600(camera: Camera) -> str | None:
    return "mine" if camera.model == ONE[1] and camera.iso and 800 <= camera.iso <= 1600 else None


def said(left_out: object) -> str:
    return "\n".join(map(str, left_out))  # type: ignore[call-overload]


def test_a_camera_without_a_profile_is_one_candidate_of_all_its_iso() -> None:
    (candidate,), left_out = find_candidates(shots(100, 6400, 800), {}, nothing_fits)
    assert (candidate.title, len(candidate.group.paths)) == ("Nikon D800, ISO 100-6400", 3)
    assert (candidate.camera, left_out) == (Camera(*ONE), [])


def test_photos_that_a_profile_fits_are_left_to_it() -> None:
    candidates, left_out = find_candidates(shots(800, 1000, 1600), {}, of_800_to_1600)
    assert candidates == []
    assert said(left_out) == "Nikon D800, 3 photos: profile mine fits them"


def test_a_profile_parts_what_lies_below_and_above_it_so_that_no_photo_has_two() -> None:
    candidates, _ = find_candidates(shots(100, 200, 400, 3200, 6400, 6400), {}, of_800_to_1600)
    assert [candidate.title for candidate in candidates] == ["Nikon D800, ISO 100-400", "Nikon D800, ISO 3200-6400"]
    assert len({candidate.key for candidate in candidates}) == 2


def test_what_is_left_out_has_its_reason() -> None:
    headers = [
        *shots(None, None),
        *shots(800, 800, camera=("Canon", "Canon EOS 80D")),
        *shots(800, camera=("Canon", "Canon EOS 80D"), software="GIMP 2.10"),
    ]
    candidates, left_out = find_candidates(headers, {}, nothing_fits)
    assert candidates == []
    assert said(left_out).splitlines() == [
        "no camera or ISO in the metadata, 2 photos: no profile would be found for them",
        "Canon EOS 80D, 1 photo: a program changed or resized them",
        "Canon EOS 80D, ISO 800, 2 photos: at least 3 are needed for a profile",
    ]


def test_two_cameras_under_one_name_are_not_learnt_together() -> None:
    aliases = {"nikon d800": "Studio", "ilce-7m2": "Studio"}
    headers = [*shots(800, 800, 800), *shots(800, 800, camera=("SONY", "ILCE-7M2"))]
    candidates, left_out = find_candidates(headers, aliases, nothing_fits)
    assert candidates == []
    assert said(left_out) == (
        "Studio, 5 photos: cameras.toml gives this name to Nikon D800 and Sony ILCE-7M2, whose noise differs: "
        "name them apart"
    )


def test_spellings_of_one_camera_are_one() -> None:
    aliases = {"nikon d800": "Studio", "d 800": "Studio"}
    headers = [*shots(800, 800), *shots(1600, camera=("Nikon", "D 800"))]
    (candidate,), left_out = find_candidates(headers, aliases, nothing_fits)
    assert (candidate.title, left_out) == ("Studio, ISO 800-1600", [])


def test_the_key_of_a_camera_is_a_file_s_name_whatever_it_calls_itself() -> None:
    headers = [shots(800, 800, 800, camera=("../../Ma", name)) for name in ("a/b", "a:b")]
    odd, other = (find_candidates(each, {}, nothing_fits)[0][0] for each in headers)
    for candidate in (odd, other):
        assert isinstance(candidate, Candidate)
        assert not set(candidate.key) & set("/\\:")
    assert odd.key != other.key
