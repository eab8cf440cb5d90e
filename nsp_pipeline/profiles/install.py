"""The user's profile folder: putting profiles there under a name, and taking them away."""

import shutil
from pathlib import Path

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.errors import OutputError, ProfileError, UsageError
from nsp_pipeline.file_names import shown
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX
from nsp_pipeline.profiles.choose import BUILTIN, TRAINING_SUFFIX, installed_profiles, shipped_profiles, user_folder

LONGEST_NAME = 100


def place_for(name: str) -> Path:
    """Return the file that a profile of this name would be in the user's folder.

    Raises UsageError for a name that is taken, or that no file can have.
    """
    if not name or name.startswith(".") or set(name) & set('/\\:\0"<>|?*') or len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"'{shown(name)}' cannot be a profile's name: no / \\ : ? * < > | or quotes, no dot in front, not long"
        )
    known = installed_profiles()
    if name in (BUILTIN, *shipped_profiles()):
        raise UsageError(f"'{name}' is a profile that ships; choose another --name")
    if name in known:
        raise OutputError(
            f"there is a profile '{name}' already ({known[name]}): choose another --name, or `nsp profiles remove` it"
        )
    return user_folder() / f"{name}{BUNDLE_SUFFIX}"


def remove_profile(name: str) -> Path:
    """Delete a profile from the user's folder, also a damaged one, and what its training left; returns where it was.

    Raises ProfileError when there is none of this name, OutputError when it cannot be deleted.
    """
    if name in (BUILTIN, *shipped_profiles()):
        raise ProfileError(f"'{name}' ships with nsp and cannot be removed")
    path = installed_profiles().get(name)
    if path is None:
        others = ", ".join(known for known in installed_profiles() if known not in shipped_profiles()) or "none"
        raise ProfileError(f"no profile '{shown(name)}' in {user_folder()}; installed there: {others}")
    remove_at(path)
    return path


def remove_at(path: Path) -> None:
    """Delete a profile, whatever it is called, and what its training left; raises OutputError where that fails."""
    # Out of sight in one step: a profile half deleted would be a damaged one.
    going = path.with_name(f".{path.name}.nsp-removed")
    try:
        path.rename(going)
        if going.is_dir() and not going.is_symlink():
            shutil.rmtree(going)
        else:
            going.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {error.strerror or error}") from error
    remove(path.with_name(f"{path.name}{TRAINING_SUFFIX}"))
