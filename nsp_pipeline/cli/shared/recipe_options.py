"""`--recipe`: a named set of defaults for a command's options. What stands on the command line wins."""

from collections.abc import Callable
from typing import Any

import click

from nsp_pipeline.errors import RecipeError
from nsp_pipeline.recipe import load_recipe

NEVER_IN_RECIPES = {"recipe", "help"}


def recipe_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the option; put it below `@click.command`."""
    return click.option(
        "--recipe",
        metavar="NAME|FILE",
        is_eager=True,
        expose_value=False,
        callback=take_defaults,
        help="Read options from a recipe, a TOML file; options on the command line win.",
    )(command)


def take_defaults(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """Callback of an eager --recipe option: make the recipe's [command] table the defaults of the other options.

    Raises RecipeError for an unknown word (naming the nearest right one) or a value that its option does not take.
    """
    if name is None or ctx.resilient_parsing:
        return name
    section = str(ctx.command.name)
    options = {word: option for option in ctx.command.params if (word := _word(option)) not in NEVER_IN_RECIPES | {""}}
    defaults: dict[str, Any] = {}
    for word, value in load_recipe(name, section, options).items():
        option = options[word]
        if option.multiple and not isinstance(value, list):
            value = [value]
        try:
            option.type_cast_value(ctx, value)
        except click.UsageError as error:
            raise RecipeError(f"recipe {name}, [{section}]: {word}: {error.message}") from None
        defaults[str(option.name)] = value
    ctx.default_map = defaults
    return name


def _word(parameter: click.Parameter) -> str:
    """An option's word in a recipe: its long name, with underscores; empty for arguments."""
    if not isinstance(parameter, click.Option):
        return ""
    return max(parameter.opts, key=len).lstrip("-").replace("-", "_")
