"""ONNX Runtime: the engine that runs everywhere; on the CPU it is the reference for all others."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.engine import NOISE_INPUT, memory_watched
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.onnx.session import CPU, SessionRequest
from nsp_pipeline.profiles.bundle import Profile

MUCH_LESS = 4
"""An image so many times smaller than another wants little of that one's memory, and adds little to it."""


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
        self._held = 0
        self._giving_back = None
        if provider == CPU:
            self._giving_back = import_onnxruntime().RunOptions()
            self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.info = request.info_of(self._session)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        inputs = {"image": image} if noise is None else {"image": image, NOISE_INPUT: noise}
        # An image no larger than one before it, upright or across, finds its memory in what that one took. One of much
        # less is run to give that back; so is a larger one, with its own, unless what is held is little beside it.
        held = self._held or image.size
        keeps = image.size <= held <= MUCH_LESS * image.size or MUCH_LESS * held <= image.size
        with memory_watched(self._where):
            (result,) = self._session.run(["denoised"], inputs, None if keeps else self._giving_back)
        self._held = max(held, image.size) if keeps else image.size
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free the session."""
        del self._session
