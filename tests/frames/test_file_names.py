"""File names as text, and back."""

import json
import os
from pathlib import PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_pipeline.file_names import from_printable, printable


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Grüße 山 'a' \"b\" 😀.jpg", "Grüße 山 'a' \"b\" 😀.jpg"),
        ("👨\u200d👩\u200d👧.jpg", "👨\u200d👩\u200d👧.jpg"),
        ("a\nb\tc\rd.jpg", "a\\nb\\tc\\rd.jpg"),
        ("\x1b[31m.jpg", "\\x1b[31m.jpg"),
        ("back\\slash.jpg", "back\\\\slash.jpg"),
        (os.fsdecode(b"a\xff.jpg"), "a\\xff.jpg"),
        ("a\\xff.jpg", "a\\\\xff.jpg"),
        ("\x85\xa0.jpg", "\\u0085\\u00a0.jpg"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\U000e0001.jpg", "\\U000e0001.jpg"),
    ],
)
def test_odd_names_become_text_and_come_back(name: str, text: str) -> None:
    assert printable(name) == text
    assert from_printable(text) == name
    assert json.loads(json.dumps(text)) == text
    text.encode("utf-8")


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_every_name_that_a_disk_can_hold_comes_back(name: bytes) -> None:
    path = os.fsdecode(name)
    assert from_printable(printable(path)) == path


@given(*[st.binary(max_size=6).filter(lambda name: b"\0" not in name)] * 2)
def test_two_names_never_become_one_text(one: bytes, other: bytes) -> None:
    same = os.fsdecode(one) == os.fsdecode(other)
    assert (printable(os.fsdecode(one)) == printable(os.fsdecode(other))) == same


def test_paths_of_windows_have_slashes() -> None:
    assert printable(PureWindowsPath("C:\\photos\\a.jpg")) == "C:/photos/a.jpg"
