"""One photo through its engine, and again on the reference where that breaks down or gives another picture."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.denoise.mosaic import denoise_mosaic
from nsp_pipeline.denoise.photo import InferenceSettings, Inferred, Pixels, denoise_frame
from nsp_pipeline.denoise.plausible import require_its_colours
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.errors import EngineFailedError, UntrustedResultError
from nsp_pipeline.frames.frame import Frame, RawSource


@dataclass(frozen=True)
class InferenceContext:
    """What inference of one photo runs on, and whom it tells."""

    engine: Engine
    reference: Callable[[], Engine | None]
    """Opens the engine that stands in where the first one's result cannot be trusted; gives None if there is none."""
    on_tile: Callable[[int, int], None]
    """Takes (tiles done, tiles in all)."""
    say: Callable[[str], None]
    """Takes a line for the user."""
    on_rows: Callable[[Pixels, int, EngineInfo], None] | None = None
    """Takes rows of the result that are done (see denoise_frame), and what makes them; of mosaics none."""
    noise: NoiseLevel | None = None
    """Of the photo as networks see it, where that is known already."""


def denoise_trusted(
    frame: Frame, settings: InferenceSettings, context: InferenceContext, name: str
) -> tuple[Inferred, EngineInfo]:
    """Denoise a photo, and say what made it.

    Args:
        name: what the photo is called in lines for the user.

    Raises:
        UntrustedResultError, EngineFailedError: the reference does no better, or is not to be used.
        EngineOutOfMemoryError: see denoise_frame.
    """
    info = context.engine.info
    try:
        return _denoised(frame, context.engine, settings, context), info
    except (UntrustedResultError, EngineFailedError) as error:
        trouble = f"{info.name} ({info.provider}, {info.precision}): {error}"
        reference = context.reference()
        if reference is None or reference.info.provider == info.provider:
            raise type(error)(f"{trouble}; try another --engine, --precision or --profile") from error
        context.say(f"{name}: {trouble}; made again on {reference.info.provider}")
        return _denoised(frame, reference, settings, context), replace(reference.info, fallback=trouble)


def _denoised(frame: Frame, engine: Engine, settings: InferenceSettings, context: InferenceContext) -> Inferred:
    def on_smaller(side: int) -> None:
        context.say(f"{engine.info.provider}: out of memory; going on with tiles of {side} pixels")

    def on_rows(result: Pixels, count: int) -> None:
        if context.on_rows:
            context.on_rows(result, count, engine.info)

    source = frame.metadata.source
    if isinstance(source, RawSource) and source.mosaic:
        inferred = denoise_mosaic(frame, engine, settings, context.on_tile, on_smaller)
    else:
        inferred = denoise_frame(frame, engine, settings, context.on_tile, on_smaller, on_rows, context.noise)
    require_its_colours(*inferred.seen, inferred.noise_before, inferred.most_brightened)
    return inferred
