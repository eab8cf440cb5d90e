"""A profile that a night has made goes among the user's, under a name that is free."""

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.cli.shared.training_folder import folder_of
from nsp_pipeline.errors import OutputError
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX
from nsp_pipeline.profiles.choose import user_folder


def keep(made: Path) -> str:
    """Move a profile among the user's, under a name that is free, whole or not at all; returns the name.

    The log and pictures of its training come along, as they lie beside any profile that `nsp calibrate` makes.
    """
    for number in count(1):
        final = user_folder() / (f"{made.stem}-{number}{BUNDLE_SUFFIX}" if number > 1 else made.name)
        try:
            if not os.path.lexists(folder_of(final)) and _moved(made, final):
                break
        except OSError as error:
            raise OutputError(f"{final}: the profile cannot be kept there: {error.strerror or error}") from error
    with suppress(OSError):
        folder_of(made).rename(folder_of(final))
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
