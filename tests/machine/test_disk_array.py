"""Arrays on the disk: the same numbers, in a fraction of the memory."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from run_nsp import finish, start_python

from nsp_pipeline.machine.disk_array import beside, let_go, on_disk, pieces

FILLED = """
import sys
from pathlib import Path
import numpy as np
from nsp_pipeline.machine.disk_array import on_disk, pieces

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss")) / 1024

before = resident()
array = on_disk(Path(sys.argv[1]))((6000, 8000, 3), np.uint16)
most, total = 0.0, 0
for rows in pieces(array):
    array[rows] = 7
    most = max(most, resident() - before)
for rows in pieces(array):
    total += int(array[rows].sum(dtype=np.uint64))
    most = max(most, resident() - before)
print(array.nbytes >> 20, most, total)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what is resident")
def test_no_more_than_a_piece_of_it_takes_memory(tmp_path: Path) -> None:
    ended = finish(start_python("-c", FILLED, tmp_path))
    assert ended.code == 0, ended.err
    size, most, total = map(float, ended.out.split())
    assert size > 270
    assert most < 80, "a piece has 64 MB"
    assert total == 7 * 6000 * 8000 * 3
    assert list(tmp_path.iterdir()) == [], "it has no name"


def test_arrays_made_beside_one_are_where_it_is(tmp_path: Path) -> None:
    array = on_disk(tmp_path)((40, 30, 3), np.uint16)
    view = np.asarray(array.reshape(1, 40, 90)[0, 4:8])
    array[...] = 5
    let_go(view)
    assert (array == 5).all()
    made = beside(view)((2, 2), np.float32)
    assert (made.shape, str(made.dtype), float(made.sum())) == ((2, 2), "float32", 0.0)
    assert beside(made) is not np.zeros, "also on the disk"
    assert beside(array * 2) is np.zeros, "what is computed is in memory"
    assert [rows.start for rows in pieces(np.zeros((3, 2)))] == [0]


def test_on_a_disk_without_room_it_is_made_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    array = on_disk(tmp_path)((4, 4), np.uint8)
    assert array.sum() == 0
    assert beside(array) is np.zeros
