"""Photos of one camera, ISO, kind and size belong together: they have their noise in common."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import log2
from pathlib import Path

import numpy as np

from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.core.spread import spread
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Facts, Kind
from nsp_pipeline.frames.metadata.camera_names import camera_name
from nsp_pipeline.frames.read import read_facts

READERS = 8
BINS_PER_STOP = 3
LONGEST_SLUG = 80
"""Bytes of a file's name that a group is called by: with `.nsp.training` and the like behind it, no disk's limit."""

LEVELS_AGREE = 1.15
"""Ratio of noise (standard deviations) up to which neighbouring bins are one; a third of a stop is about 1.12."""

EDITORS = (
    "acdsee",
    "affinity",
    "aperture",
    "capture one",
    "captureone",
    "corel",
    "darktable",
    "digikam",
    "dxo",
    "faststone",
    "gimp",
    "imagemagick",
    "irfanview",
    "lightroom",
    "luminar",
    "nsp",
    "on1",
    "paint",
    "photopea",
    "photos",
    "photoscape",
    "photoshop",
    "picasa",
    "pixelmator",
    "rawtherapee",
    "snapseed",
    "topaz",
)
"""Programs that change a picture, as they sign themselves in EXIF. Cameras put their firmware there."""

SIGNED = re.compile(rf"\b(?:{'|'.join(EDITORS)})(?:\b|(?=\d))")
"""An editor's name as a word of its own: "Version1.0" is no ON1."""


@dataclass(frozen=True)
class Group:
    """Photos whose noise should be alike.

    `camera` is None without metadata; `iso` (lowest, highest) is None where photos do not say; `size` is (width,
    height), the longer side first, or None for RAW; `edited` says that a program changed or resized them. Where it was
    measured, `noise` is what flat patches of the photos show, None where too little is flat; `sigma` is the
    estimator's standard deviation (0..255), the median of the photos; and `estimate` is what the estimator says of them
    together, None where they have no noise.
    """

    camera: str | None
    kind: str
    size: tuple[int, int] | None
    edited: bool
    iso: tuple[int, int] | None
    paths: tuple[Path, ...]
    noise: NoiseField | None = field(default=None, compare=False)
    sigma: float | None = field(default=None, compare=False)
    estimate: NoisePrior | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What people may call it."""
        iso = "ISO ?" if self.iso is None else f"ISO {self.iso[0]}" + f"-{self.iso[1]}" * (self.iso[0] != self.iso[1])
        size = " {}×{}".format(*self.size) if self.size else ""
        return f"{self.camera or 'no metadata'}, {iso}, {'edited ' * self.edited}{self.kind}{size}"

    @property
    def slug(self) -> str:
        """The name as a file may be called: letters, digits, dots and dashes, whatever cameras call themselves."""
        return _as_a_file(self.name.replace("×", "x").replace("ISO ?", "ISO unknown"), LONGEST_SLUG)

    @property
    def camera_slug(self) -> str:
        """The camera's name alone as a file may be called."""
        return _as_a_file(self.camera or "", LONGEST_SLUG // 2)


def group_photos(
    paths: Sequence[Path],
    aliases: Mapping[str, str],
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Group], list[PhotoError]]:
    """Read metadata, several files at once, and put photos into groups, sorted by camera, ISO and kind.

    Returns the groups, and the photos that cannot be read with the reason.
    """
    known, refused = read_headers(paths, on_photo)
    return group_known(known, aliases), refused


def read_headers(
    paths: Sequence[Path],
    on_photo: Callable[[int, int], None] = lambda done, total: None,
    by: float | None = None,
) -> tuple[list[tuple[Path, Facts]], list[PhotoError]]:
    """Return what each photo says of itself, several files read at once, and those that cannot be read.

    What is not read by a moment (`time.monotonic`) is in neither list; what is, is of all parts of the archive.
    """
    found: dict[Path, Facts | PhotoError] = {}
    readers = ThreadPoolExecutor(READERS)
    try:
        for done, (path, facts) in enumerate(readers.map(_facts, paths if by is None else spread(paths)), 1):
            on_photo(done, len(paths))
            found[path] = facts
            if by is not None and time.monotonic() > by:
                break
    finally:
        # At once, also on Ctrl-C with thousands of files to go.
        readers.shutdown(wait=False, cancel_futures=True)
    read = [(path, found[path]) for path in paths if path in found]
    known = [(path, facts) for path, facts in read if not isinstance(facts, PhotoError)]
    return known, [facts for _, facts in read if isinstance(facts, PhotoError)]


def group_known(known: Sequence[tuple[Path, Facts]], aliases: Mapping[str, str]) -> list[Group]:
    """Put photos whose headers were read into groups, sorted by camera, ISO and kind."""
    found: dict[tuple[str, str, tuple[int, int], bool, int], list[tuple[Path, Facts]]] = {}
    for path, facts in known:
        name = camera_name(facts.camera, aliases) or ""
        size = (max(facts.size), min(facts.size)) if facts.size else (0, 0)
        found.setdefault((name, facts.kind.value.upper(), size, is_edited(facts), _bin(facts)), []).append(
            (path, facts)
        )
    groups = []
    for (name, kind, size, edited, _), photos in sorted(found.items(), key=lambda entry: _order(entry[0])):
        isos = [facts.camera.iso for _, facts in photos if facts.camera.iso]
        iso = (min(isos), max(isos)) if isos else None
        groups.append(Group(name or None, kind, size if any(size) else None, edited, iso, tuple(p for p, _ in photos)))
    return groups


