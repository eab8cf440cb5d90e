"""The three stations of a run, at work at once: readers → inference → writer.

Readers work ahead in their own threads, inference has the thread that calls, and a writer publishes what is made.
At most one photo for each reader waits before inference and one after it, so memory does not grow with their number.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import EnginePool
from nsp_pipeline.batch.headroom import (
    POLL_SECONDS,
    Headroom,
    bytes_held,
    footprint_of,
    guess_footprint,
    photo_memory,
)
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.outcome import Ended, Result
from nsp_pipeline.batch.output.activity import Activity
from nsp_pipeline.batch.output.publish import Stopped
from nsp_pipeline.batch.photo import Made, PhotoSteps, Ready
from nsp_pipeline.denoise.trusted import InferenceContext
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.errors import MissingCapabilityError, NspError, OutputError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Held(Generic[Item]):
    """A photo between two stations, and the memory it was granted."""

    item: Item
    size: int


@dataclass(frozen=True)
class Watch:
    """Who is told of a run as it goes, and who may end it."""

    reporter: Reporter
    activity: Activity
    interrupted: threading.Event
    unfinished: set[str] = field(default_factory=set)
    """Outputs that are to be made, as far as the record knows; each leaves when its photo comes to its end."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why each profile is used, by its hash."""


@dataclass(frozen=True)
class _Unread:
    """A photo that could not be read.

    It is recorded by the thread of inference, where signals are heard: Ctrl-C also reaches the processes that develop
    RAW files, and a photo is not to be blamed for their end.
    """

    task: Task
    error: Exception


