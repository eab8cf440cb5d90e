"""`--white-balance`, `--highlights`, `--colour-space` and `--exposure`: how RAW is developed."""

from collections.abc import Callable
from typing import Any

import click

from nsp_pipeline.cli.shared.quantities import NumberType
from nsp_pipeline.frames.development import COLOUR_SPACES, HIGHLIGHTS, MOST_EXPOSURE, WHITE_BALANCES

OPTIONS = (
    click.option(
        "--white-balance",
        metavar="|".join((*WHITE_BALANCES, "R,G,B")),
        help="Of RAW: the camera's, grey on average, that of daylight, or multipliers.  [default: as the profile was "
        "calibrated; camera]",
    ),
    click.option(
        "--highlights",
        type=click.Choice(HIGHLIGHTS),
        help="Of RAW, where the sensor was full: white, a blend, or a guess.  [default: as calibrated; clip]",
    ),
    click.option(
        "--colour-space",
        type=click.Choice(COLOUR_SPACES),
        help="Of developed RAW; rec2020 is stored in linear light.  [default: as calibrated; srgb]",
    ),
    click.option(
        "--exposure",
        type=NumberType(-MOST_EXPOSURE, MOST_EXPOSURE),
        metavar="STOPS",
        help="Of RAW: make it brighter or darker.  [default: as calibrated; 0]",
    ),
)


def development_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
