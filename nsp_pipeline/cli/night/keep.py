"""A profile that a night has made goes among the user's, under a name that is free."""

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.calibration.night.memory import NoiseProfile
from nsp_pipeline.cli.shared.training_folder import folder_of
from nsp_pipeline.errors import OutputError
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, Profile
from nsp_pipeline.profiles.choose import user_folder
from nsp_pipeline.profiles.install import remove_at
from nsp_pipeline.profiles.spec import ProfileSpec


def keep(made: Path, before: Callable[[str], None] = lambda name: None) -> str:
    """Move a profile among the user's, under a name that is free, whole or not at all; returns the name.

    The log and pictures of its training come along, as they lie beside any profile that `nsp calibrate` makes.

    Args:
        before: called with each name that it may have next, before it has it.
    """
    for number in count(1):
        final = user_folder() / (f"{made.stem}-{number}{BUNDLE_SUFFIX}" if number > 1 else made.name)
        before(_name(final))
        try:
            if not os.path.lexists(folder_of(final)) and _moved(made, final):
                break
        except OSError as error:
            raise OutputError(f"{final}: the profile cannot be kept there: {error.strerror or error}") from error
    with suppress(OSError):
        folder_of(made).rename(folder_of(final))
    return _name(final)


def make_room(old: NoiseProfile | None, new: Profile) -> None:
    """Remove a profile that a night kept for the camera's noise, as a later one takes its place; no other is touched.

    It stays where the later one does not fit all of its ISO. Raises OutputError where it cannot be removed.
    """
    if old and (profile := old.found()) and _serves(new.spec, profile.spec):
        remove_at(old.path)


def _serves(new: ProfileSpec, old: ProfileSpec) -> bool:
    """Whether a profile fits all ISO that another one fits."""
    return (new.iso_min or 0) <= (old.iso_min or 0) and (old.iso_max or 1 << 30) <= (new.iso_max or 1 << 30)


def _name(final: Path) -> str:
    return final.name.removesuffix(BUNDLE_SUFFIX)


def _moved(made: Path, final: Path) -> bool:
    """Move a file to a name; False where the name is taken, however lately: a rename would replace what is there."""
    try:
        os.link(made, final)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links, such as exFAT
        return _moved_without_links(made, final)
    made.unlink()
    return True


def _moved_without_links(made: Path, final: Path) -> bool:
    """The same with an empty file that takes the name first, which the profile then replaces."""
    try:
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    try:
        made.replace(final)
    except OSError:
        remove(final)
        raise
    return True
