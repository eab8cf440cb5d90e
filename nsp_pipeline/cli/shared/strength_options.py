"""`--strength`, `--chroma`, `--detail`, `--look`: how much a photographer wants removed; and `--pd`, by which way."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from nsp_pipeline.cli.shared.quantities import OrWord, ShareType
from nsp_pipeline.core.blend import LOOKS, SMOOTH
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.light import LIGHT_WORDS
from nsp_pipeline.profiles.spec import PD_WORDS

LIGHT_OPTION = click.option(
    "--light",
    type=click.Choice(LIGHT_WORDS),
    default="auto",
    show_default=True,
    help="How photos store brightness: linear is light itself, encoded is on a curve for the eye, as JPEG always is. "
    "auto: as the colour profile says.",
)

OPTIONS = (
    click.option(
        "--strength",
        type=OrWord("auto", ShareType()),
        default="auto",
        show_default=True,
        metavar="auto|0..1",
        help="Share of the noise to remove. auto: measure the noise, and spare fine detail.",
    ),
    click.option(
        "--chroma",
        type=OrWord("auto", ShareType()),
        default="auto",
        show_default=True,
        metavar="auto|0..1",
        help="The same for colour noise alone. auto: as --strength.",
    ),
    click.option(
        "--detail",
        type=ShareType(),
        default=0.0,
        show_default=True,
        help="Share of the finest grain to put back, in brightness only.",
    ),
    click.option(
        "--look",
        type=click.Choice(LOOKS),
        default=SMOOTH,
        show_default=True,
        help="smooth removes all noise. natural keeps some grain, and with it texture as weak as the noise: black "
        "cloth, leather, skin. Strong noise that is surely none of these goes all the same.",
    ),
    click.option(
        "--pd",
        type=click.Choice(PD_WORDS),
        default="auto",
        show_default=True,
        help="Pixel-shuffle downsampling, for blind-spot networks: on removes coarse noise, off keeps more detail, "
        "blend is between and takes twice the time. auto: as the profile says.",
    ),
)


def strength_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def inference_settings(options: Mapping[str, Any]) -> InferenceSettings:
    """The settings that a command line with these options, `mode` and `tile` asks for.

    Raises UsageError where the mode has no use for --pd.
    """
    mode, strength, chroma, detail = (options[name] for name in ("mode", "strength", "chroma", "detail"))
    if options["pd"] != "auto" and mode != "denoise":
        raise UsageError(f"--pd works with --mode denoise only, not with {mode}")
    return InferenceSettings(mode, strength, options["tile"], chroma, detail, options["pd"], look=options["look"])
