"""`nsp calibrate --split --cluster`: each profile is trained on one machine of a Ray cluster, several at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nsp_pipeline.batch.workers.ray_connection import connected
from nsp_pipeline.batch.workers.shared_folders import Proof, proof_of, what_differs
from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.cli.calibrate.one import calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.shared.training import usable
from nsp_pipeline.cli.shared.training_folder import has_checkpoint
from nsp_pipeline.errors import MissingCapabilityError, NspError, OutputError
from nsp_pipeline.file_names import printable

MOST_DEATHS = 2
"""Trainings of one profile that may die with their machine or process; then it has failed."""


@dataclass(frozen=True)
class Where:
    """Which cluster, and what each training may take of a machine."""

    address: str
    device: str
    """As the command line has it: what "auto" means, each machine finds out."""
    threads: int | None


@dataclass(frozen=True)
class Trained:
    """What came of one training; `trouble` says why there is no profile."""

    group: Group
    target: Path
    trouble: str | None = None


@dataclass(frozen=True)
class _Refusal:
    """What a machine says instead of training; `unfit` where that is the machine's fault."""

    reason: str
    unfit: bool = False


def train_on_cluster(where: Where, plan: Plan, targets: Sequence[tuple[Group, Path]]) -> Iterator[Trained]:
    """Train a profile of each group, and yield what came of it as it comes.

    A training whose machine or process died is taken up by another one, at its last checkpoint. KeyboardInterrupt ends
    all; each keeps its checkpoint.

    Raises:
        MissingCapabilityError: Ray is not there, or a machine cannot take part.
        OutputError: the folder of the profiles cannot be written.
    """
    folder = targets[0][1].parent.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{printable(folder)}: cannot be made: {error.strerror or error}") from error
    photos = [path.absolute() for group, _ in targets for path in group.paths]
    with connected(where.address) as ray, proof_of(folder, photos, folder) as proof:
        on_gpu = where.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        threads = None if on_gpu else _share(ray, where.threads)
        resources = {"num_gpus": 1} if on_gpu else {"num_cpus": threads}
        train = ray.remote(**resources, max_retries=0)(_train)
        tried = {target: 0 for _, target in targets}
        running: dict[Any, tuple[Group, Path]] = {}

        def begin(group: Group, target: Path) -> None:
            files = [path.absolute() for path in group.paths]
            reference = train.remote(plan, files, target.absolute(), replace(where, threads=threads), proof)
            running[reference] = (group, target)

        for group, target in targets:
            begin(group, target)
        while running:
            (reference, *_), _ = ray.wait(list(running), num_returns=1)
            group, target = running.pop(reference)
            try:
                refusal = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None  # a fault of ours, as it would be on this machine
            except ray.exceptions.RayError as error:
                tried[target] += 1
                if tried[target] < MOST_DEATHS:
                    begin(group, target)
                    continue
                refusal = _Refusal(f"it died {MOST_DEATHS} times on the cluster: {str(error).splitlines()[0]}")
            if refusal and refusal.unfit:
                raise MissingCapabilityError(f"a machine of the cluster cannot take part: {refusal.reason}")
            yield Trained(group, target, refusal.reason if refusal else None)


def _share(ray: Any, threads: int | None) -> int:
    """Processors of one training: all of the smallest machine, or as many as were asked for."""
    counts = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    smallest = min((count for count in counts if count), default=0)
    if not smallest:
        raise MissingCapabilityError("--cluster: none of its machines offers a GPU or a processor to train on")
    return min(smallest, threads or smallest)


def _train(plan: Plan, files: Sequence[Path], target: Path, where: Where, proof: Proof) -> _Refusal | None:
    """Train one profile on this machine; a training that died elsewhere goes on."""
    if trouble := what_differs(proof):
        return _Refusal(trouble, unfit=True)
    try:
        here = replace(plan, device=usable(where.device, where.threads), resume=has_checkpoint(target))
        calibrate_one(here, files, target)
    except NspError as error:
        return _Refusal(str(error))
    return None