def only(
    paths: Sequence[Path],
    aliases: Mapping[str, str],
    *,
    camera: str | None,
    iso: tuple[int, int] | None,
    by: float | None = None,
) -> list[Path]:
    """Keep the photos whose camera's name contains `camera`, in any case, and whose ISO lies in `iso`, ends included.

    None asks for nothing. Photos that cannot be read are kept: opening them later gives the reason. What is not looked
    at by a moment (`time.monotonic`) is left out.
    """
    known, refused = read_headers(paths, by=by)
    kept = {error.path for error in refused}
    for path, facts in known:
        called = (camera_name(facts.camera, aliases) or "").casefold()
        if camera and camera.casefold() not in called:
            continue
        if iso and not (facts.camera.iso and iso[0] <= facts.camera.iso <= iso[1]):
            continue
        kept.add(path)
    return [path for path in paths if path in kept]


def by_camera(groups: Sequence[Group]) -> list[Group]:
    """Make one group of each camera's, whatever their ISO, kind and size; edited photos are left out."""
    made: dict[str | None, Group] = {}
    for group in groups:
        if group.edited:
            continue
        so_far = made.get(group.camera)
        if so_far is None:
            made[group.camera] = group
            continue
        isos = [value for part in (so_far, group) if part.iso for value in part.iso]
        made[group.camera] = replace(
            so_far,
            kind=so_far.kind if so_far.kind == group.kind else "photo",
            size=so_far.size if so_far.size == group.size else None,
            iso=(min(isos), max(isos)) if isos else None,
            paths=so_far.paths + group.paths,
        )
    return list(made.values())


def is_edited(facts: Facts) -> bool:
    """Whether a program changed the picture, or it has another size than the camera made.

    A TIFF is what a program made of a RAW file, so its signature says nothing; nor does that of a RAW file, in which
    programs note how they would develop it.
    """
    signed = (facts.software or "").casefold()
    changed = facts.kind not in (Kind.TIFF, Kind.RAW) and SIGNED.search(signed) is not None
    if facts.size is None or facts.shot_size is None or not all(facts.shot_size):
        return changed
    return changed or sorted(facts.size) != sorted(facts.shot_size)


def merge_alike(groups: Sequence[Group]) -> list[Group]:
    """Make one of neighbouring ISO bins of the same camera, kind and size whose measured noise agrees."""
    merged: list[Group] = []
    for group in groups:
        last = merged[-1] if merged else None
        if last and _one_but_for_iso(last, group) and _agree(last.noise, group.noise):
            assert last.iso
            assert group.iso
            both = replace(last, iso=(last.iso[0], group.iso[1]), paths=last.paths + group.paths)
            # Noise as measured on more photos stands for both.
            known = last if len(last.paths) >= len(group.paths) else group
            merged[-1] = replace(both, noise=known.noise, sigma=known.sigma, estimate=known.estimate)
        else:
            merged.append(group)
    return merged


def _as_a_file(name: str, longest: int) -> str:
    """At most `longest` bytes, none of them half of a letter."""
    letters = re.sub(r"[^\w.]+", "-", name.casefold()).strip("-._").encode()[:longest]
    return letters.decode(errors="ignore") or "photos"


def _facts(path: Path) -> tuple[Path, Facts | PhotoError]:
    try:
        return path, read_facts(path)
    except PhotoError as error:
        return path, error


def _bin(facts: Facts) -> int:
    """Third of a stop from ISO 100; -1000 where it is not known."""
    return round(BINS_PER_STOP * log2(facts.camera.iso / 100)) if facts.camera.iso else -1000


def _order(key: tuple[str, str, tuple[int, int], bool, int]) -> tuple[bool, str, str, bool, tuple[int, int], int]:
    """Groups without metadata come last, and bins of ISO that might merge beside each other."""
    name, kind, size, edited, iso_bin = key
    return not name, name.casefold(), kind, edited, size, iso_bin


def _one_but_for_iso(one: Group, other: Group) -> bool:
    return bool(
        one.iso
        and other.iso
        and (one.camera, one.kind, one.size, one.edited) == (other.camera, other.kind, other.size, other.edited)
    )


def _agree(one: NoiseField | None, other: NoiseField | None) -> bool:
    if one is None or other is None or len(one.curves) != len(other.curves):
        return False
    for mine, its in zip(one.curves, other.curves, strict=True):
        low, high = max(mine.knots.x[0], its.knots.x[0]), min(mine.knots.x[-1], its.knots.x[-1])
        if low >= high:
            return False
        shared = np.linspace(low, high, 9)
        ratio = np.sqrt(np.maximum(mine.at(shared), 1e-9) / np.maximum(its.at(shared), 1e-9))
        if float(np.exp(np.abs(np.log(ratio)).mean())) > LEVELS_AGREE:
            return False
    return True
