"""RAW in a run: read as it is to be denoised, and developed afterwards where that was before."""

from collections.abc import Callable
from dataclasses import replace

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.denoise.photo import Inferred, noise_left
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED, UNTOUCHED
from nsp_pipeline.frames.frame import Frame, Kind, RawSource
from nsp_pipeline.frames.write import OutputKind, is_undeveloped, require_dng_source

LEAST_NOISE_LEFT = 0.001
"""Share of the variance of noise that is taken to be left where none was found."""


def read_to_denoise(task: Task, settings: RunSettings, read: Callable[..., Frame]) -> Frame:
    """Read a photo with `read` (see frames.read.read_frame); RAW in the domain that it is to be denoised in."""
    path, keep = task.job.input, settings.damaged == "keep"
    development, domain = settings.development_of(task), settings.domain_of(task)
    first = {"demosaiced": UNDEVELOPED, "raw": UNTOUCHED}.get(domain, development)
    frame = read(path, keep_damaged=keep, development=first)
    if task.job.kind is OutputKind.DNG:
        require_dng_source(path, frame)
    elif first != development and frame.kind is Kind.RAW and not is_undeveloped(frame) and development != DEVELOPED:
        # A sensor whose colours have no place in a DNG is developed at once, and now as it was asked for.
        frame = read(path, keep_damaged=keep, development=development)
    return frame


def finished(inferred: Inferred, task: Task, settings: RunSettings) -> Frame:
    """The frame to write: developed where it is to be and has not been. Raises PhotoError and OSError."""
    frame = _with_noise_left(inferred)
    if is_undeveloped(frame) and task.job.kind is not OutputKind.DNG:
        return develop_frame(frame, settings.development_of(task))
    return frame


def _with_noise_left(inferred: Inferred) -> Frame:
    """The frame, which says how much of a RAW file's noise is left, where that can be told."""
    source = inferred.frame.metadata.source
    if not isinstance(source, RawSource) or not inferred.noise_before:
        return inferred.frame
    share = min(1.0, max(LEAST_NOISE_LEFT, (noise_left(inferred) / inferred.noise_before) ** 2))
    metadata = replace(inferred.frame.metadata, source=replace(source, noise_left=share))
    return replace(inferred.frame, metadata=metadata)