class Pipeline:
    """One run at work. Results of all stations come together in `finish`."""

    def __init__(self, steps: PhotoSteps, engines: EnginePool, watch: Watch) -> None:
        self._steps = steps
        self._engines = engines
        self._watch = watch
        self._reporter, self._activity, self._interrupted = watch.reporter, watch.activity, watch.interrupted
        settings = steps.settings
        self._readers = settings.workers
        self._held_of = partial(bytes_held, mode=settings.inference.mode, bit_depth=settings.encoding.bit_depth)
        self._headroom = Headroom(settings.workers, photo_memory(settings.memory))
        self._deadline = time.monotonic() + settings.max_seconds if settings.max_seconds is not None else None
        self._to_infer: queue.Queue[_Held[Ready | _Unread] | None] = queue.Queue()
        self._to_write: queue.Queue[_Held[Made] | None] = queue.Queue(maxsize=1)
        self._guard = threading.Lock()
        self._announced: set[str] = set()
        self._crash: BaseException | None = None
        self._time_was_up = False
        self.results: list[Result] = []
        self.fatal: NspError | None = None

    @property
    def ended(self) -> Ended:
        """How it went."""
        if self.fatal:
            return Ended.STOPPED
        if self._interrupted.is_set():
            return Ended.INTERRUPTED
        return Ended.TIME_UP if self._time_was_up else Ended.COMPLETE

    def work(self, tasks: Iterable[Task], suspects: Iterable[Task] = ()) -> None:
        """Take every task to its end, or as far as the run gets.

        Suspects come last, and each has the run for itself: should it die again, no other photo is blamed.
        """
        self._flow(tasks, self._readers)
        for task in suspects:
            if self._stopping() or self._out_of_time():
                break
            self._flow([task], 1)

    def _flow(self, tasks: Iterable[Task], readers: int) -> None:
        upcoming = _Shared(tasks)
        threads = [threading.Thread(target=self._read, args=(upcoming,), daemon=True) for _ in range(readers)]
        writer = threading.Thread(target=self._write)
        for thread in (*threads, writer):
            thread.start()
        try:
            self._infer(readers)
            self._put(self._to_write, None)
        except BaseException as error:
            self._crash = error
            raise
        finally:
            # Readers leave nothing on the disk: on a stop nobody waits for one that is deep in a large file.
            writer.join()
            self._abandon_unwritten()
        if self._crash:
            raise self._crash

    def finish(self, result: Result, key: str) -> None:
        """Count a photo that has come to its end, and with it the output that `key` names; raises OutputError."""
        with self._guard:
            self.results.append(result)
            self._watch.unfinished.discard(key)
            self._reporter.finished(result, len(self.results))
        self._activity.count(result, len(self._watch.unfinished))

    def _read(self, upcoming: "_Shared[Task]") -> None:
        """A reader: settle what is not to be made, and read what is."""
        try:
            for task in upcoming:
                if self._stopping() or self._out_of_time():
                    return
                settled, result = self._attempt(task, partial(self._steps.settle, task))
                if result:
                    self._attempt(task, partial(self.finish, result, task.job.key))
                elif settled:
                    self._read_ahead(task)
        except BaseException as error:
            self._crash = error
        finally:
            self._to_infer.put(None)

    def _read_ahead(self, task: Task) -> None:
        foreseen = guess_footprint(task.job.input)
        size = self._held_of(foreseen)
        if not self._headroom.admit(size, self._stopping):
            return
        try:
            self._headroom.require_room(task.job.input, foreseen, size)
            with self._activity.working_on(task.job):
                ready = self._steps.read(task, self._headroom.allocator(size, self._steps.manifest.path.parent))
        except Exception as error:
            self._to_infer.put(_Held(_Unread(task, error), size))
            return
        actual = self._held_of(footprint_of(ready.frame))
        self._headroom.resize(size, actual)
        self._to_infer.put(_Held(ready, actual))

    def _infer(self, reading: int) -> None:
        """Run photos through their engines until so many readers have ended."""
        while reading and not self._stopping():
            try:
                held = self._to_infer.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if held is None:
                reading -= 1
                continue
            self._headroom.begin()
            made = None
            if not self._out_of_time():
                _, made = self._attempt(held.item.task, partial(self._make, held.item))
            if made is None:
                self._headroom.release(held.size)
            elif not self._put(self._to_write, _Held(made, held.size)):
                made.abandon()
            held = made = None  # the noisy pixels go before the next photo's come

    def _make(self, ready: Ready | _Unread) -> Made:
        if isinstance(ready, _Unread):
            raise ready.error
        name = ready.task.job.name
        self._activity.begin_work(ready.task.job)

        def on_tile(done: int, total: int) -> None:
            if self._stopping():
                raise Stopped
            self._tell(lambda: self._reporter.working(name, done / total))

        profile = ready.task.profile
        assert profile is not None
        context = InferenceContext(
            self._engine(ready.task),
            reference=lambda: self._engines.reference(profile),
            on_tile=on_tile,
            say=lambda text: self._tell(lambda: self._reporter.say(text)),
        )
        on_tile(0, 1)
        return self._steps.infer(ready, context)

    def _engine(self, task: Task) -> Engine:
        assert task.profile is not None
        engine = self._engines.get(task.profile)
        if task.profile.sha256 not in self._announced:
            self._announced.add(task.profile.sha256)
            why = self._watch.reasons.get(task.profile.sha256, task.why)
            self._tell(lambda: self._reporter.using(engine.info, why))
        return engine

    def _write(self) -> None:
        """The writer: publish what was made, in the order it comes."""
        try:
            while not self._stopping():
                try:
                    held = self._to_write.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if held is None:
                    return
                self._attempt(held.item.task, partial(self._publish, held.item))
                self._headroom.release(held.size)
                held = None
        except BaseException as error:
            self._crash = error
        finally:
            if self._interrupted.is_set():
                # While a tile is still at the engine: whoever asked the run to end may not wait for it.
                with suppress(OutputError):
                    self._activity.accuse_nobody()

    def _publish(self, made: Made) -> None:
        result = self._steps.publish(made)
        self._activity.end_work(made.task.job)
        self.finish(result, made.task.job.key)

    def _attempt(self, task: Task, step: Callable[[], Value]) -> tuple[bool, Value | None]:
        """Do a step of one photo; (True, its value), or (False, None) where it failed, which is recorded by then."""
        try:
            return True, step()
        except Stopped:
            pass
        except (OutputError, MissingCapabilityError) as error:
            self._give_up(error)
        except Exception as error:
            if self._stopping():
                return False, None
            try:
                result = self._steps.fail(task, error)
                self._activity.end_work(task.job)
                self.finish(result, task.job.key)
            except OutputError as trouble:
                self._give_up(trouble)
        return False, None

    def _give_up(self, error: NspError) -> None:
        with self._guard:
            self.fatal = self.fatal or error

    def _stopping(self) -> bool:
        return self._interrupted.is_set() or self.fatal is not None or self._crash is not None

    def _out_of_time(self) -> bool:
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        self._time_was_up = True
        return True

    def _abandon_unwritten(self) -> None:
        with suppress(queue.Empty):
            while True:
                if held := self._to_write.get_nowait():
                    held.item.abandon()

    def _put(self, target: "queue.Queue[Value]", value: Value) -> bool:
        """Put into a bounded queue, unless the run ends first; whether it did."""
        while not self._stopping():
            try:
                target.put(value, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _tell(self, what: Callable[[], None]) -> None:
        with self._guard:
            what()


class _Shared(Generic[Item]):
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._guard = threading.Lock()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._guard:
                try:
                    item = next(self._items)
                except StopIteration:
                    return
            yield item
