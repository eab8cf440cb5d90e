"""`--engine`, `--device` and `--precision`: what computes."""

from collections.abc import Callable
from typing import Any

import click

from nsp_pipeline.cli.shared.quantities import DeviceType
from nsp_pipeline.engines.candidates import ENGINES, PRECISIONS

SEVERAL_GPUS = click.option(
    "--device",
    type=DeviceType(several=True),
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N,…]|all",
    help="auto: the GPU if there is one. With cuda nothing runs on the CPU. cuda:0,1 and all use several GPUs, with a "
    "process for each.",
)

OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["auto", *ENGINES]),
        default="auto",
        show_default=True,
        help="What computes. auto: the fastest installed engine whose result agrees with float32.",
    ),
    click.option(
        "--device",
        type=DeviceType(),
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help="auto: the GPU if there is one. With cuda nothing runs on the CPU.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", *PRECISIONS]),
        default="auto",
        show_default=True,
        help="Number format to compute in. One that visibly differs from fp32 is not used.",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the three options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def engine_options_for_several(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the three options, of which `--device` may name several GPUs."""
    for option in reversed((OPTIONS[0], SEVERAL_GPUS, OPTIONS[2])):
        command = option(command)
    return command
