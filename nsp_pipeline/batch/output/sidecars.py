"""Sidecars (`.xmp`) of photos, brought beside their outputs."""

import os
from dataclasses import replace
from pathlib import Path

from nsp_pipeline.atomic_file import appearing
from nsp_pipeline.batch.job import Job
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.sidecar import description_of, read_sidecar, sidecars_of, with_sidecar
from nsp_pipeline.frames.sniff import RAW_SUFFIXES

LONGEST_NAME = 255
"""Bytes of a name that disks take."""


def with_sidecars(frame: Frame, job: Job) -> Frame:
    """A photo with what the sidecars beside it say and it does not; those that cannot be read are left out by name."""
    for source, _ in sidecars_of(job.input, job.output):
        try:
            frame = with_sidecar(frame, read_sidecar(source))
        except OSError as error:
            words = f"the sidecar {printable(source.name)}, which cannot be read ({error.strerror or error})"
            metadata = replace(frame.metadata, left_out=(*frame.metadata.left_out, words))
            frame = replace(frame, metadata=metadata)
    return frame


def bring_sidecars(job: Job) -> None:
    """Copy the sidecars of a photo beside its output, unless there is a file of that name.

    That of a RAW file which was developed gets what describes the photo, without settings for developing; so does the
    one that a JPEG shares with the RAW file beside it. Raises OutputError where the disk cannot be written.
    """
    becomes_picture = job.output.suffix.lower() not in RAW_SUFFIXES
    for source, target in sidecars_of(job.input, job.output):
        if os.path.lexists(target) or len(os.fsencode(target.name)) > LONGEST_NAME:
            continue
        try:
            whole, times = read_sidecar(source), source.stat()
        except OSError:
            continue  # with_sidecars has named it
        content = description_of(whole) if becomes_picture and _is_of_raw(source, job.input) else whole
        if content is None:
            continue
        with appearing(target, "the sidecar") as partial:
            partial.write_bytes(content)
            os.utime(partial, ns=(times.st_atime_ns, times.st_mtime_ns))


def _is_of_raw(sidecar: Path, photo: Path) -> bool:
    """Whether a photo's sidecar is about a RAW file: the photo itself, or one of its name, as cameras make pairs."""
    if photo.suffix.lower() in RAW_SUFFIXES:
        return True
    shared = sidecar.stem == photo.stem
    return shared and any(photo.with_suffix(own).exists() for raw in RAW_SUFFIXES for own in (raw, raw.upper()))
