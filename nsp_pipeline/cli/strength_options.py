"""`--strength`, `--chroma` and `--detail`: how much a photographer wants removed."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from nsp_pipeline.batch.infer import InferenceSettings
from nsp_pipeline.cli.quantities import OrWord
from nsp_pipeline.errors import UsageError

OPTIONS = (
    click.option(
        "--strength",
        type=OrWord("auto", click.FloatRange(0, 1)),
        default="auto",
        show_default=True,
        metavar="auto|0..1",
        help="Share of the noise to remove; auto: by the noise in the photo.",
    ),
    click.option(
        "--chroma",
        type=OrWord("auto", click.FloatRange(0, 1)),
        default="auto",
        show_default=True,
        metavar="auto|0..1",
        help="The same of the colour noise alone; auto: as --strength.",
    ),
    click.option(
        "--detail",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Share of the finest grain to put back, in brightness only; 1 keeps all of it.",
    ),
)


def strength_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the three options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def inference_settings(options: Mapping[str, Any]) -> InferenceSettings:
    """The settings that a command line with these options, `mode` and `tile` asks for.

    Raises UsageError where the mode does not blend with the noisy photo.
    """
    mode, strength, chroma, detail = (options[name] for name in ("mode", "strength", "chroma", "detail"))
    asked = {"--strength": strength is not None, "--chroma": chroma is not None, "--detail": detail > 0}
    for name, given in asked.items():
        if given and mode != "denoise":
            raise UsageError(f"{name} acts in --mode denoise only, not in {mode}")
    return InferenceSettings(mode, strength, options["tile"], chroma, detail)
