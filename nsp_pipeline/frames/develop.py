"""Develop a picture in the sensor's own colours, once its noise is gone."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.development import Development
from nsp_pipeline.frames.dng.write import encode_dng
from nsp_pipeline.frames.formats.raw.read import read_raw
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.frames.limits import size_text
from nsp_pipeline.machine.disk_array import beside
from nsp_pipeline.machine.memory import available_memory

LIBRAW_BYTES = 30
"""For a pixel of a sensor: what LibRaw's process takes (measured: 26), and room for what else grows meanwhile."""


def develop_frame(frame: Frame, development: Development) -> Frame:
    """Develop a frame that `read_frame` left in the sensor's colours, as it would have been developed at once.

    Raises PhotoError as `read_frame` does, and OSError where there is no room for a temporary file.
    """
    source = frame.metadata.source
    assert isinstance(source, RawSource)
    assert source.gains
    needed, free = LIBRAW_BYTES * frame.pixels.shape[0] * frame.pixels.shape[1], available_memory()
    if free is not None and needed > free:
        reason = (
            f"developing it takes {size_text(needed)} of memory, and {size_text(free)} are free here; close other "
            "programs, or grant nsp more"
        )
        raise PhotoError(Path("the picture"), reason) from MemoryError()
    with TemporaryDirectory(prefix="nsp-") as folder:
        path = Path(folder) / "picture.dng"
        with path.open("w+b") as stream:
            encode_dng(frame, stream, previews=False)
        developed = read_raw(path, development=development, allocate=beside(frame.pixels))
    left_out = tuple(dict.fromkeys((*frame.metadata.left_out, *developed.metadata.left_out)))
    metadata = replace(developed.metadata, left_out=left_out)
    return replace(developed, metadata=metadata, camera=frame.camera, damage=frame.damage)
