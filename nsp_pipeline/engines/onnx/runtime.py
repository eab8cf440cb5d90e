"""ONNX Runtime: the engine that runs everywhere; on the CPU it is the reference for all others."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.engine import NOISE_INPUT, memory_watched
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.onnx.session import CPU, SessionRequest
from nsp_pipeline.profiles.bundle import Profile


class OnnxRuntimeEngine:
    """A profile's graph on one of ONNX Runtime's providers, an image at a time."""

    def __init__(
        self,
        profile: Profile,
        *,
        mode: str,
        threads: int | None = None,
        provider: str = CPU,
        precision: str = "fp32",
        device: int = 0,
    ) -> None:
        """Open the graph; arguments and errors as for SessionRequest."""
        request = SessionRequest(profile, mode, threads, provider, precision, device)
        self._session = request.open()
        self._where = request.where
        self._size = 0
        self._giving_back = None
        if provider == CPU:
            self._giving_back = import_onnxruntime().RunOptions()
            self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.info = request.info_of(self._session)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        inputs = {"image": image} if noise is None else {"image": image, NOISE_INPUT: noise}
        # A run of another size gives back what the sizes before it took, and its own; the next one keeps what it takes.
        # As many pixels, upright or across, take the very memory.
        known, self._size = self._size in (0, image.size), image.size
        with memory_watched(self._where):
            (result,) = self._session.run(["denoised"], inputs, None if known else self._giving_back)
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free the session."""
        del self._session
