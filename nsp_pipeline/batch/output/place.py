"""Where a run keeps its manifest, lock and error log: in OUTPUT/.nsp, or for single files away from the photos."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from platformdirs import user_state_path

from nsp_pipeline.batch.job import RECORD_FOLDER


def record_folder(root: Path) -> Path:
    """The folder of the record of OUTPUT, whether or not there is one yet; `root` is the folder that holds the outputs.

    It is OUTPUT/.nsp, unless only single files were ever made there (see begin_record).
    """
    below, apart = root / RECORD_FOLDER, _apart(root)
    return apart if apart.is_dir() and not below.is_dir() else below


def begin_record(root: Path, *, single: bool) -> None:
    """Choose where a run into `root` keeps its record: for a single file the user's state folder.

    A folder among one's photos is what nobody asked for who names one file. Where there is one already, or no state
    folder can be made, it is used all the same. Raises nothing: what cannot be made shows when it is opened.
    """
    place = _apart(root) if single and not (root / RECORD_FOLDER).is_dir() else root / RECORD_FOLDER
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)


def _apart(root: Path) -> Path:
    name = sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    return user_state_path("nsp", appauthor=False) / "single-files" / name
