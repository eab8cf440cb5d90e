"""Errors meant for the person at the keyboard, and the exit codes they end in.

Every message says what went wrong, where (which file), why, and what to do about it. A bug of ours is
never one of these: it keeps its traceback.
"""

from enum import IntEnum
from pathlib import Path

from nsp_pipeline.file_names import printable


class ExitCode(IntEnum):
    """What `nsp` returns to the shell; part of the interface, never renumbered."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    OUTPUT = 4
    TIME_UP = 5
    INTERRUPTED = 130


class NspError(Exception):
    """Root of the family: `str(error)` is the message for the user, `exit_code` what the process returns."""

    exit_code = ExitCode.SOME_FAILED


class PhotoError(NspError):
    """One photo cannot be read or denoised; the run goes on with the others."""

    def __init__(self, path: Path, reason: str, details: str | None = None) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path = path
        self.reason = reason
        self.details = details
        """A library's own text, for the error log."""


class DamagedPhotoError(PhotoError):
    """The picture in a file is damaged or incomplete; what is left of it can be had by asking for it."""


class DecoderFailedError(PhotoError):
    """What should decode a photo broke down; that says nothing about the photo."""


class UsageError(NspError):
    """The command cannot be carried out as given; it is refused before any work starts."""

    exit_code = ExitCode.USAGE


class ProfileError(UsageError):
    """A profile that does not exist, is damaged, or does not fit what is asked of it."""


class RecipeError(UsageError):
    """A recipe that does not exist or has a wrong field."""


class DatasetError(UsageError):
    """A file of a benchmark data set that is missing, damaged, or not what it should be."""


class MissingCapabilityError(NspError):
    """This machine lacks a package, engine or device that the command needs."""

    exit_code = ExitCode.ENVIRONMENT


class EngineOutOfMemoryError(NspError):
    """The memory of the device that computes does not hold a tile; a smaller one may fit."""

    exit_code = ExitCode.ENVIRONMENT


class EngineFailedError(NspError):
    """An engine broke down on a photo, which may well be all right."""


class UntrustedResultError(NspError):
    """What an engine made of a photo cannot be its picture."""


class OutputError(NspError):
    """The output cannot be written: no permission, no space, or somebody else is writing there."""

    exit_code = ExitCode.OUTPUT
