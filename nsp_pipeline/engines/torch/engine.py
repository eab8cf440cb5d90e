"""The PyTorch engine: it runs the weights themselves, without ONNX, where PyTorch is installed anyway."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.engine import EngineInfo, memory_watched
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE, Profile

if TYPE_CHECKING:
    import torch

INSTALL_HINT = "pip install 'nsp-pipeline[cpu,train]'"
CUDA_HINT = "pip install --force-reinstall torch, from the page of pytorch.org for your driver"


def import_torch() -> Any:
    """Import PyTorch and what reads weights; raises MissingCapabilityError with the command that installs them."""
    try:
        import safetensors  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingCapabilityError(f"PyTorch is not installed ({error}): {INSTALL_HINT}") from None
    return torch


def computes_in_bf16() -> bool:
    """Whether PyTorch is installed and this CPU has instructions for bfloat16."""
    try:
        return bool(import_torch().ops.mkldnn._is_mkldnn_bf16_supported())
    except (MissingCapabilityError, AttributeError):
        return False


class TorchEngine:
    """A profile's network in PyTorch, channels last; below float32 by autocast."""

    def __init__(
        self,
        profile: Profile,
        checked: EngineInfo,
        *,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        """Build the network and fill it with the profile's weights.

        Args:
            checked: what another engine, which has looked at the profile's graph, says of it.
            precision: "fp32", "fp16" or "bf16".
            device: "cpu", or "cuda:N".
            threads: CPU threads; None leaves the choice to PyTorch.

        Raises:
            MissingCapabilityError: PyTorch is not installed, or comes without CUDA.
            ProfileError: the weights are not those of the network that the profile names.
            EngineOutOfMemoryError: the device's memory does not hold the network.
        """
        self._torch = import_torch()
        if device != "cpu" and not self._torch.cuda.is_available():
            raise MissingCapabilityError(f"PyTorch {self._torch.__version__} reaches no GPU: {CUDA_HINT}")
        # The graph of an export is that of the ONNX file, operation by operation.
        from nsp_pipeline.models.graph import ImageToImage
        from nsp_pipeline.models.registry import load_backbone

        if threads:
            self._torch.set_num_threads(threads)
        spec = profile.spec
        network = load_backbone(spec.backbone.name, spec.backbone.sizes, profile.read(WEIGHTS_FILE))
        graph = ImageToImage(network, mode=checked.mode, **spec.inference.model_dump()).eval()
        self._device = device
        with memory_watched(device):
            # PyTorch's stubs know no module.to(memory_format=).
            self._graph = graph.to(memory_format=self._torch.channels_last).to(device)  # type: ignore[call-overload]
        if precision != "fp32":
            self._keep_the_image(checked.multiple)
        self._type: torch.dtype | None = {"bf16": self._torch.bfloat16, "fp16": self._torch.float16}.get(precision)
        provider = "PyTorch CPU" if device == "cpu" else "PyTorch CUDA"
        self.info = replace(checked, name="torch", provider=provider, precision=precision)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        torch = self._torch
        with ExitStack() as stack:
            stack.enter_context(memory_watched(self._device))
            stack.enter_context(torch.inference_mode())
            # float32 is float32, and not the ten bits of TF32.
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False))
            if self._type:
                stack.enter_context(torch.autocast(self._device.split(":")[0], dtype=self._type))
            given = torch.from_numpy(np.ascontiguousarray(image)).to(self._device, memory_format=torch.channels_last)
            table = () if noise is None else (torch.from_numpy(noise).to(self._device),)
            found: NDArray[np.float32] = self._graph(given, *table).float().contiguous().cpu().numpy()
        return found

    def _keep_the_image(self, multiple: int) -> None:
        """Let the layer that sees the image itself compute in float32: rounded, it carries noise (see openvino_head).

        Local means, which see it too, do so by themselves.
        """
        seen: list[torch.nn.Module] = []
        hooks = [
            module.register_forward_pre_hook(lambda module, _: seen.append(module))
            for module in self._graph.modules()
            if isinstance(module, self._torch.nn.Conv2d)
        ]
        with self._torch.inference_mode():
            self._graph(self._torch.zeros(1, 3, 8 * multiple, 8 * multiple, device=self._device))
        for hook in hooks:
            hook.remove()
        forward: Callable[[torch.Tensor], torch.Tensor] = seen[0].forward

        def in_float32(features: "torch.Tensor") -> "torch.Tensor":
            with self._torch.autocast(self._device.split(":")[0], enabled=False):
                return forward(features.float())

        seen[0].forward = in_float32

    def close(self) -> None:
        """Free the network."""
        del self._graph
        if self._device != "cpu":
            self._torch.cuda.empty_cache()
