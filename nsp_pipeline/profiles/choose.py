"""Finding a profile by name, and choosing one for a photo."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path

from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.file_names import shown
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, SPEC_FILE, Profile, load_profile, read_spec
from nsp_pipeline.profiles.spec import ProfileSpec

BUILTIN = "builtin"
"""Names the default of the profiles that ship."""

DEFAULT = "standard"
ANY_CAMERA = "for any camera"
"""Why a photo gets the built-in profile."""

SHIPPED_ONCE = {"dbsn-noncommercial": "dbsn"}
"""Profiles that ship no longer, and those that took their place."""

TRAINING_SUFFIX = ".training"
"""Of the folder beside a profile in which its training keeps log, pictures and checkpoint."""


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


def general_profiles() -> list[str]:
    """Names of those that ship and suit any camera, the default first: what every photo could be made with."""
    return [name for name, path in shipped_profiles().items() if read_spec(path).pairs is None]


def user_folder() -> Path:
    """Return the user's profile folder."""
    return user_data_path("nsp", appauthor=False) / "profiles"


@dataclass(frozen=True)
class Entry:
    """Something in the user's profile folder: what it says about itself, or why it is no profile."""

    name: str
    path: Path
    spec: ProfileSpec | None
    trouble: str = ""
    foreign: bool = False
    """Whether it does not even look like a profile."""


def installed_profiles() -> dict[str, Path]:
    """Return the profiles that go by a name, damaged ones too: those that ship and those in the user's folder."""
    found = shipped_profiles()
    for entry in _paths(user_folder()):
        if (name := _name(entry)) != BUILTIN and _looks_like_a_bundle(entry):
            # The names of those that ship are taken.
            found.setdefault(name, entry)
    return found


def user_entries() -> list[Entry]:
    """Look at everything in the user's folder, by `profile.json` alone; what is no profile says why.

    Hidden files are left out, and what a training left beside the profile that came of it.

    A folder that cannot be looked into is an entry itself.
    """
    folder = user_folder()
    try:
        return [_entry(path) for path in _paths(folder, quietly=False) if not _is_beside_its_profile(path)]
    except OSError as error:
        return [Entry(folder.name, folder, None, f"{folder}: cannot be read: {error.strerror or error}")]


def _paths(folder: Path, *, quietly: bool = True) -> list[Path]:
    """What lies in a folder, hidden files left out; nothing where it is not there, or cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError:
        if quietly:
            return []
        raise


def _entry(path: Path) -> Entry:
    name = _name(path)
    if path.name.endswith(TRAINING_SUFFIX) and path.is_dir():
        return Entry(name, path, None, f"{path}: no profile, but the log and checkpoint of a training", foreign=True)
    if not _looks_like_a_bundle(path):
        return Entry(name, path, None, f"{path}: no profile", foreign=True)
    if name == BUILTIN or name in shipped_profiles():
        return Entry(name, path, None, f"{path}: never used: a profile of that name ships; rename it")
    try:
        return Entry(name, path, read_spec(path))
    except ProfileError as error:
        return Entry(name, path, None, str(error))


def _is_beside_its_profile(path: Path) -> bool:
    made = path.with_name(path.name.removesuffix(TRAINING_SUFFIX))
    return made != path and path.is_dir() and made.exists()


def _name(path: Path) -> str:
    return path.name.removesuffix(BUNDLE_SUFFIX)


def _looks_like_a_bundle(path: Path) -> bool:
    return path.suffix == BUNDLE_SUFFIX or os.path.lexists(path / SPEC_FILE)


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
        if heir := SHIPPED_ONCE.get(name_or_path):
            raise ProfileError(f"the profile '{name_or_path}' ships no longer; '{heir}' took its place")
        near = get_close_matches(name_or_path, known, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise ProfileError(
            f"there is no profile '{shown(name_or_path)}': not a file or folder, and not one of: "
            f"{', '.join(known)}{meant}"
        )
    return load_profile(path)


@cache
def _installed() -> tuple[Entry, ...]:
    return tuple(user_entries())


def look_again() -> None:
    """Forget what the user's folder held: a profile has come to it."""
    _installed.cache_clear()
    _loaded.cache_clear()


