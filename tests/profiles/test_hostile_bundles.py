"""Whatever a bundle holds, loading it gives a profile or a ProfileError, in bounded memory."""

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from small_bundle import FIELDS

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles import bundle
from nsp_pipeline.profiles.bundle import CARD_FILE, SPEC_FILE, Profile, load_profile, write_profile


@pytest.fixture
def small(tmp_path: Path) -> Profile:
    """A bundle without a network: small enough to damage in every place."""
    return write_profile(tmp_path / "small.nsp", FIELDS, {CARD_FILE: b"# small\n"})


def test_no_damaged_byte_gives_another_profile_or_another_error(small: Profile, tmp_path: Path) -> None:
    content = small.path.read_bytes()
    damaged = tmp_path / "damaged.nsp"
    harmless = 0
    for place in range(len(content)):
        for mask in (0x06, 0xFF):
            flipped = bytearray(content)
            flipped[place] ^= mask
            damaged.write_bytes(flipped)
            with suppress(ProfileError):
                found = load_profile(damaged)
                # Dates and flags of the zip itself are nobody's business.
                assert (found.sha256, found.content) == (small.sha256, small.content)
                harmless += 1
    assert harmless < len(content)


def test_no_cut_gives_a_profile(small: Profile, tmp_path: Path) -> None:
    content = small.path.read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut.nsp").write_bytes(content[:length])
        with pytest.raises(ProfileError, match=r"cut\.nsp: the profile is damaged or cut short"):
            load_profile(tmp_path / "cut.nsp")


@pytest.mark.parametrize("content", [b"", b"hello, I am a text\n", bytes(5000), b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nsp").write_bytes(content)
    with pytest.raises(ProfileError, match=r"a\.nsp: (the profile is damaged or cut short|not a profile)"):
        load_profile(tmp_path / "a.nsp")


def test_files_that_swell_together_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.nsp", "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(10):
            file.writestr(f"{number}.bin", bytes(500))
    monkeypatch.setattr(bundle, "LARGEST_BUNDLE", 4000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *args: pytest.fail("unpacked"))
    with pytest.raises(ProfileError, match="would unpack to 5000 bytes"):
        load_profile(tmp_path / "bomb.nsp")


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_packings_than_ours_are_refused(tmp_path: Path, packing: int) -> None:
    """Their decoders raise errors of their own, and LZMA may take as much memory as a file asks for."""
    with zipfile.ZipFile(tmp_path / "a.nsp", "w", packing) as file:
        file.writestr(SPEC_FILE, b"{}")
    with pytest.raises(ProfileError, match=r"profile\.json is packed as nsp never packs"):
        load_profile(tmp_path / "a.nsp")


@pytest.mark.parametrize("document", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '"\\ud800"', "\0", "null", "NaN"])
def test_descriptions_that_are_none_are_damage(tmp_path: Path, document: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / SPEC_FILE).write_text(document)
    with pytest.raises(ProfileError, match=r"profile\.json"):
        load_profile(tmp_path / "odd")


def test_a_hash_that_is_none_is_named(small: Profile, tmp_path: Path) -> None:
    fields = json.loads(small.spec.model_dump_json())
    fields["files"][CARD_FILE] = "yes"
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / SPEC_FILE).write_text(json.dumps(fields))
    with pytest.raises(ProfileError, match=r"files\.CARD\.md: String should match pattern"):
        load_profile(tmp_path / "odd")
