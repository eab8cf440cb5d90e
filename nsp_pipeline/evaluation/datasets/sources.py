"""Which data set stands behind the paths that a user gives."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nsp_pipeline.errors import UsageError
from nsp_pipeline.evaluation.datasets.dnd import INFO, is_dnd, read_dnd
from nsp_pipeline.evaluation.datasets.pairs import WITHOUT_MORE, Pair, PairSearch, find_pairs
from nsp_pipeline.evaluation.datasets.sidd import pair_blocks, read_blocks
from nsp_pipeline.evaluation.datasets.submission import Denoiser, Written, write_dnd, write_sidd
from nsp_pipeline.evaluation.measure import NoisyAndClean
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import is_folder, require_there

SIDD_FILE = "SubmitSrgb.csv"
"""What SIDD calls its submission."""


def open_pairs(noisy: Path, clean: Path, search: PairSearch = WITHOUT_MORE) -> Sequence[NoisyAndClean]:
    """Find the pairs of two folders, of two SIDD files, or of two photos.

    Raises:
        UsageError: the two are not of one kind, or nothing in them pairs.
        DatasetError: a MATLAB file is damaged or holds something else.
        MissingCapabilityError: the package that reads it is not installed.
    """
    for path in (noisy, clean):
        require_there(path)
    if is_folder(noisy) and is_folder(clean):
        return find_pairs(noisy, clean, search)
    if _is_mat(noisy) and _is_mat(clean):
        return pair_blocks(noisy, clean)
    if is_folder(noisy) or is_folder(clean) or _is_mat(noisy) or _is_mat(clean):
        raise UsageError(f"{noisy} and {clean}: give two folders, two SIDD .mat files, or two photos")
    return [Pair(printable(noisy.stem), noisy, clean)]


Submission = Callable[[Denoiser, Callable[[int, int], None]], Written]
"""Denoise everything and write it; the second argument is called with (crops done, crops in all)."""


def open_submission(noisy: Path, target: Path) -> Submission:
    """Find out which benchmark `noisy` is of, and prepare what its server wants.

    Args:
        noisy: SIDD's BenchmarkNoisyBlocksSrgb.mat, or DND's folder.
        target: for SIDD a file `.csv`, or a folder to put SubmitSrgb.csv into; for DND a new folder.

    Raises:
        UsageError: `noisy` is of no benchmark that is known, or `target` does not suit it.
        DatasetError: a file of the benchmark is missing, damaged or holds something else.
        MissingCapabilityError: the package that reads it is not installed.
    """
    if noisy.is_dir() and is_dnd(noisy):
        if target.suffix.lower() in (".csv", ".mat"):
            raise UsageError(f"{target}: DND is submitted as a folder of .mat files; name a new folder")
        images = read_dnd(noisy)
        return lambda denoise, on_crop: write_dnd(target, images, denoise, on_crop)
    if _is_mat(noisy):
        file = target / SIDD_FILE if target.is_dir() else target
        if file.suffix.lower() != ".csv":
            raise UsageError(f"{target}: SIDD is submitted as a .csv file; name one, or a folder to put it into")
        blocks = read_blocks(noisy)
        return lambda denoise, on_crop: write_sidd(file, blocks, denoise, on_crop)
    if not noisy.exists():
        raise UsageError(f"{noisy}: there is no such file or folder")
    raise UsageError(
        f"{noisy}: a submission is made from SIDD's BenchmarkNoisyBlocksSrgb.mat or from DND's folder, which has {INFO}"
    )


def _is_mat(path: Path) -> bool:
    return path.suffix.lower() == ".mat" and path.is_file()
