"""A large TIFF is written while the rest of it is still being made: strip by strip, as rows of it are done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.mark import Mark
from nsp_pipeline.batch.output.publish import Encoding, Stopped, explained, write_file
from nsp_pipeline.denoise.photo import Pixels
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.frames.frame import Frame, Kind, RawSource, TiffSource
from nsp_pipeline.frames.rows import Rows
from nsp_pipeline.frames.write import stored_kind

LEAST_BYTES = 64 << 20
"""Of pixels; the writing of smaller photos hides behind the next one."""


class EarlyWrite:
    """One file under its temporary name, written by a thread of its own."""

    def __init__(self, partial: Path, job: Job, frame: Frame, mark: Mark, encoding: Encoding) -> None:
        """Begin; `frame` has pixels of which no row need be there yet."""
        self._partial, self._job, self._mark, self._encoding = partial, job, mark, encoding
        self._rows = Rows()
        self._frame = replace(frame, rows=self._rows)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._write, daemon=True)
        self._thread.start()

    def come(self, count: int) -> None:
        """The first `count` rows are done."""
        self._rows.come(count)

    def is_of(self, frame: Frame, mark: Mark) -> bool:
        """Whether the file holds this very frame, and says this of it."""
        return frame.pixels is self._frame.pixels and mark == self._mark

    def finish(self) -> None:
        """All rows are done: wait until they are on the disk. Raises what writing raised."""
        self._rows.come(len(self._frame.pixels))
        self._thread.join()
        if self._error:
            raise self._error

    def abandon(self) -> None:
        """Leave nothing of it."""
        self._rows.fail(Stopped())
        self._thread.join()
        self._partial.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            with explained(self._partial, self._job):
                write_file(self._partial, self._job, self._frame, self._mark, self._encoding)
        except BaseException as error:
            self._error = error


class EarlyWrites:
    """The early writing of one photo, begun anew where its result is."""

    def __init__(
        self, partial: Path, job: Job, frame: Frame, marked: Callable[[EngineInfo], Mark], encoding: Encoding
    ) -> None:
        """Nothing is written before `on_rows`; `marked` says what an output of an engine says of itself."""
        self._partial, self._job, self._frame, self._marked, self._encoding = partial, job, frame, marked, encoding
        self.write: EarlyWrite | None = None

    def on_rows(self, result: Pixels, count: int, info: EngineInfo) -> None:
        """See InferenceContext."""
        if count:
            assert self.write is not None
            self.write.come(count)
        else:
            self.abandon()
            frame = replace(self._frame, pixels=result)
            self.write = EarlyWrite(self._partial, self._job, frame, self._marked(info), self._encoding)

    def abandon(self) -> None:
        """Leave nothing of it."""
        if self.write:
            self.write.abandon()
        self.write = None


def suits(frame: Frame, job: Job, encoding: Encoding, scale: int) -> bool:
    """Whether what is made of a photo is a large TIFF whose strips need nothing but their own rows."""
    source = frame.metadata.source
    if scale != 1 or frame.pixels.nbytes < LEAST_BYTES or stored_kind(frame, job.kind) is not Kind.TIFF:
        return False
    other_depth = encoding.bit_depth not in (None, 8 * frame.pixels.itemsize)
    is_half = isinstance(source, TiffSource) and source.half
    return not (other_depth or is_half or isinstance(source, RawSource))
