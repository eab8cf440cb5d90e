"""One name for each camera, however its makers spell it."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from platformdirs import user_config_path

from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera

SPELLINGS = {
    "eastman": "Kodak",
    "konica": "Konica Minolta",
    "lg": "LG",
    "lge": "LG",
    "htc": "HTC",
    "dji": "DJI",
    "hp": "HP",
    "hewlett-packard": "HP",
    "asahi": "Pentax",
    "om": "OM System",
    "oneplus": "OnePlus",
    "gopro": "GoPro",
    "tcl": "TCL",
    "zte": "ZTE",
}
"""Makers by the first word of what EXIF says; others are written as a name: NIKON CORPORATION is Nikon."""

COMPANY = re.compile(r"\b(corporation|corp|company|co|ltd|inc|ag|gmbh|optical|imaging|techwin|computer)\b\.?,?", re.I)


def aliases_file() -> Path:
    """Where a user's own names for cameras stand."""
    return user_config_path("nsp", appauthor=False) / "cameras.toml"


@cache
def read_aliases(path: Path) -> Mapping[str, str]:
    """Read a user's table of names: `[aliases]`, each line `"what photos say" = "what it is called"`.

    Returns names by what photos say, in the form of `_key`; none where there is no such file.

    Raises UsageError, naming the file, when it is no such table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        import tomllib  # few have such a file, and all would wait for the import at every start

        content = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # no UTF-8 and no TOML are both ValueErrors
        raise UsageError(f"{path}: cannot be read: {error}") from error
    table = content.pop("aliases", {})
    if content or not isinstance(table, dict) or not all(isinstance(name, str) and name for name in table.values()):
        raise UsageError(f'{path}: should hold a table [aliases] with lines such as "NIKON D800" = "Nikon D800"')
    return {_key(said): name for said, name in table.items()}


def camera_name(camera: Camera, aliases: Mapping[str, str]) -> str | None:
    """Return the name of a camera, maker first and said once; None where the metadata name no model.

    Args:
        camera: as the metadata have it.
        aliases: of `read_aliases`; they go by "make model", by the model alone, and by the name that comes out here.
    """
    if not camera.model:
        return None
    words = COMPANY.sub(" ", camera.make or "").split()
    maker = SPELLINGS.get(words[0].casefold(), _as_a_name(words[0])) if words else ""
    model = " ".join(camera.model.split())
    first, _, rest = model.partition(" ")
    if rest and first.casefold() in (maker.casefold(), words[0].casefold() if words else ""):
        model = rest
    name = f"{maker} {model}".strip()
    for said in (f"{camera.make} {camera.model}", camera.model, name):
        if _key(said) in aliases:
            return aliases[_key(said)]
    return name


def _as_a_name(word: str) -> str:
    """NIKON and nikon are Nikon; what mixes capitals of its own accord stays."""
    return word.capitalize() if word.isupper() or word.islower() else word


def _key(said: str) -> str:
    return " ".join(said.split()).casefold()
