"""ONNX Runtime on CUDA with inputs and outputs that stay on the GPU: a session for each lane, bound to its memory."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from nsp_pipeline.engines.cuda.device import CudaStream
from nsp_pipeline.engines.cuda.lanes import LANES, OnLanes, Place, Prepared, open_lanes
from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo, is_out_of_memory
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.onnx.session import CUDA, SessionRequest
from nsp_pipeline.engines.onnx.unit_pixels import unit_graph
from nsp_pipeline.engines.parity import PROBE, probe_image
from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles.bundle import Profile

GRAPHS = 8
"""Shapes and places that a session captures, since it gives no graph back before its end."""

PATIENCE = 500
"""Runs without a graph after which a session is opened anew, so that the shapes that come now have graphs: launching so
many piece by piece costs about the second, by a guess, that opening does."""

NO_GRAPH = "-1"

Open = Callable[[bool], Any]
"""Opens the session, with CUDA graphs or without."""


class OnnxCudaEngine(OnLanes):
    """A profile's graph on ONNX Runtime's CUDA provider; copies of one image overlap with computing another."""

    def __init__(
        self,
        profile: Profile,
        checked: EngineInfo,
        *,
        provider: str = CUDA,
        precision: str = "fp32",
        device: int = 0,
        graphs: bool = True,
    ) -> None:
        """Open a session for each lane, and try each; where CUDA graphs are refused, `info.fallback` says so.

        Args:
            checked: what another engine, which has looked at the graph and its metadata, says of it.
            provider: CUDA; tests, which have no GPU, run all of this on the CPU.
            graphs: whether to capture CUDA graphs, where ONNX Runtime does.

        Raises as SessionRequest.open; and MissingCapabilityError where cuda-python is not installed.
        """
        request = SessionRequest(profile, checked.mode, None, provider, precision, device)
        self._where = request.where
        self._refused: list[str] = []
        integers = find_spec("onnx") is not None
        self.info = replace(checked, provider=provider, precision=precision, shared=True, integers=integers)

        def network(stream: CudaStream) -> BoundSession:
            return BoundSession(_Opener(request, stream), graphs, checked.noise_conditioned, self._refused.append)

        self._lanes = open_lanes(device, checked.scale, network)
        try:
            # As large as what the parity gate shows it, so that the algorithms for that are chosen once.
            image = probe_image(-(-PROBE // checked.multiple) * checked.multiple)
            for _ in range(LANES):
                self.run(image)
        except BaseException:
            self.close()
            raise
        self.info = replace(self.info, fallback="; ".join(dict.fromkeys(self._refused)))

    def close(self) -> None:
        """Free sessions and memory."""
        self._lanes.close()


class _Opener:
    """Opens the sessions of one lane, which compute on its stream."""

    def __init__(self, request: SessionRequest, stream: CudaStream) -> None:
        self._request, self.stream = request, stream
        self.memory = ("cuda", request.device) if request.provider == CUDA else ("cpu", 0)

    def open(self, *, graphs: bool) -> Any:
        """The network."""
        extra = {"user_compute_stream": str(self.stream.handle), "enable_cuda_graph": "1" if graphs else "0"}
        return replace(self._request, extra=extra).open()

    def open_unit(self, kind: np.dtype[Any]) -> Any:
        """What makes float32 in 0..1 of integers."""
        extra = {"user_compute_stream": str(self.stream.handle)}
        return replace(self._request, extra=extra).open_graph(unit_graph(kind))


class BoundSession:
    """A network for a lane. The session captures a graph at its first run of each place and replays it from then on."""

    def __init__(self, opener: _Opener, graphs: bool, takes_noise: bool, on_refusal: Callable[[str], None]) -> None:
        """Open the session; `on_refusal` takes why there are no graphs, where they were wanted."""
        self._opener, self._takes_noise, self._on_refusal = opener, takes_noise, on_refusal
        self._graphs: dict[Place, str] | None = None
        self._without_graph = 0
        self._units: dict[np.dtype[Any], Any] = {}
        if graphs:
            try:
                self._session = opener.open(graphs=True)
            except ProfileError as error:
                on_refusal(_no_graphs(error.__cause__ or error))
            else:
                self._graphs = {}
                return
        self._session = opener.open(graphs=False)

    @property
    def worn(self) -> bool:
        """See Network."""
        return self._without_graph >= PATIENCE

    def prepare(self, place: Place) -> Prepared:
        """See Network."""
        return _Bound(self, place)

    def close(self) -> None:
        """See Network."""
        self._session = None
        self._units.clear()

    def runs(self, place: Place) -> tuple[Callable[[], None], ...]:
        """What is to be run, one after the other, for an image at a place."""
        name, number = self._opener.memory
        binding = self._session.io_binding()
        binding.bind_input("image", name, number, np.float32, place.shape, place.image)
        if self._takes_noise:
            binding.bind_input(NOISE_INPUT, name, number, np.float32, place.table, place.noise)
        binding.bind_output("denoised", name, number, np.float32, place.result, place.output)
        network = partial(self._session.run_with_iobinding, binding, self._options(place))
        if not place.pixels:
            return (network,)
        if place.kind not in self._units:
            self._units[place.kind] = self._opener.open_unit(place.kind)
        unit = self._units[place.kind]
        binding = unit.io_binding()
        binding.bind_input("pixels", name, number, place.kind, place.shape, place.pixels)
        binding.bind_output("image", name, number, np.float32, place.shape, place.image)
        return partial(unit.run_with_iobinding, binding), network

    def count_run(self, place: Place) -> None:
        """Remember a run that wanted a graph and had none."""
        if self._graphs:
            self._without_graph += self._graphs[place] == NO_GRAPH

    def refuse_graphs(self, error: Exception) -> bool:
        """Go on without CUDA graphs after a capture that failed; False where that would not help."""
        if self._graphs is None or is_out_of_memory(error):
            return False
        self._opener.stream.abandon_capture()
        self._graphs = None
        self._on_refusal(_no_graphs(error))
        self._session = self._opener.open(graphs=False)
        return True

    def _options(self, place: Place) -> Any:
        """Under a number of its own, a place has a graph of its own."""
        options = import_onnxruntime().RunOptions()
        if self._graphs is not None:
            if place not in self._graphs:
                self._graphs[place] = str(len(self._graphs) + 1) if len(self._graphs) < GRAPHS else NO_GRAPH
            options.add_run_config_entry("gpu_graph_id", self._graphs[place])
        return options


class _Bound:
    """A session that is bound to a place."""

    def __init__(self, session: BoundSession, place: Place) -> None:
        self._session, self._place = session, place
        self._runs = session.runs(place)

    def compute(self) -> None:
        """See Prepared."""
        try:
            self._run()
        except Exception as error:  # ONNX Runtime raises bare classes of its own
            if not self._session.refuse_graphs(error):
                raise
            self._runs = self._session.runs(self._place)
            self._run()
        self._session.count_run(self._place)

    def close(self) -> None:
        """See Prepared."""
        self._runs = ()

    def _run(self) -> None:
        for run in self._runs:
            run()


def _no_graphs(error: BaseException) -> str:
    return f"without CUDA graphs: {str(error).strip().splitlines()[0]}"
