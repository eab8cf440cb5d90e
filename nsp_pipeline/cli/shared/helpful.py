"""Commands whose help teaches: examples first, options in groups, and the right word where one is wrong or missing."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import click

OTHERS = "Other options"
BOUNDS = re.compile(r"(-?[\d.]+)?(<=?)?x(<=?|>=?)(-?[\d.]+)")
"""What click says of the range of a number: 0<=x<=1, x>=1."""
REFUSED = re.compile(r"'(.*)' is not one of ")
"""What click says of a word that is no choice."""


class HelpfulCommand(click.Command):
    """A command with examples, each a line to type, and options in named groups; others come last."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self._groups = groups or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; of several arguments the one that is really missing is named, and misspelt words are guessed."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if isinstance(error, click.MissingParameter):
                raise self._named_rightly(ctx, given, error) from None
            kind = error.param.type if error.param else None
            if not (isinstance(kind, click.Choice) and (said := REFUSED.match(error.message))):
                raise
            near = get_close_matches(said[1], [str(choice) for choice in kind.choices], n=1)
            guess = f" Did you mean '{near[0]}'?" if near else ""
            raise click.BadParameter(error.message + guess, ctx=ctx, param=error.param) from None

    def _named_rightly(self, ctx: click.Context, given: list[str], error: click.MissingParameter) -> click.UsageError:
        if (missing := self._really_missing(ctx, given, error.param)) is None:
            return error
        name = missing.human_readable_name
        said = f"{given[-1]} is taken for {getattr(error.param, 'human_readable_name', '')}; name {name} after it."
        return click.MissingParameter(said, ctx=ctx, param=missing)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first paragraph, the examples, and the rest."""
        text = self.help
        first, _, rest = (text or "").partition("\n\n")
        self.help = first
        super().format_help_text(ctx, formatter)
        write_examples(formatter, self.examples)
        if rest:
            self.help = rest
            super().format_help_text(ctx, formatter)
        self.help = text

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Groups in their order; what is in none stands under one name with the rest."""
        left = {
            parameter.name: _in_words(record)
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx))
        }
        for title, names in self._groups.items():
            write_records(formatter, title, [left.pop(name) for name in names])
        write_records(formatter, OTHERS if self._groups else "Options", list(left.values()))

    def _really_missing(
        self, ctx: click.Context, args: list[str], named: click.Parameter | None
    ) -> click.Argument | None:
        """A later argument, where the one that takes several went empty only because a later one took its word."""
        arguments = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Argument)]
        if not isinstance(named, click.Argument) or named.nargs != -1 or named not in arguments:
            return None
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        later = arguments[arguments.index(named) + 1 :]
        taken = [argument for argument in later if isinstance(values.get(str(argument.name)), str)]
        return taken[0] if taken else None


class HelpfulGroup(click.Group):
    """A group with examples, that guesses what a misspelt command was meant to be."""

    command_class = HelpfulCommand

    def __init__(self, *args: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it is for, and the first things to type."""
        super().format_help_text(ctx, formatter)
        write_examples(formatter, self.examples)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f" Did you mean '{near[0]}'?" if near else f" See '{ctx.command_path} --help'."
            ctx.fail(f"No such command '{name}'.{meant}")
        return super().resolve_command(ctx, args)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write lines to type, as they are."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def write_records(formatter: click.HelpFormatter, title: str, records: Sequence[tuple[str, str]]) -> None:
    """Write options with their help under a title."""
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


def _in_words(record: tuple[str, str]) -> tuple[str, str]:
    """The option and its help without click's own language: N instead of INTEGER RANGE, 1 or more instead of x>=1."""
    name, text = record
    return re.sub(r"(INTEGER|FLOAT)( RANGE)?$", "N", name), BOUNDS.sub(_bounds_in_words, text)


def _bounds_in_words(found: re.Match[str]) -> str:
    low, low_sign, high_sign, high = found.groups()
    if low is None:
        return {">=": f"{high} or more", ">": f"above {high}", "<=": f"{high} at most", "<": f"below {high}"}[high_sign]
    return f"{low} to {high}" if low_sign == "<=" else f"above {low}, {high} at most"
