"""Several processes at one training, as `torchrun` starts them: who we are, and what we settle together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from nsp_pipeline.errors import ExitCode, MissingCapabilityError, NspError, UsageError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which alone judges and writes. When one dies, torchrun ends the others."""

FAILED, CODE = "nsp/failed", "nsp/exit-code"


@dataclass(frozen=True)
class Ranks:
    """This process among those of one training."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """Number among the processes of this machine: its GPU."""

    @property
    def first(self) -> bool:
        """Whether this process judges, writes files and talks to the user."""
        return self.rank == 0

    def first_says(self, value: int) -> int:
        """Return the first process's value to all, so that clocks and signals of one decide for all."""
        if self.count == 1:
            return value
        import torch
        from torch import distributed

        value_of_rank_0 = torch.tensor([value])
        distributed.broadcast(value_of_rank_0, 0)
        return int(value_of_rank_0.item())

    @contextmanager
    def first_enters(self) -> Iterator[None]:
        """Let the first process do what is inside before any other one begins with it."""
        if not self.first:
            self.first_says(0)
        yield
        if self.first:
            self.first_says(0)


ALONE = Ranks()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone where it did not.

    What one of them cannot do ends all, and only one says why: an error inside is raised in the first process that has
    one, and the others end with its exit code.

    Args:
        device: as asked for, "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: the processes cannot have a GPU each.
        MissingCapabilityError: another process of this training is gone.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    ranks = Ranks(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    store, _, _ = next(iter(rendezvous("env://", timeout=PATIENCE)))
    try:
        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            _take_gpu(device, ranks)
        # Signals and clocks are settled on the processor, which need not wait for a GPU.
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=count, timeout=PATIENCE)
        yield ranks
    except SystemExit:
        raise
    except BaseException as error:
        if not _is_first_to_fail(store, error):
            raise SystemExit(_its_exit_code(store)) from None
        if _says_that_another_is_gone(error):
            raise MissingCapabilityError(
                "another process of this training is gone (torchrun says which); what was learnt is in the last "
                "checkpoint, if there was one yet: --resume goes on from there"
            ) from error
        raise
    distributed.destroy_process_group()


def _take_gpu(device: str, ranks: Ranks) -> None:
    """Make the GPU of this process's number the one that "cuda" means; raises UsageError where there is none for it."""
    import torch

    if device.startswith("cuda:"):
        raise UsageError(f"--device {device} is one GPU, and torchrun started {ranks.count} processes: --device cuda")
    there = torch.cuda.device_count()
    if int(os.environ.get("LOCAL_WORLD_SIZE", ranks.count)) > there:
        raise UsageError(f"each process takes a GPU, and here are {there}: torchrun --nproc-per-node {there}")
    torch.cuda.set_device(ranks.local)


def _is_first_to_fail(store: "Store", error: BaseException) -> bool:
    """Whether no other process has failed before; remembers our exit code for them."""
    try:
        if store.add(FAILED, 1) > 1:
            return False
        code = error.exit_code if isinstance(error, NspError) else ExitCode.SOME_FAILED
        store.set(CODE, str(int(ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else code)))
    except RuntimeError:  # the store went down with the process that held it
        return False
    return True


def _its_exit_code(store: "Store") -> int:
    try:
        return int(store.get(CODE))
    except RuntimeError:
        return ExitCode.SOME_FAILED


def _says_that_another_is_gone(error: BaseException) -> bool:
    """Whether an error is PyTorch's way to say that the other end of a connection is closed."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
