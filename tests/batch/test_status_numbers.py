"""Every photo counts once in `nsp status`, whatever earlier runs left of it in the same folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_runs import save_photo
from run_nsp import Finished

Nsp = Callable[..., Finished]
OUT = "out"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


def status(nsp: Nsp, out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(nsp("status", out, "--json").out)
    assert sum(document[name] for name in ("done", "failed", "left-out")) == 3, "there are three photos"
    return document


def test_a_format_that_none_of_the_photos_can_have_adds_no_photos(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / OUT
    assert nsp("denoise", archive, out).code == 0
    assert nsp("denoise", archive, out, "--format", "dng").code == 1
    document, text = status(nsp, out), nsp("status", out).out
    assert (document["done"], document["failed"], document["made_with_other_settings"]) == (0, 3, 0)
    assert document["earlier"] == ["0.png", "1.png", "2.png"]
    assert document["next_run"] == []
    assert text.startswith(f"{out}: 0 done, 3 failed\n")
    assert "beside them, 3 finished files of earlier runs" in text
    assert "the next run does not try again what failed (3)" in text
    assert "makes" not in text
    assert nsp("denoise", archive, out).code == 0
    document = status(nsp, out)
    assert (document["done"], document["failed"], document["earlier"]) == (3, 0, [])


def test_of_two_formats_the_one_of_the_last_run_counts(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / OUT
    nsp("denoise", archive, out)
    nsp("denoise", archive, out, "--format", "tiff")
    document = status(nsp, out)
    assert (document["done"], document["made_with_other_settings"]) == (3, 0)
    assert document["earlier"] == ["0.png", "1.png", "2.png"]
    nsp("denoise", archive, out)
    document = status(nsp, out)
    assert (document["done"], document["made_with_other_settings"]) == (3, 0)
    assert document["earlier"] == ["0.tif", "1.tif", "2.tif"]
    (out / "1.tif").unlink()
    (out / "2.png").unlink()
    document = status(nsp, out)
    assert (document["earlier"], document["gone"]) == (["0.tif", "2.tif"], ["2.png"])
    assert [entry["output"] for entry in document["next_run"]] == ["2.png"]


def test_the_result_of_a_photo_that_is_damaged_since_is_one_of_earlier(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / OUT
    nsp("denoise", archive, out)
    (archive / "1.png").write_bytes(b"")
    assert nsp("denoise", archive, out).code == 1
    document = status(nsp, out)
    assert (document["done"], document["failed"], document["earlier"]) == (2, 1, ["1.png"])


def test_numbers_in_json_have_as_many_digits_as_mean_something(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    def floats(value: Any) -> list[float]:
        if isinstance(value, dict | list):
            return [found for part in (value.values() if isinstance(value, dict) else value) for found in floats(part)]
        return [value] if isinstance(value, float) else []

    run = json.loads(nsp("denoise", archive, tmp_path / OUT, "--json").out)
    found = floats(run) + floats(json.loads(nsp("status", tmp_path / OUT, "--json").out))
    assert len(found) > 10
    assert [value for value in found if len(repr(value).partition(".")[2]) > 4] == []
