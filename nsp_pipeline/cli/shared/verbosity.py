"""`-v` and `-q`, which every command has: how much is said beside the results."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from nsp_pipeline.errors import UsageError

VERBOSE, QUIET = "nsp.verbose", "nsp.quiet"


def with_verbosity(command: click.Command) -> click.Command:
    """The command, or every command of a group, with the two options; no second time."""
    if isinstance(command, click.Group):
        for child in command.commands.values():
            with_verbosity(child)
    elif not any(parameter.name == "quiet" for parameter in command.params):
        command.params += [
            click.Option(
                ["-v", "--verbose"],
                is_flag=True,
                expose_value=False,
                callback=_set_verbose,
                help="Say more: of every photo, why, and how long it took.",
            ),
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_set_quiet,
                help="Say nothing but what went wrong, and what was asked for.",
            ),
        ]
    return command


def is_verbose() -> bool:
    """Whether the command that runs was asked to say more."""
    return _asked(VERBOSE)


def is_quiet() -> bool:
    """Whether it was asked to be quiet."""
    return _asked(QUIET)


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Be as quiet as the command that this process works for."""
    with click.Context(click.Command("nsp")) as context:
        _set(context, QUIET, quiet)
        yield


def _asked(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(name))


def _set_verbose(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    _set(ctx, VERBOSE, value)
    if value:
        began = time.monotonic()
        name = ctx.command_path
        ctx.call_on_close(lambda: click.echo(f"{name} took {time.monotonic() - began:.1f} s", err=True))


def _set_quiet(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    _set(ctx, QUIET, value)


def _set(ctx: click.Context, name: str, value: Any) -> None:
    if value:
        ctx.meta[name] = True
    if ctx.meta.get(VERBOSE) and ctx.meta.get(QUIET):
        raise UsageError("-v says more and -q says less; leave one of them out")
