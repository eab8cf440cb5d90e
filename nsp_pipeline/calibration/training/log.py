"""The log of a training: a table of its history, TensorBoard's files, and pictures of held-out crops."""

import csv
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.atomic_file import appearing, cannot_write
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.errors import OutputError

CSV_FILE = "log.csv"
PICTURES = "held-out-*.png"
BOARD = "tensorboard"
COLUMNS = (
    *("step", "seconds", "processor_hours", "megapixels", "learning_rate", "loss"),
    *("held_out_mse", "held_out_l1", "drift", "leak", "edges", "white_5", "white_10", "white_25"),
    *("gain", "gain_error", "accepted"),
)
"""The last are of a student that a camera's photos train: what photos are said to gain, in dB, and whether (1 or 0) a
profile would take these weights; the very last of all that train from another profile."""
GAP = 4
WHAT = "the log"


class TrainingLog:
    """Writes into a folder. A resumed training continues it: rows after the checkpoint's step are taken away."""

    def __init__(self, folder: Path, *, after_step: int = 0) -> None:
        """Open the log in an existing folder; `after_step` is the step of the checkpoint that training goes on from."""
        self._folder = folder
        _start(folder, [row for row in read_log(folder) if int(row["step"]) <= after_step])
        self._board = _tensor_board(folder, after_step)

    def record(self, row: Mapping[str, float]) -> None:
        """Append one row, values by the names in COLUMNS; raises OutputError when it cannot be written."""
        written = {name: f"{row[name]:.8g}" for name in COLUMNS if name in row}
        with _writing(self._folder / CSV_FILE) as path, path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow(written)
        if self._board is not None:
            with _writing(self._board.path):
                self._board.record(row)

    def picture(self, step: int, rows: Sequence[Sequence[NDArray[np.float32]]]) -> Path:
        """Save crops side by side: one row each, (H, W, 3) in 0..1, all of one size; returns the file.

        Raises OutputError.
        """
        height, width = rows[0][0].shape[:2]
        sheet = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), color="white")
        for down, row in enumerate(rows):
            for across, crop in enumerate(row):
                place = (across * (width + GAP), down * (height + GAP))
                sheet.paste(Image.fromarray(from_unit(crop, np.dtype(np.uint8))), place)
        target = self._folder / PICTURES.replace("*", f"{step:06}")
        with appearing(target, WHAT) as path:
            sheet.save(path, "PNG")
        return target


def _start(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the table anew; raises OutputError."""
    with appearing(folder / CSV_FILE, WHAT) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Say of what cannot be written, on a full disk say, which file it is; training need not end for it."""
    try:
        yield path
    except OSError as error:
        raise OutputError(cannot_write(path, error, WHAT)) from error


def read_log(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder's table, none where there is no table yet; a half-written last row is left out."""
    path = folder / CSV_FILE
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and row["step"].isdigit()]


def clear_log(folder: Path) -> None:
    """Remove what an earlier training logged in a folder, and nothing else."""
    for path in [folder / CSV_FILE, *folder.glob(PICTURES), *(folder / BOARD).glob("events.*")]:
        path.unlink(missing_ok=True)


def _tensor_board(folder: Path, after_step: int) -> "_Board | None":
    """TensorBoard's file, or None where TensorBoard is not installed: the table has the same numbers."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        return None
    path = folder / BOARD / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
    with _writing(path):
        path.parent.mkdir(exist_ok=True)
        return _Board(path, after_step)


class _Board:
    """A file of TensorBoard's. Its own writer works in a thread, whose death of a full disk is a traceback."""

    def __init__(self, path: Path, after_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self.path = path
        self._add(after_step + 1, file_version="brain.Event:2")
        # What other files have of these steps is to be forgotten: the training was resumed before them.
        self._add(after_step + 1, session_log=SessionLog(status=SessionLog.START))

    def record(self, row: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "step"]
        self._add(int(row["step"]), summary=Summary(value=values))

    def _add(self, step: int, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self.path.open("ab") as file:
            RecordWriter(file).write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
