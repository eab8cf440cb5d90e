"""What a run will do: from INPUT... OUTPUT to a list of jobs, with everything refused that can be refused up front.

The tree below a folder is kept. One folder fills OUTPUT itself; of several INPUTs each folder keeps its own name
below OUTPUT, and single files go to OUTPUT directly. Nothing is written here.
"""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nsp_pipeline.batch.clashes import OnClash, number_clashes, refuse_clashes
from nsp_pipeline.batch.job import Job, Refused, Shard
from nsp_pipeline.batch.output.manifest import read_manifest
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import Findings, find_photos, is_folder, place_below
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.frames.sniff import FOREIGN_SUFFIXES, OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, RAW_SUFFIXES
from nsp_pipeline.frames.write import OutputKind, output_suffix

KIND_OF_SUFFIX = {
    ".jpg": OutputKind.JPEG,
    ".jpeg": OutputKind.JPEG,
    ".jpe": OutputKind.JPEG,
    ".jif": OutputKind.JPEG,
    ".jfif": OutputKind.JPEG,
    ".png": OutputKind.PNG,
    ".tif": OutputKind.TIFF,
    ".tiff": OutputKind.TIFF,
    ".dng": OutputKind.DNG,
    ".jxl": OutputKind.JXL,
    ".avif": OutputKind.AVIF,
}


@dataclass(frozen=True)
class PlanRules(FindRules):
    """What is looked at (see FindRules) and what it becomes."""

    kind: OutputKind = OutputKind.KEEP
    suffix: str = ""
    shard: Shard | None = None
    on_clash: OnClash = OnClash.ERROR


@dataclass(frozen=True)
class Plan:
    """All jobs of a run; `root` is the folder that holds the outputs and the record of the run.

    `file` is the one output where OUTPUT is a file's name.
    """

    root: Path
    jobs: tuple[Job, ...]
    refused: tuple[Refused, ...]
    found: Findings
    file: Path | None = None


def make_plan(inputs: Sequence[Path], output: Path, rules: PlanRules) -> Plan:
    """Plan a run.

    Photos whose outputs would meet are refused or numbered, as the rules say; the others are planned all the same.

    Raises:
        UsageError: an INPUT does not exist, OUTPUT lies in an INPUT that does not exclude it, or a photo would be
            written over.
        OutputError: photos are to be numbered, and OUTPUT's manifest cannot be read.
    """
    single = _single_file_target(inputs, output, rules)
    if single is None and _is_there(output) and not is_folder(output):
        raise UsageError(f"{printable(output)}: OUTPUT is a file; it must be a folder for these INPUTs")
    _refuse_output_within_input(inputs, output, rules)
    root = output.parent if single else output
    found = find_photos(inputs, rules, keep_out=None if single else output)
    tops = _tops(found)
    refused = [Refused(entry.path, _key(tops[entry.root] / entry.relative), entry.reason) for entry in found.unreadable]
    refused += [
        Refused(entry.path, _key(tops[entry.root] / entry.relative), f"format not supported ({_suffix(entry.path)})")
        for entry in found.others
    ]
    jobs = [single or _job(entry.path, tops[entry.root] / entry.relative, output, rules) for entry in found.photos]
    if rules.on_clash is OnClash.NUMBER:
        with read_manifest(root) as manifest:
            jobs = number_clashes(jobs, root, manifest.made() if manifest else ())
    else:
        jobs, clashing = refuse_clashes(jobs)
        refused += clashing
    _refuse_overwriting_inputs(jobs, [entry.input for entry in refused])
    if rules.shard:
        jobs = [job for job in jobs if rules.shard.takes(job.key)]
        refused = [entry for entry in refused if rules.shard.takes(entry.key)]
    return Plan(root, tuple(jobs), tuple(refused), found, output if single else None)


def _tops(found: Findings) -> dict[Path, PurePosixPath]:
    """Where below OUTPUT the tree of each INPUT begins."""
    many = len(found.inputs) > 1
    return {path: PurePosixPath(path.resolve().name if many and is_folder(path) else "") for path in found.inputs}


def _key(below: PurePosixPath) -> str:
    return printable(str(below))


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _single_file_target(inputs: Sequence[Path], output: Path, rules: PlanRules) -> Job | None:
    """The one job where OUTPUT is a file: INPUT is one file, and OUTPUT ends in a picture's suffix and is no folder."""
    suffix = _suffix(output)
    is_picture = suffix in PHOTO_SUFFIXES | OTHER_IMAGE_SUFFIXES
    if len(inputs) != 1 or is_folder(inputs[0]) or is_folder(output) or not is_picture:
        return None
    kind = KIND_OF_SUFFIX.get(suffix)
    if kind is None:
        raise UsageError(f"{printable(output)}: nsp does not write {suffix}; it writes .jpg, .png, .tif and .dng")
    if rules.kind not in (OutputKind.KEEP, kind):
        raise UsageError(f"{printable(output)}: the name asks for {kind}, --format for {rules.kind}")
    if rules.suffix:
        raise UsageError(f"--suffix goes with an OUTPUT folder; {printable(output)} is a file's name already")
    return Job(inputs[0], output, _key(PurePosixPath(output.name)), kind)


def _job(path: Path, below: PurePosixPath, output: Path, rules: PlanRules) -> Job:
    below = below.with_name(path.stem + rules.suffix + output_suffix(path, rules.kind))
    # What is called RAW, or is not written, becomes a .tif by name, so it must be one by content, whatever it was.
    becomes_tiff = _suffix(path) in RAW_SUFFIXES | FOREIGN_SUFFIXES
    kind = OutputKind.TIFF if becomes_tiff and rules.kind is OutputKind.KEEP else rules.kind
    return Job(path, output / below, _key(below), kind)


def _is_there(path: Path) -> bool:
    return _status(path) is not None


def _refuse_output_within_input(inputs: Sequence[Path], output: Path, rules: PlanRules) -> None:
    for folder in filter(is_folder, inputs):
        below = place_below(output, folder)
        if below is None:
            continue
        if below == Path():
            raise UsageError(f"{printable(output)}: OUTPUT is also an INPUT; originals are never written over")
        ways = [part.as_posix() for part in (below, *below.parents) if part != Path()]
        if not any(map(rules.excludes_content, ways)):
            raise UsageError(
                f"{printable(output)}: OUTPUT lies inside the INPUT {printable(folder)}, so the next run would take "
                f"its results for photos; put it elsewhere, or add --exclude '{glob.escape(below.as_posix())}'"
            )


def _refuse_overwriting_inputs(jobs: Sequence[Job], others: Sequence[Path]) -> None:
    """Refuse outputs that are an input, by whatever name or link they go."""
    originals: dict[tuple[int, int], Path] = {}
    for path in (*(job.input for job in jobs), *others):
        if status := _status(path):
            originals[status.st_dev, status.st_ino] = path
    for job in jobs:
        status = _status(job.output)
        if status and (original := originals.get((status.st_dev, status.st_ino))):
            raise UsageError(
                f"{printable(job.output)}: this output of {job.name} is the photo {printable(original)} itself; "
                "originals are never written over: choose another OUTPUT, or --suffix"
            )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
