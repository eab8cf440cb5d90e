"""Rows of a picture that come one after the other: one thread says how far they are, others wait for them."""

import threading


class Rows:
    """How many rows of a picture there are so far, from the top."""

    def __init__(self) -> None:
        self._count = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def come(self, count: int) -> None:
        """The first `count` are there, and stay as they are."""
        with self._changed:
            self._count = max(self._count, count)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """No more will come, for this reason."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait until the first `count` are there; raises why they will not come."""
        with self._changed:
            while self._count < count:
                if self._error:
                    raise self._error
                self._changed.wait()
