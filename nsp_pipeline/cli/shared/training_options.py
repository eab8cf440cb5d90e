"""The options that the commands which train have in common: how long, where, from which photos, and what for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nsp_pipeline.cli.shared.finding import find_options
from nsp_pipeline.cli.shared.quantities import DeviceType, DurationType

HOW = (
    click.option("--max-steps", type=click.IntRange(min=1), help="Number of training steps, instead of the recipe's."),
    click.option(
        "--max-time",
        type=DurationType(),
        metavar="TIME",
        help="Read photos, train and judge for at most this time: 20m, 8h. Choosing PD and writing the profile come on "
        "top: a minute or two, more with tbsn. With --split, all profiles share this time by the number of their "
        "photos; with --cluster, each has it.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Continue a training that was killed or stopped, with the same photos and options.",
    ),
    click.option(
        "--device", type=DeviceType(), default="auto", show_default=True, help="auto: the GPU if there is one."
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Processor cores to train on; without it, all."),
    click.option(
        "--pair",
        "pairs",
        nargs=2,
        multiple=True,
        type=click.Path(exists=True, path_type=Path),
        metavar="A B",
        help="Two shots of one scene from a tripod, for a stronger test of the result. May be repeated.",
    ),
)
WHAT_FOR = (
    click.option("--origin", help="Where the photos come from; a note for the profile's card."),
    click.option("--licence", default="not stated", help="Licence of the profile; a note for its card."),
    click.option("--json", "as_json", is_flag=True, help="Print the finished profile's description as JSON on stdout."),
)


def how_to_train(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options that say how long and where it trains."""
    for option in reversed(HOW):
        command = option(command)
    return command


def what_it_is_for(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options that pick photos, and say what the profile's card says of them."""
    for option in reversed(WHAT_FOR):
        command = option(command)
    return find_options(command)
