"""Recipes: named settings in TOML files, shipped with the program or written by the user.

A recipe has one table a command ([calibrate], [denoise]) with the same words as the command line's options,
underscores or hyphens alike. A word that the command does not know is an error, never ignored.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from nsp_pipeline.errors import RecipeError
from nsp_pipeline.file_names import shown

LARGEST = 1 << 20
"""Bytes of a recipe; what is larger is another file."""


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
    where, document = _document(name_or_path)
    table = document.get(section)
    if not isinstance(table, dict):
        tables = ", ".join(shown(name) for name in document) or "nothing"
        raise RecipeError(f"recipe {where} has no [{section}] table; it has: {tables}")
    known = set(allowed)
    settings: dict[str, Any] = {}
    for word, value in table.items():
        key = word.replace("-", "_")
        if key in settings:
            raise RecipeError(f"recipe {where}, [{section}]: '{key}' stands there twice, with - and with _")
        settings[key] = value
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
            raise RecipeError(f"recipe {where}, [{section}]: unknown setting '{shown(key)}'; {hint}")
    return settings


def has_table(name_or_path: str, section: str) -> bool:
    """Whether a recipe says anything of a section; raises RecipeError when there is no such recipe."""
    return section in _document(name_or_path)[1]


def _document(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """What a recipe is called in messages, and its tables."""
    import tomllib  # most runs have no recipe, and all would wait for the import at every start

    where, text = _recipe_text(name_or_path)
    try:
        return where, tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"recipe {where} is not valid TOML: {error}") from None


def _recipe_text(name_or_path: str) -> tuple[str, str]:
    """What a recipe is called in messages, and its text.

    The name of a shipped recipe is that recipe, whatever lies in the current folder under that name: a file of the
    user's is told from it by its ending, or by a path.
    """
    if name_or_path in list_recipes():
        return name_or_path, (recipe_folder() / f"{name_or_path}.toml").read_text(encoding="utf-8")
    called = shown(name_or_path)
    try:
        with Path(name_or_path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise RecipeError(f"recipe {called} is a folder; name a TOML file, or one of: {_names()}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"there is no recipe '{called}'; shipped ones: {_names()}") from None
    except (OSError, ValueError) as error:  # a name that is too long, or has a NUL in it
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecipeError(f"recipe '{called}' cannot be read: {reason}; shipped ones: {_names()}") from None
    if len(data) > LARGEST:
        raise RecipeError(f"recipe {called} is no recipe: it has more than {LARGEST} bytes")
    try:
        return called, data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"recipe {called} is not UTF-8 text; save it as UTF-8, or name another file") from None


def _names() -> str:
    return ", ".join(list_recipes())