@cache
def _loaded(path: Path) -> Profile:
    return load_profile(path)


@cache
def _builtin() -> Profile:
    return load_profile(next(iter(shipped_profiles().values())))


def choose_profile(camera: Camera, *, on_missing: str, mode: str = "denoise") -> Choice:
    """Choose for a photo: same camera and its ISO range, else same camera and nearest ISO, else as `on_missing` says.

    Of several in either place, one whose weights gained comes before one that has its base's.

    Cameras go by the names that `nsp scan` has for them, so spellings and the user's own names are one. Profiles are
    compared by what they say about themselves; only the one that is taken is loaded and checked, and where it turns out
    damaged, or has no graph for `mode`, the next best is taken and `why` names it.

    Args:
        camera: what the photo's metadata say.
        on_missing: "nearest" (same camera, nearest ISO; the built-in profile for other cameras), "builtin",
            "skip" or "error": what to do where no profile covers camera and ISO.

    Raises:
        UsageError: nothing fits and `on_missing` is "error"; or the user's table of names is broken.
    """
    aliases = read_aliases(aliases_file())
    called, iso = camera_name(camera, aliases), camera.iso or 0
    known = [(entry, entry.spec) for entry in _installed() if entry.spec]
    same = [(entry, spec) for entry, spec in known if called and called == _made_for(spec, aliases)]
    shot = f"{called or 'unknown camera'}, ISO {camera.iso or 'unknown'}"
    left_out: list[str] = []
    if iso:
        same.sort(key=lambda pair: not pair[1].has_own_weights)
        covering = [entry for entry, spec in same if (spec.iso_min or 0) <= iso <= (spec.iso_max or 1 << 30)]
        if profile := _first_whole(covering, mode, left_out):
            return Choice(profile, f"made for {shot}" + _noted(left_out))
    if on_missing == "skip":
        return Choice(None, f"no profile for {shot}" + _noted(left_out))
    if on_missing == "error":
        advice = "calibrate one, or choose another --on-missing-profile"
        raise UsageError(f"no profile for {shot}{_noted(left_out)}; {advice}")
    if on_missing == "nearest" and iso:
        by_distance = sorted(same, key=lambda pair: (not pair[1].has_own_weights, _iso_distance(pair[1], iso)))
        others = [entry for entry, _ in by_distance if entry not in covering]
        if profile := _first_whole(others, mode, left_out):
            return Choice(profile, f"nearest ISO of the same camera for {shot}" + _noted(left_out))
    return Choice(_builtin(), f"{ANY_CAMERA}; none was made for {shot}" + _noted(left_out))


def _first_whole(entries: Sequence[Entry], mode: str, left_out: list[str]) -> Profile | None:
    """Load the first of some profiles that can be used; the reasons against those before it go into `left_out`."""
    for entry in entries:
        try:
            profile = _loaded(entry.path)
            profile.require_mode(mode)
        except ProfileError as error:
            left_out.append(str(error))
        else:
            return profile
    return None


def _noted(left_out: Sequence[str]) -> str:
    """What stood in the way: profiles that would have fitted, and such of the user's as do not say for which camera."""
    unread = sum(1 for entry in _installed() if entry.spec is None and not entry.foreign)
    count = f"{unread} of your profiles" if unread > 1 else "one of your profiles"
    return "".join(f"; left out: {reason}" for reason in left_out) + (
        f"; {count} cannot be read, `nsp doctor` names it" * bool(unread)
    )


def _made_for(spec: ProfileSpec, aliases: Mapping[str, str]) -> str | None:
    """The camera's name, however the photos that the profile was made from spell it."""
    return camera_name(Camera(spec.camera_make, spec.camera_model), aliases)


def _iso_distance(spec: ProfileSpec, iso: int) -> float:
    """How many times the ISO lies outside the profile's range."""
    low, high = spec.iso_min or 1, spec.iso_max or 1 << 30
    return max(low / iso, iso / high, 1.0)
