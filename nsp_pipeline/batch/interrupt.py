"""Ctrl-C, and other requests to end: the first one ends a run cleanly, the second one kills it."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first interrupt (Ctrl-C, SIGTERM, SIGHUP) into an event, and let the second one kill.

    The event is set at once, also while the main thread is deep in an engine, where Python hears of no signal: who
    stops a container waits seconds, and a tile may take longer.
    """
    event = threading.Event()
    before: dict[int, Any] = {}

    def ask(signum: int, frame: FrameType | None) -> None:
        event.set()
        for number in before:
            signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Under nohup, or in a shell's background, a signal is ignored on purpose.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, ask)
    try:
        with _heard_at_once(event, frozenset(before)):
            yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _heard_at_once(event: threading.Event, numbers: frozenset[int]) -> Iterator[None]:
    """Set the event in another thread, which the system wakes up through a socket the moment a signal comes."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while heard := ours.recv(1):
            if heard[0] in numbers:
                event.set()
            if before >= 0:
                with suppress(OSError):
                    os.write(before, heard)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()
        listener.join()
        ours.close()
