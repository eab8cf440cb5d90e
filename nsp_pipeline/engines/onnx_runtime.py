"""ONNX Runtime: the engine that runs everywhere."""

import os
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo
from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile

INSTALL_HINT = "pip install 'nsp-pipeline[cpu]'"


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, its telemetry off; raises MissingCapabilityError with the command that installs it."""
    # Before the import: its builds for PyPI leave a device id in the user's cache and report to their maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingCapabilityError(f"ONNX Runtime is not installed ({error}): {INSTALL_HINT}") from None
    return onnxruntime  # type: ignore[no-any-return]


class OnnxRuntimeEngine:
    """A profile's graph on ONNX Runtime's CPU provider, float32."""

    def __init__(self, profile: Profile, *, mode: str, threads: int | None = None) -> None:
        """Open the graph.

        Args:
            threads: intra-op threads; None leaves the choice to ONNX Runtime.

        Raises:
            MissingCapabilityError: ONNX Runtime is not installed.
            ProfileError: the profile has no graph for this mode, or one that is not ours.
        """
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        # Tiles at an image's border have other shapes than those inside; an arena would keep memory for each.
        options.enable_cpu_mem_arena = False
        if threads:
            options.intra_op_num_threads = threads
        file = MODEL_FILES[mode]
        try:
            self._session = runtime.InferenceSession(profile.read(file), options, providers=["CPUExecutionProvider"])
        except ProfileError:
            raise
        except Exception as error:  # ONNX Runtime raises bare classes of its own for every kind of bad model
            raise ProfileError(f"{profile.path}: {file} is not a model ONNX Runtime can run: {error}") from error
        meta = self._session.get_modelmeta().custom_metadata_map
        try:
            self.info = EngineInfo(
                name="onnx",
                provider=self._session.get_providers()[0],
                precision="fp32",
                mode=meta["mode"],
                scale=int(meta["scale"]),
                multiple=int(meta["multiple"]),
                halo=int(meta["halo"]),
                profile=meta["profile"],
                sha256=meta["sha256"],
                tiling=meta.get("tiling", "exact"),
                tile=int(meta["tile"]) if "tile" in meta else None,
                blind=meta.get("blind", "1") == "1",
                told_noise=any(value.name == NOISE_INPUT for value in self._session.get_overridable_initializers()),
            )
        except (KeyError, ValueError) as error:
            raise ProfileError(f"{profile.path}: {file} lacks the metadata nsp writes ({error})") from None
        self._require_image_to_image(f"{profile.path}: {file}")

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        inputs = {"image": image} if noise is None else {"image": image, NOISE_INPUT: noise}
        (result,) = self._session.run(["denoised"], inputs)
        return result  # type: ignore[no-any-return]

    def _require_image_to_image(self, where: str) -> None:
        """Raise ProfileError unless the graph takes images of any size: found out here, not at every photo."""
        inputs = {value.name: (value.type, value.shape) for value in self._session.get_inputs()}
        outputs = [value.name for value in self._session.get_outputs()]
        kind, shape = inputs.get("image", ("", []))
        takes_images = kind == "tensor(float)" and shape[:2] == [1, 3] and len(shape) == 4
        if len(inputs) > 1 or not takes_images or any(isinstance(side, int) for side in shape[2:]):
            raise ProfileError(f"{where} must take `image`, float32 [1, 3, H, W] of any H and W; it takes {inputs}")
        if outputs != ["denoised"]:
            raise ProfileError(f"{where} must give `denoised`; it gives {', '.join(outputs)}")

    def close(self) -> None:
        """Free the session."""
        del self._session
