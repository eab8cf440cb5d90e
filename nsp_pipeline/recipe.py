"""Recipes: named settings in TOML files, shipped with the program or written by the user.

A recipe has one table a command ([calibrate], [denoise]) with the same words as the command line's options,
underscores or hyphens alike. A word that the command does not know is an error, never ignored.
"""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from nsp_pipeline.errors import RecipeError


def recipe_folder() -> Traversable:
    """Where the shipped recipes lie: inside the installed package, or beside it in a checkout."""
    installed = files("nsp_pipeline") / "recipes"
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parent.parent / "recipes"


def list_recipes() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in recipe_folder().iterdir() if entry.name.endswith(".toml")
    )


def load_recipe(name_or_path: str, section: str, allowed: Iterable[str]) -> dict[str, Any]:
    """Read one section of a recipe.

    Args:
        name_or_path: the name of a shipped recipe, or a TOML file.
        section: the command, such as "denoise"; a recipe without that table is an error.
        allowed: the words that the command knows, with underscores.

    Returns:
        The settings, keys with underscores.

    Raises:
        RecipeError: no such recipe, not TOML, or an unknown word; the message names the nearest known one.
    """
    where, text = _recipe_text(name_or_path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {where} is not valid TOML: {error}") from None
    table = document.get(section)
    if not isinstance(table, dict):
        raise RecipeError(f"recipe {where} has no [{section}] table; it has: {', '.join(document) or 'nothing'}")
    known = set(allowed)
    settings = {key.replace("-", "_"): value for key, value in table.items()}
    for key in settings:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
            raise RecipeError(f"recipe {where}, [{section}]: unknown setting '{key}'; {hint}")
    return settings


def _recipe_text(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {path} cannot be read: {error}") from None
    entry = recipe_folder() / f"{name_or_path}.toml"
    if not entry.is_file():
        raise RecipeError(f"there is no recipe '{name_or_path}'; shipped ones: {', '.join(list_recipes())}")
    return name_or_path, entry.read_text(encoding="utf-8")
