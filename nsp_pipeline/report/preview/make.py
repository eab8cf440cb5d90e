"""The preview of one photo: read it, choose its places, and denoise these in every way that is to be compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import EnginePool
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.raw_photo import read_to_denoise
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.denoise.crops import CropSource, DenoisedCrops
from nsp_pipeline.denoise.known_noise import known_noise
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.development import Development
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import is_undeveloped
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.report.picture import Screen
from nsp_pipeline.report.preview.geometry import geometry_of
from nsp_pipeline.report.preview.places import Place, choose_places, place_at
from nsp_pipeline.report.preview.variants import AUTO, Variant


@dataclass(frozen=True)
class Spots:
    """Which places of photos are looked at: around these pixels of the upright picture, or three that matter."""

    width: int
    height: int
    at: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Way:
    """One way to denoise a photo: in words, as a command line, and what comes of the places."""

    label: str
    command: str
    pictures: tuple[Image.Image, ...]
    seconds: float
    """What the network would take here for the whole photo."""


@dataclass(frozen=True)
class PhotoPreview:
    """What there is to see of one photo. `sigma` is its noise in 8-bit steps; `why` says how it came to its profile."""

    name: str
    camera: str
    iso: int | None
    megapixels: float
    sigma: float
    why: str
    places: tuple[Place, ...]
    """As they are in the upright picture."""
    before: tuple[Image.Image, ...]
    ways: tuple[Way, ...]


def preview_photo(
    path: Path, variants: Sequence[Variant], spots: Spots, engines: EnginePool, sources: Sources
) -> PhotoPreview:
    """Denoise some places of a photo, each with the noise of all of it.

    Raises:
        PhotoError: the photo cannot be read.
        ProfileError: a profile cannot be had.
        UsageError: a place lies outside the photo.
        EngineFailedError, EngineOutOfMemoryError, UntrustedResultError: a network could not do it.
    """
    why, ways, photos = "", dict[Variant, Way](), list[_Photo]()
    for profile, reason, own in _by_profile(path, variants, sources):
        how = _how(path, profile)
        photo = next((known for known in photos if known.is_read_as(how)), None) or _Photo(path, how, spots)
        photos.append(photo)
        made = photo.denoised(engines.get(profile), own, profile)
        for variant, pixels in zip(own, made.pixels, strict=True):
            seconds = made.seconds_per_megapixel * photo.megapixels
            label, command = variant.label(profile.name), variant.command(printable(path))
            ways[variant] = Way(label, command, photo.pictures(pixels), seconds)
        why = why or reason
    first = photos[0]
    return PhotoPreview(
        name=printable(path),
        camera=camera_name(first.frame.camera, read_aliases(aliases_file())) or "unknown camera",
        iso=first.frame.camera.iso,
        megapixels=first.megapixels,
        sigma=first.sigma,
        why=why,
        places=tuple(first.places),
        before=first.pictures(None),
        ways=tuple(ways[variant] for variant in variants if variant in ways),
    )


def _by_profile(path: Path, variants: Sequence[Variant], sources: Sources) -> list[tuple[Profile, str, list[Variant]]]:
    """The variants by the profile that each comes to for this photo, and why it is that one."""
    found: dict[str, tuple[Profile, str, list[Variant]]] = {}
    for asked in dict.fromkeys(variant.profile for variant in variants):
        profile, why = _profile_for(path, asked, sources)
        own = found.setdefault(profile.sha256, (profile, why, []))[2]
        # By two names it is one way: a photo's own profile may be one that ships.
        known = {variant.settings for variant in own}
        own += [variant for variant in variants if variant.profile == asked and variant.settings not in known]
    return list(found.values())


def _profile_for(path: Path, asked: str, sources: Sources) -> tuple[Profile, str]:
    if asked != AUTO:
        return sources.find_profile(asked), ""
    choice = sources.choose_profile(read_camera(path), on_missing="nearest", mode="denoise")
    assert choice.profile is not None
    return choice.profile, choice.why


def _how(path: Path, profile: Profile) -> "_How":
    settings, task = RunSettings(), Task(Job(path, path, path.name), profile, "")
    return _How(task, settings.domain_of(task), settings.development_of(task))


@dataclass(frozen=True)
class _How:
    """How a photo is read and developed, should it be RAW, for the profile of its task."""

    task: Task
    domain: str
    development: Development


class _Photo:
    """A photo as it is to be denoised, and its places."""

    def __init__(self, path: Path, how: _How, spots: Spots) -> None:
        self._path, self._how = path, how
        self.frame = read_to_denoise(how.task, RunSettings(), read_frame)
        self._geometry = geometry_of(self.frame)
        self.places = self._found(spots)
        self._crops = [self._geometry.in_memory(place.crop) for place in self.places]
        self._source = CropSource(self.frame)

    def is_read_as(self, how: _How) -> bool:
        """Whether that is how it was read."""
        return (how.domain, how.development) == (self._how.domain, self._how.development)

    @property
    def sigma(self) -> float:
        """Noise of the whole photo, in 8-bit steps."""
        return self._source.sigma

    @property
    def megapixels(self) -> float:
        """Of the photo."""
        return self._geometry.size[0] * self._geometry.size[1] / 1e6

    def denoised(self, engine: Engine, variants: Sequence[Variant], profile: Profile) -> DenoisedCrops:
        """The places, by each variant."""
        known = known_noise(profile, self.frame.kind, self.frame.camera, self._how.domain)
        return self._source.denoised(self._crops, engine, [variant.settings for variant in variants], known)

    def pictures(self, made: Sequence[NDArray[Any]] | None) -> tuple[Image.Image, ...]:
        """The places as they are seen: as they are (None), or denoised."""
        if is_undeveloped(self.frame):
            return self._developed(made)
        parts = [crop.of(self.frame.pixels) for crop in self._crops] if made is None else made
        screen = Screen(self.frame)
        return tuple(screen.shown(self._geometry.turn.of(part)) for part in parts)

    def _developed(self, made: Sequence[NDArray[Any]] | None) -> tuple[Image.Image, ...]:
        frame = self.frame
        if made is not None:
            pixels = frame.pixels.copy()
            for crop, part in zip(self._crops, made, strict=True):
                crop.of(pixels)[...] = part
            frame = replace(frame, pixels=pixels)
        developed = develop_frame(frame, self._how.development)
        screen = Screen(developed)
        return tuple(screen.shown(place.crop.of(developed.pixels)) for place in self.places)

    def _found(self, spots: Spots) -> list[Place]:
        """The places in the upright picture."""
        geometry, (height, width) = self._geometry, self._geometry.size
        if not spots.at:
            cell = geometry.cell
            found = choose_places(geometry.seen(self.frame), spots.width // cell, spots.height // cell)
            return [Place(place.name, geometry.in_picture(place.crop)) for place in found]
        for x, y in spots.at:
            if not (0 <= x < width and 0 <= y < height):
                name = printable(self._path)
                raise UsageError(f"--at {x},{y} lies outside {name}, which has {width}×{height} pixels")
        return [place_at(x, y, (height, width), spots.width, spots.height) for x, y in spots.at]
