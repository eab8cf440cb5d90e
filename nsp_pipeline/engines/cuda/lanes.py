"""Lanes through a GPU: while one copies its tile there or its result back, another computes.

A lane is a thread, a stream, and memory of its own, pinned on the machine's side. What computes on it is prepared once
for each shape of image and each place in memory, since that is what a CUDA graph holds.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines.cuda.device import Buffer, CudaError, CudaStream, Marks
from nsp_pipeline.engines.cuda.gate import GATE
from nsp_pipeline.engines.engine import memory_watched

LANES = 2
"""One copies while the other computes; a third would only take memory."""

SHAPES = 2
"""Shapes of images that a lane stays prepared for: photos of one camera, upright and across."""

FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Place:
    """Shapes of an image, of the noise table and of what comes out, and their addresses on the GPU.

    `pixels` is where an image of integers, of type `kind`, lies as the photo stores it; 0 for float32, which is copied
    to `image`.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    table: tuple[int, ...]
    result: tuple[int, ...]
    image: int
    pixels: int
    noise: int
    output: int


class Prepared(Protocol):
    """A network that is bound to a place."""

    def compute(self) -> None:
        """Queue it on the lane's stream, or run it to its end."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Network(Protocol):
    """A network on the stream of one lane."""

    @property
    def worn(self) -> bool:
        """Whether it had better be closed and opened anew, since it holds what it gives back only at its end."""
        ...

    def prepare(self, place: Place) -> Prepared:
        """Bind it to a place."""
        ...

    def close(self) -> None:
        """Give back what it holds; may be called again."""
        ...


Moments = tuple[float, ...]
"""Seconds after a moment that all lanes share: when an image's copy in, computing and copy out began, and its end."""


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock in which any lane copied from the machine, computed, or copied back.

    Where two compute at once, either takes the longer for it, so that their sum would be more than the clock shows.
    """

    copy_in: float
    compute: float
    copy_out: float


def spent_by(images: Iterable[Moments]) -> Spent:
    """What images took that went through lanes side by side."""
    copying_in, computing, copying_out = zip(*(itertools.pairwise(moments) for moments in images), strict=True)
    return Spent(_covered(copying_in), _covered(computing), _covered(copying_out))


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of some spans, each from one moment to another, lasts."""
    covered, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


