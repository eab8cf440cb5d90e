"""Who may use the GPU at a moment: many together, or one alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets many through together, or one alone; who waits to be alone goes before those who come later."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._inside = 0
        self._taken = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Go on beside others, once nobody is alone."""
        with self._turn:
            self._turn.wait_for(lambda: not self._taken)
            self._inside += 1
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Go on once all others have left, and keep them out meanwhile."""
        with self._turn:
            self._turn.wait_for(lambda: not self._taken)
            self._taken = True
            self._turn.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._turn:
                self._taken = False
                self._turn.notify_all()


GATE = Gate()
"""Of this process. While ONNX Runtime captures a CUDA graph, no thread may get memory or wait for an event, or the
capture fails (cudaStreamCaptureModeGlobal): whoever prepares a new shape is alone."""
