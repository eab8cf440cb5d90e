"""Which clean photo belongs to which noisy one, by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import Findings, find_photos
from nsp_pipeline.frames.find_rules import EVERYTHING, FindRules
from nsp_pipeline.frames.read import read_frame

ROLE = re.compile(r"[_-](real|mean|noisy|clean|gt)$", re.IGNORECASE)
"""What data sets end a name with: PolyU and CC write `x_Real` and `x_mean`."""

SIDD_ROLE = re.compile(r"(^|_)(NOISY|GT)_(SRGB|RAW)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A noisy photo and its ground truth."""

    name: str
    noisy: Path
    clean: Path

    @property
    def group(self) -> str:
        """Name of the pair, since each photo is a group of its own."""
        return self.name

    def load(self) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        """Noisy and clean pixels, (H, W, C) each; raises PhotoError."""
        return read_frame(self.noisy).pixels, read_frame(self.clean).pixels

    def __str__(self) -> str:
        return f"{printable(self.noisy)} and {printable(self.clean)}"


@dataclass(frozen=True)
class PairSearch:
    """How pairs are looked for, and who hears of what was met besides.

    `exclude` of the rules holds for noisy and clean photos alike, `include` chooses among the noisy ones. `on_found`
    takes all that was found in a folder; `on_left_out` the noisy photos that have no partner, if there are any.
    """

    rules: FindRules = EVERYTHING
    on_found: Callable[[Findings], None] = lambda found: None
    on_left_out: Callable[[Sequence[Path]], None] = lambda photos: None


WITHOUT_MORE = PairSearch()


def find_pairs(noisy: Path, clean: Path, search: PairSearch = WITHOUT_MORE) -> list[Pair]:
    """Pair the photos of two folders, recursively.

    Names match without their suffix and without the word that data sets mark the two with (`x_Real.JPG` and
    `x_mean.JPG`; `NOISY_SRGB_x` and `GT_SRGB_x`). Both may be the same folder; a pair is then in one of its folders.

    Raises:
        UsageError: no pair was found, or a name is there twice.
    """
    same = noisy.resolve() == clean.resolve()
    for_clean = replace(search, rules=replace(search.rules, include=()), on_found=_unheard if same else search.on_found)
    noisy_photos = _by_name(noisy, search, lambda stem: not (same and _is_clean(stem)), with_folder=same)
    clean_photos = _by_name(clean, for_clean, lambda stem: not same or _is_clean(stem), with_folder=same)
    common = sorted(set(noisy_photos) & set(clean_photos))
    if not common:
        raise UsageError(
            f"no pair: nothing in {printable(noisy)} ({len(noisy_photos)} photos) is called as anything in "
            f"{printable(clean)} ({len(clean_photos)} photos)"
        )
    if left_out := [photo for name, photo in noisy_photos.items() if name not in clean_photos]:
        search.on_left_out(left_out)
    return [Pair(name, noisy_photos[name], clean_photos[name]) for name in common]


def ground_truth(photos: Sequence[Path]) -> list[Path]:
    """The clean photos of pairs whose noisy one is among these photos too, in the same folder, by their names."""
    noisy = {(path.parent, _plain_name(path.stem)) for path in photos if not _is_clean(path.stem)}
    return [path for path in photos if _is_clean(path.stem) and (path.parent, _plain_name(path.stem)) in noisy]


def _by_name(folder: Path, search: PairSearch, wanted: Callable[[str], bool], *, with_folder: bool) -> dict[str, Path]:
    findings = find_photos([folder], search.rules)
    search.on_found(findings)
    found: dict[str, Path] = {}
    for path in findings.paths:
        if not wanted(path.stem):
            continue
        name = printable(_plain_name(path.stem))
        if with_folder:
            name = (PurePosixPath(printable(path.relative_to(folder).parent)) / name).as_posix()
        if name in found:
            both = f"{printable(path)} and {printable(found[name])}"
            raise UsageError(f"{both} both answer to '{name}'; evaluate one folder at a time")
        found[name] = path
    return found


def _unheard(found: Findings) -> None:
    """The same folder again: all was said of it."""


def _plain_name(stem: str) -> str:
    return SIDD_ROLE.sub(r"\1", ROLE.sub("", stem)).lower()


def _is_clean(stem: str) -> bool:
    role = ROLE.search(stem) or SIDD_ROLE.search(stem)
    return role is not None and not {"mean", "clean", "gt"}.isdisjoint(re.split("[_-]", role.group(0).lower()))
