"""Which photos of an archive want a profile of their own: groups by camera and ISO that no profile fits yet."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from nsp_pipeline.calibration.archive.groups import BINS_PER_STOP, Group, by_camera, group_known, is_edited
from nsp_pipeline.calibration.archive.one_name import of_several_makers
from nsp_pipeline.calibration.archive.verdict import FEWEST
from nsp_pipeline.frames.frame import Camera, Facts
from nsp_pipeline.frames.metadata.camera_names import camera_name

Header = tuple[Path, Facts]
Fitting = Callable[[Camera], str | None]
"""The name of the profile that was made for a camera and ISO; None where there is none."""


@dataclass(frozen=True)
class Candidate:
    """Photos of one camera that a profile may be made of; no other profile's ISO lie between theirs."""

    group: Group
    camera: Camera
    """As the first photo says it, without ISO."""
    number: int = 0
    """Which of the camera's candidates it is, by ISO."""

    @property
    def key(self) -> str:
        """What it is called in files, on this night and the next: by its camera, as photos may come to it."""
        assert self.group.camera
        digest = sha256(self.group.camera.encode(errors="surrogateescape")).hexdigest()[:8]
        return f"{self.group.camera_slug}-{digest}-{self.number}"

    @property
    def title(self) -> str:
        """What people may call it: "Nikon D800, ISO 1600-6400"."""
        assert self.group.iso
        low, high = self.group.iso
        return f"{self.group.camera}, ISO {low}" + f"-{high}" * (low != high)

    def fits(self, fitting: Fitting) -> str | None:
        """The name of a profile that was made for all of these photos, if there is one."""
        assert self.group.iso
        low, high = (fitting(replace(self.camera, iso=iso)) for iso in self.group.iso)
        return low if low == high else None


@dataclass(frozen=True)
class LeftOut:
    """Photos that no profile is made of, and why not."""

    title: str
    photos: int
    reason: str

    def __str__(self) -> str:
        return f"{self.title}, {counted(self.photos)}: {self.reason}"


def counted(photos: int) -> str:
    """A number of photos in words."""
    return "1 photo" if photos == 1 else f"{photos} photos"


def find_candidates(
    headers: Sequence[Header], aliases: Mapping[str, str], fitting: Fitting
) -> tuple[list[Candidate], list[LeftOut]]:
    """Group photos by camera and ISO, and say which groups want a profile of their own, and why the others do not.

    Args:
        headers: what each photo says of itself.
        aliases: the user's own names for cameras.
        fitting: says which profile fits a camera and ISO already.
    """
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    cameras: dict[str, list[Header]] = {}
    nameless = 0
    for path, facts in headers:
        if (name := camera_name(facts.camera, aliases)) is None or not facts.camera.iso:
            nameless += 1
        else:
            cameras.setdefault(name, []).append((path, facts))
    if nameless:
        left_out.append(LeftOut("no camera or ISO in the metadata", nameless, "no profile would be found for them"))
    troubles = of_several_makers((facts.camera for _, facts in headers), aliases)
    for name, photos in cameras.items():
        if trouble := troubles.get(name):
            left_out.append(LeftOut(name, len(photos), trouble))
            continue
        found, others = _of_camera(name, photos, aliases, fitting)
        candidates += found
        left_out += others
    return candidates, left_out


def _of_camera(
    name: str, photos: Sequence[Header], aliases: Mapping[str, str], fitting: Fitting
) -> tuple[list[Candidate], list[LeftOut]]:
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    edited = sum(is_edited(facts) for _, facts in photos)
    if edited:
        left_out.append(LeftOut(name, edited, "a program changed or resized them"))
    covered: Counter[str] = Counter()
    wanting: list[Header] = []
    for path, facts in photos:
        if is_edited(facts):
            continue
        if profile := fitting(facts.camera):
            covered[profile] += 1
        else:
            wanting.append((path, facts))
    left_out += [LeftOut(name, count, f"profile {profile} fits them") for profile, count in covered.items()]
    for number, part in enumerate(_parted(wanting, fitting)):
        (group,) = by_camera(group_known(part, aliases))
        candidate = Candidate(group, replace(part[0][1].camera, iso=None), number)
        if len(part) < FEWEST:
            reason = f"at least {FEWEST} are needed for a profile"
            left_out.append(LeftOut(candidate.title, len(part), reason))
        else:
            candidates.append(candidate)
    return candidates, left_out


def _parted(photos: Sequence[Header], fitting: Fitting) -> list[list[Header]]:
    """Part photos of a camera where the ISO of a profile that is there lie between theirs, so that none overlap."""
    ordered = sorted(photos, key=lambda photo: (_iso(photo), photo[0]))
    parts = [ordered[:1]] if ordered else []
    for before, photo in pairwise(ordered):
        if any(fitting(replace(photo[1].camera, iso=iso)) for iso in _between(_iso(before), _iso(photo))):
            parts.append([])
        parts[-1].append(photo)
    return parts


def _iso(photo: Header) -> int:
    return photo[1].camera.iso or 0


def _between(low: int, high: int) -> list[int]:
    """ISO between two, in third stops."""
    found, step = [], 2 ** (1 / BINS_PER_STOP)
    iso = low * step
    while iso < high:
        found.append(round(iso))
        iso *= step
    return found
