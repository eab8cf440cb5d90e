"""Finding a profile by name, and choosing one for a photo."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, Profile, load_profile

BUILTIN = "builtin"
"""Names the default of the profiles that ship."""

DEFAULT = "standard"


@dataclass(frozen=True)
class Choice:
    """The profile for one photo (None: leave the photo out) and the reason, in words for the user."""

    profile: Profile | None
    why: str


def shipped_profiles() -> dict[str, Path]:
    """Return the profiles that ship with the program, by name; the default comes first."""
    folder = Path(str(files("nsp_pipeline"))) / "profiles" / "builtin"
    paths = sorted(folder.glob(f"*{BUNDLE_SUFFIX}"), key=lambda path: (path.stem != DEFAULT, path.stem))
    return {path.stem: path for path in paths}


def user_folder() -> Path:
    """The user's own profiles."""
    return user_data_path("nsp", appauthor=False) / "profiles"


def installed_profiles() -> dict[str, Path]:
    """Return the profiles that go by a name: those that ship and those in the user's folder."""
    folder = user_folder()
    found = shipped_profiles()
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            name = entry.name.removesuffix(BUNDLE_SUFFIX)
            if not entry.name.startswith(".") and name != BUILTIN and (entry.suffix == BUNDLE_SUFFIX or entry.is_dir()):
                # The names of those that ship are taken.
                found.setdefault(name, entry)
    return found


def find_profile(name_or_path: str) -> Profile:
    """Load a profile that ships or one of the user's folder by name ("builtin": the default), or a bundle by path.

    Raises ProfileError, naming the known profiles, when there is none.
    """
    known = installed_profiles()
    if name_or_path == BUILTIN:
        return _builtin()
    if name_or_path in known:
        return load_profile(known[name_or_path])
    path = Path(name_or_path)
    if not os.path.exists(path):  # noqa: PTH110  (Path.exists raises where a name is too long)
        raise ProfileError(
            f"there is no profile '{name_or_path}': not a file or folder, and not one of: {', '.join(known)}"
        )
    return load_profile(path)


@cache
def _installed() -> tuple[Profile, ...]:
    return tuple(load_profile(path) for name, path in installed_profiles().items() if name not in shipped_profiles())


@cache
def _builtin() -> Profile:
    return load_profile(next(iter(shipped_profiles().values())))


def choose_profile(camera: Camera, *, on_missing: str) -> Choice:
    """Choose for a photo: same camera and its ISO range, else same camera and nearest ISO, else as `on_missing` says.

    Cameras go by the names that `nsp scan` has for them, so spellings and the user's own names are one.

    Args:
        camera: what the photo's metadata say.
        on_missing: "nearest" (same camera, nearest ISO; the built-in profile for other cameras), "builtin",
            "skip" or "error": what to do where no profile covers camera and ISO.

    Raises:
        UsageError: nothing fits and `on_missing` is "error"; or the user's table of names is broken.
    """
    aliases = read_aliases(aliases_file())
    called = camera_name(camera, aliases)
    same = [profile for profile in _installed() if called and called == _made_for(profile, aliases)]
    shot = f"{camera.model or 'unknown camera'}, ISO {camera.iso or 'unknown'}"
    for profile in same:
        if camera.iso and (profile.spec.iso_min or 0) <= camera.iso <= (profile.spec.iso_max or 1 << 30):
            return Choice(profile, f"made for {shot}")
    if on_missing == "skip":
        return Choice(None, f"no profile for {shot}")
    if on_missing == "error":
        raise UsageError(f"no profile for {shot}; calibrate one, or choose another --on-missing-profile")
    if on_missing == "nearest" and same and camera.iso:
        nearest = min(same, key=lambda profile: _iso_distance(profile, camera.iso or 0))
        return Choice(nearest, f"nearest ISO of the same camera for {shot}")
    return Choice(_builtin(), f"built-in, as no profile was made for {shot}")


def _made_for(profile: Profile, aliases: Mapping[str, str]) -> str | None:
    """The camera's name, however the photos that the profile was made from spell it."""
    return camera_name(Camera(profile.spec.camera_make, profile.spec.camera_model), aliases)


def _iso_distance(profile: Profile, iso: int) -> float:
    """How many times the ISO lies outside the profile's range."""
    low, high = profile.spec.iso_min or 1, profile.spec.iso_max or 1 << 30
    return max(low / iso, iso / high, 1.0)
