"""`--engine`, `--device` and `--precision`: what computes."""

from collections.abc import Callable
from typing import Any

import click

from nsp_pipeline.cli.shared.quantities import DeviceType
from nsp_pipeline.engines.choose import ENGINES, PRECISIONS

OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["auto", *ENGINES]),
        default="auto",
        show_default=True,
        help="auto: the fastest that is installed and agrees with the float32 network.",
    ),
    click.option(
        "--device",
        type=DeviceType(),
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help="cuda: a GPU or nothing; auto: the GPU where there is one.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", *PRECISIONS]),
        default="auto",
        show_default=True,
        help="Of the computation; what differs visibly from fp32 is not used.",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the three options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
