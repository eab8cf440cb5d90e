"""Processes forked from one that has imported PyTorch already: to import it, and what trainings take, takes seconds."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from typing import IO, Any

PRELOADED = ["torch._dynamo", "nsp_pipeline.cli.calibrate.command", "nsp_pipeline.calibration.next_scale.calibrate"]


class Forked:
    """A process of its own that runs a program; as far as tests ask, it is a `subprocess.Popen`."""

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        assert isinstance(context, ForkServerContext)
        context.set_forkserver_preload(PRELOADED)
        pipes = [os.pipe() for _ in range(2)]
        ends = [DupFd(written) for _, written in pipes]
        given = (program, [*arguments], dict(os.environ), list(sys.path))
        self._process = context.Process(target=_run, args=(given, *ends))
        self._process.start()
        for _, written in pipes:
            os.close(written)
        self.stdout: IO[str]
        self.stderr: IO[str]
        self.stdout, self.stderr = (os.fdopen(read, encoding="utf-8", errors="replace") for read, _ in pipes)

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; below 0 by a signal, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """See returncode."""
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end."""
        self._process.join(timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; returns what it wrote on stdout and stderr that nobody has read, which is little."""
        err, out = self.stderr.read(), self.stdout.read()
        self.wait(timeout)
        return out, err


def _run(given: tuple[str, list[str], dict[str, str], list[str]], stdout: Any, stderr: Any) -> None:
    """The life of the process."""
    program, arguments, environment, paths = given
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = paths
    for end, number in ((stdout, 1), (stderr, 2)):
        os.dup2(end.detach(), number)
    # What the process that was forked had may be a file, in which one can seek.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["-c", *arguments]
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
