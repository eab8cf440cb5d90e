"""Processes of one training, as torchrun would start them, without the time that it takes to import PyTorch in each."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch._C._distributed_c10d import TCPStore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("torch._dynamo", "tensorboard.summary.writer.record_writer", "nsp_pipeline.cli.calibrate.command"),
        *("nsp_pipeline.calibration.next_scale.calibrate", "nsp_pipeline.calibration.student.distill"),
        *("small_training", "noisy_photos"),
    ]
)


@dataclass(frozen=True)
class Ended:
    """How one of the processes ended: its exit code, less than 0 where a signal killed it, and all that it said."""

    code: int | None
    said: str


def run_together(folder: Path, function: Callable[..., int | None], *given: object, count: int = 2) -> list[Ended]:
    """Call a function of a module in each of `count` processes that `join_ranks` makes one training.

    What it returns is the exit code.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = []
    for rank in range(count):
        environment = {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        }
        process = CONTEXT.Process(target=_call, args=(environment, folder / f"said-{rank}", function, given))
        process.start()
        processes.append(process)
    for process in processes:
        process.join(100)
        process.kill()
        process.join()
    return [Ended(process.exitcode, (folder / f"said-{rank}").read_text()) for rank, process in enumerate(processes)]


def _call(
    environment: dict[str, str], said: Path, function: Callable[..., int | None], given: tuple[object, ...]
) -> None:
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    with said.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.exit(function(*given))
