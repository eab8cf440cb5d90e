"""Which clean photo belongs to which noisy one, by name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.read import PHOTO_SUFFIXES

ROLE = re.compile(r"[_-](real|mean|noisy|clean|gt)$", re.IGNORECASE)
"""What data sets end a name with: PolyU and CC write `x_Real` and `x_mean`."""

SIDD_ROLE = re.compile(r"(^|_)(NOISY|GT)_(SRGB|RAW)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A noisy photo and its ground truth."""

    name: str
    noisy: Path
    clean: Path


def find_pairs(noisy: Path, clean: Path) -> list[Pair]:
    """Pair the photos of two folders, recursively.

    Names match without their suffix and without the word by which data sets tell the two apart (`x_Real.JPG` and
    `x_mean.JPG`; `NOISY_SRGB_x` and `GT_SRGB_x`). Photos without a partner are left out. Both may be the same folder.

    Raises:
        UsageError: no pair was found, or a name is there twice.
    """
    same = noisy.resolve() == clean.resolve()
    noisy_photos = _by_name(noisy, lambda stem: not (same and _is_clean(stem)))
    clean_photos = _by_name(clean, lambda stem: not same or _is_clean(stem))
    common = sorted(set(noisy_photos) & set(clean_photos))
    if not common:
        raise UsageError(
            f"no pair: nothing in {noisy} ({len(noisy_photos)} photos) is called as anything in {clean} "
            f"({len(clean_photos)} photos)"
        )
    return [Pair(name, noisy_photos[name], clean_photos[name]) for name in common]


def _by_name(folder: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in PHOTO_SUFFIXES or not path.is_file() or not wanted(path.stem):
            continue
        name = _plain_name(path.stem)
        if name in found:
            raise UsageError(f"{path} and {found[name]} both answer to '{name}'; evaluate one folder at a time")
        found[name] = path
    return found


def _plain_name(stem: str) -> str:
    return SIDD_ROLE.sub(r"\1", ROLE.sub("", stem)).lower()


def _is_clean(stem: str) -> bool:
    role = ROLE.search(stem) or SIDD_ROLE.search(stem)
    return role is not None and not {"mean", "clean", "gt"}.isdisjoint(re.split("[_-]", role.group(0).lower()))
