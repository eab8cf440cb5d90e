"""Outputs keep their original's time of change and permissions."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_runs import save_photo, start, strays
from run_nsp import Finished, finish

Nsp = Callable[..., Finished]
TAKEN_NS = 1_234_567_890_123_456_789


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o664])
def test_an_output_has_the_time_and_the_permissions_of_its_original(
    nsp: Nsp, tmp_path: Path, name: str, mode: int
) -> None:
    photo = save_photo(tmp_path / "in" / name)
    photo.chmod(mode)
    os.utime(photo, ns=(TAKEN_NS, TAKEN_NS))
    assert nsp("denoise", tmp_path / "in", tmp_path / "out").code == 0
    status = (tmp_path / "out" / name).stat()
    assert stat.S_IMODE(status.st_mode) == mode
    assert status.st_mtime_ns == TAKEN_NS
    again = nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert "1 skipped (already done)" in again.err


def test_bits_that_lend_rights_are_not_copied(nsp: Nsp, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "in" / "a.png")
    photo.chmod(0o6755)
    nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "a.png").stat().st_mode) == 0o755


def test_a_read_only_output_is_replaced_and_an_edited_one_is_noticed(nsp: Nsp, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "in" / "a.png")
    photo.chmod(0o444)
    nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert "1 done" in nsp("denoise", tmp_path / "in", tmp_path / "out", "--strength", "0.3").err
    output = tmp_path / "out" / "a.png"
    output.chmod(0o644)
    edited = bytearray(output.read_bytes())
    edited[-1] ^= 1
    output.write_bytes(edited)
    assert nsp("denoise", tmp_path / "in", tmp_path / "out", "--strength", "0.9").code == 1
    assert output.read_bytes() == edited


def test_while_it_is_written_nobody_else_may_look(tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "in" / "a.png")
    photo.chmod(0o644)
    finish(start("denoise", tmp_path / "in", tmp_path / "out", NSP_FAKE_DEATH="while-writing:0"))
    (partial,) = strays(tmp_path / "out")
    assert stat.S_IMODE(partial.stat().st_mode) == 0o600
