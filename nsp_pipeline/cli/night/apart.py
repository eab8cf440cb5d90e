"""A group's calibration in a process of its own: what kills it, for want of memory above all, does not end the night.

All the memory that training takes, the GPU's too, is free again for the photos.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from nsp_pipeline.calibration.night.memory import Outcome
from nsp_pipeline.cli.night.half_done import checkpoints
from nsp_pipeline.cli.night.one_group import calibrate_group
from nsp_pipeline.cli.night.task import GOES_ON, GroupEnd, GroupTask, Train
from nsp_pipeline.cli.shared.stop_signals import handed_to
from nsp_pipeline.cli.shared.verbosity import is_quiet, quietly
from nsp_pipeline.errors import NspError

TICK_SECONDS = 0.1


class Interrupts:
    """Requests to end (Ctrl-C, SIGTERM, a closed terminal), as they come."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.count += 1


@contextmanager
def heard() -> Iterator[Interrupts]:
    """Count the signals that ask a process to end."""
    interrupts = Interrupts()
    with handed_to(interrupts.receive):
        yield interrupts


def calibrate_apart(
    task: GroupTask, train: Train, interrupts: Interrupts, on_tick: Callable[[], None] = lambda: None
) -> GroupEnd:
    """Calibrate a group in a process of its own, and hand its interrupts on to it.

    The first one lets the training write its checkpoint; the process ends as soon as that is there, or on the second
    one. Whatever becomes of the process is in the result; nothing is raised.

    Args:
        train: as `calibrate_group` has it; it must be known by its name, as processes hand functions over.
        on_tick: called some times a second meanwhile.
    """
    # Started anew rather than forked: CUDA does not survive a fork, and neither do locks of threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(task, train, is_quiet(), theirs))
    process.start()
    theirs.close()
    checkpoint = Checkpoint(task)
    handed_on = 0
    try:
        while not ours.poll(TICK_SECONDS):
            on_tick()
            if handed_on == 0 and interrupts.count:
                checkpoint.look()
                handed_on += _hand_on(process)
            elif handed_on == 1 and (interrupts.count > 1 or checkpoint.is_new()):
                handed_on += _hand_on(process)
            elif handed_on and interrupts.count > 2:
                process.kill()
        return _received(ours, process, task, interrupts)
    finally:
        ours.close()
        process.join()


class Checkpoint:
    """Whether a training, or one of its stages, has written its checkpoint since somebody looked."""

    def __init__(self, task: GroupTask) -> None:
        self._candidate = task.candidate
        self._seen = self._written()

    def look(self) -> None:
        """Remember the one that is there."""
        self._seen = self._written()

    def is_new(self) -> bool:
        """Whether there is another one by now."""
        return bool(self._written() - self._seen)

    def _written(self) -> set[tuple[Path, int]]:
        found = set()
        for path in checkpoints(self._candidate):
            with suppress(OSError):  # another one takes its place
                found.add((path, path.stat().st_mtime_ns))
        return found


def _hand_on(process: BaseProcess) -> int:
    """Ask a process to end; Windows tells all programs of a window by itself."""
    if os.name != "nt" and process.pid:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    return 1


def _received(link: Connection, process: BaseProcess, task: GroupTask, interrupts: Interrupts) -> GroupEnd:
    """What the process says of its group; where it died, why."""
    try:
        ended: GroupEnd = link.recv()
        return ended
    except (EOFError, OSError):
        process.join()
    title, photos = task.candidate.title, len(task.candidate.group.paths)
    if interrupts.count:
        return GroupEnd(title, photos, Outcome.CUT_OFF, GOES_ON)
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        why = "its process was killed, most likely for want of memory"
    elif code < 0:
        why = f"its process crashed ({signal.Signals(-code).name})"
    else:
        why = f"its process ended with exit code {code}"
    return GroupEnd(title, photos, Outcome.FAILED, f"no profile, as {why}; the next run tries again")


def _serve(task: GroupTask, train: Train, quiet: bool, link: Connection) -> None:
    """The life of the process: it ends with its owner, and hears of a terminal's Ctrl-C from that alone."""
    if hasattr(os, "setsid"):
        os.setsid()
    owner = multiprocessing.parent_process()
    assert owner is not None
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    title, photos = task.candidate.title, len(task.candidate.group.paths)
    try:
        with quietly(quiet):
            ended = calibrate_group(task, train)
    except KeyboardInterrupt:
        ended = GroupEnd(title, photos, Outcome.CUT_OFF, GOES_ON)
    except MemoryError:
        ended = GroupEnd(title, photos, Outcome.FAILED, "no profile, as there is not enough memory to train")
    except NspError as error:
        ended = GroupEnd(title, photos, Outcome.FAILED, f"no profile, as {error}")
    except OSError as error:  # a disk that is full where nobody foresaw it
        why = f"{error.filename or 'the disk'}: {error.strerror or error}"
        ended = GroupEnd(title, photos, Outcome.FAILED, f"no profile, as {why}")
    except Exception as error:
        traceback.print_exc()  # a fault of ours; the photos are made all the same
        ended = GroupEnd(title, photos, Outcome.FAILED, f"no profile, as nsp has a fault: {error!r}, see above")
    link.send(ended)


def _end_with(owner: BaseProcess) -> None:
    """End this process when its owner is gone, killed for instance: a training that nobody waits for is in the way."""
    owner.join()
    os._exit(1)
