"""Ctrl-C, `kill` and a closed terminal: training ends with the profile so far, all else cleans up first."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


class StopSignals:
    """What has been asked for so far. Used as `with stop_signals(console) as stop`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._patient = False
        self._asked = False

    def asked(self) -> bool:
        """Whether somebody wants the training to end."""
        return self._asked

    @contextmanager
    def finishing_first(self) -> Iterator[None]:
        """Inside, the first signal is a request to finish, for `asked`; the next one gives up."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Take a signal; raises KeyboardInterrupt, on which all clean up, where there is nothing to finish."""
        if not self._patient or self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if not self._console.quiet:
            _say_at_once("stopping; writing the profile so far (Ctrl-C again to give up)")


def _say_at_once(line: str) -> None:
    """Write a line to stderr past its buffer, which refuses whoever comes, as signals do, in the middle of another."""
    with suppress(OSError, ValueError):  # where nobody listens
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


@contextmanager
def stop_signals(console: Console) -> Iterator[StopSignals]:
    """Take the signals that ask a process to end."""
    stop = StopSignals(console)
    with handed_to(stop.receive):
        yield stop


@contextmanager
def handed_to(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hand on the signals that ask a process to end. Those that are ignored, as nohup has it, stay ignored."""
    before = {
        number: signal.signal(number, receive)
        for number in SIGNALS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