class Lane:
    """One way through the GPU; its methods may be called by any thread, but by one at a time."""

    def __init__(self, index: int, scale: int, network: Callable[[CudaStream], Network]) -> None:
        """Open a network on a stream of GPU `index`; raises what that raises."""
        self._scale, self._new_network = scale, network
        self.on_marks: Callable[[Marks], object] = lambda marks: None
        """Takes where each image's copy in, computing and copy out began in the lane's stream, and where it ended."""
        # ONNX Runtime keeps a captured graph for the thread that captured it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nsp-gpu")
        try:
            self._thread.submit(self._open, index).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """See Engine.run."""
        return self._thread.submit(self._run, image, noise).result()

    def now(self) -> Marks:
        """The present moment; to be closed before the lane is."""
        return self._thread.submit(self._now).result()

    def close(self) -> None:
        """Give back network, memory and stream."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _open(self, index: int) -> None:
        with GATE.alone():
            self._stream = CudaStream(index)
            cuda = self._stream.cuda
            self._marks = Marks(self._stream, 4)
            self._image, self._pixels, self._noise, self._output = (Buffer(cuda) for _ in range(4))
            self._sent, self._table, self._received = (Buffer(cuda, pinned=True) for _ in range(3))
            self._prepared: OrderedDict[Place, Prepared] = OrderedDict()
            try:
                self._network = self._new_network(self._stream)
            except BaseException:
                self._marks.close()
                self._stream.close()
                raise

    def _now(self) -> Marks:
        with GATE.together():
            moment = Marks(self._stream, 1)
            moment.set(0)
            return moment

    def _run(self, image: NDArray[Any], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        table = NoiseLevel.unknown().table if noise is None else noise
        known = any((place.shape, place.kind) == (image.shape, image.dtype) for place in self._prepared)
        try:
            with GATE.together() if known and not self._network.worn else GATE.alone():
                if self._network.worn:
                    self._renew()
                return self._passed(image, table)
        except BaseException:
            # What it held is of no use any more, and smaller images may want the memory.
            self._forget()
            raise

    def _passed(self, image: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy in, compute, copy out, each marked."""
        place = self._place(image, table)
        sent = self._sent.as_array(image.shape, image.dtype)
        kept = self._table.as_array(table.shape, FLOAT)
        received = self._received.as_array(place.result, FLOAT)
        sent[...], kept[...] = image, table
        prepared = self._prepared.get(place) or self._prepare(place)
        self._prepared.move_to_end(place)
        self._marks.set(0)
        self._stream.upload(sent, place.pixels or place.image)
        self._stream.upload(kept, place.noise)
        self._marks.set(1)
        prepared.compute()
        self._marks.set(2)
        self._stream.download(place.output, received)
        self._marks.set(3)
        self._stream.wait()
        self.on_marks(self._marks)
        return received.copy()

    def _place(self, image: NDArray[Any], table: NDArray[np.float32]) -> Place:
        """Hold memory for an image and what comes of it; what was prepared elsewhere is forgotten."""
        result = (*image.shape[:2], *(side * self._scale for side in image.shape[2:]))
        size = math.prod(result) * FLOAT.itemsize
        for pinned, needed in ((self._sent, image.nbytes), (self._table, table.nbytes), (self._received, size)):
            pinned.reserve(needed)
        integers = image.dtype != FLOAT
        on_gpu = {
            self._image: image.size * FLOAT.itemsize,
            self._pixels: image.nbytes if integers else 0,
            self._noise: table.nbytes,
            self._output: size,
        }
        if any(needed > buffer.size for buffer, needed in on_gpu.items()):
            self._unprepare(0)
        image_at, pixels_at, noise_at, output_at = (buffer.reserve(needed) for buffer, needed in on_gpu.items())
        pixels_at = pixels_at if integers else 0
        return Place(image.shape, image.dtype, table.shape, result, image_at, pixels_at, noise_at, output_at)

    def _prepare(self, place: Place) -> Prepared:
        self._unprepare(SHAPES - 1)
        self._prepared[place] = self._network.prepare(place)
        return self._prepared[place]

    def _renew(self) -> None:
        self._unprepare(0)
        self._network.close()
        self._network = self._new_network(self._stream)

    def _unprepare(self, most: int) -> None:
        """Forget what was prepared, but for the latest `most`."""
        while len(self._prepared) > most:
            self._prepared.popitem(last=False)[1].close()

    def _forget(self) -> None:
        """Give back what was prepared, and memory; where the device itself broke down there is nothing to give back."""
        with suppress(CudaError), GATE.alone():
            self._stream.abandon_capture()
            self._unprepare(0)
            buffers = (self._image, self._pixels, self._noise, self._output, self._sent, self._table, self._received)
            for buffer in buffers:
                buffer.free()

    def _close(self) -> None:
        self._forget()
        with suppress(CudaError), GATE.alone():
            self._network.close()
            self._marks.close()
            self._stream.close()


class Lanes:
    """The lanes of one engine. Any number of threads may call `run`; each waits for a lane that is free."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._idle: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            self._idle.put(lane)

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """See Engine.run."""
        lane = self._idle.get()
        try:
            return lane.run(image, noise)
        finally:
            self._idle.put(lane)

    def spent_on(self, work: Callable[[], object]) -> Spent:
        """What the images that `work` runs, and none beside them, take on the GPU."""
        images: list[Moments] = []
        start = self._lanes[0].now()
        try:
            for lane in self._lanes:
                lane.on_marks = lambda marks: images.append(marks.seconds_after(start))
            work()
        finally:
            for lane in self._lanes:
                lane.on_marks = lambda marks: None
            start.close()
        return spent_by(images)

    def close(self) -> None:
        """Close them all."""
        for lane in self._lanes:
            lane.close()


def open_lanes(index: int, scale: int, network: Callable[[CudaStream], Network]) -> Lanes:
    """Open LANES of them on GPU `index`, for networks that enlarge by `scale`; raises what opening a network raises."""
    opened: list[Lane] = []
    try:
        for _ in range(LANES):
            opened.append(Lane(index, scale, network))
    except BaseException:
        for lane in opened:
            lane.close()
        raise
    return Lanes(opened)


class OnLanes:
    """What engines on lanes have in common."""

    _lanes: Lanes
    _where: str

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        with memory_watched(self._where):
            return self._lanes.run(image, noise)

    def spent_on(self, work: Callable[[], object]) -> Spent:
        """What the images that `work` runs, and none beside them, take on the GPU."""
        return self._lanes.spent_on(work)
