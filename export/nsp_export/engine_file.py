"""A profile's graph to an engine of TensorRT or TensorRT-RTX, for programs that load such files themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nsp_export.variants import Variant, variant
from nsp_pipeline.engines.onnx.model_file import ModelFacts, checked_model
from nsp_pipeline.engines.tensorrt.build import BuildOptions, build_engine
from nsp_pipeline.engines.tensorrt.size_range import SizeRange
from nsp_pipeline.errors import UsageError
from nsp_pipeline.profiles.bundle import Profile


@dataclass(frozen=True)
class EngineFileRequest:
    """What engine to make: which library, what graph, for which GPUs (see BuildOptions), and what range of sizes.

    `sizes` gives the range that a network of some `multiple` and `tile` is built for; a graph of one size has none.
    """

    flavour: str
    mode: str
    variant: Variant
    sizes: Callable[[int, int | None], SizeRange]
    capabilities: Sequence[str] = ()


def engine_bytes(
    profile: Profile, request: EngineFileRequest, on_line: Callable[[str], None]
) -> tuple[bytes, ModelFacts, SizeRange, float]:
    """Build an engine from a profile's own graph.

    Returns:
        The engine, what its graph says of itself, the sizes it takes, and the PSNR of its graph against the float32
        one, in dB.

    Raises:
        ProfileError: the profile's graph is not what nsp writes.
        UsageError: a request that the library or the network cannot fulfil.
        MissingCapabilityError: the library is not installed, or needs a GPU.
        ParityError: the graph in the wished precision is not the float32 one's equal.
    """
    if request.variant.pixels == "uint16":
        raise UsageError(f"--io uint16: {request.flavour} has no such type; uint8 and float32 are possible")
    content, facts = checked_model(profile, request.mode)
    sizes = request.sizes(facts.multiple, facts.tile)
    graph, psnr = variant(content, request.variant)
    options = BuildOptions(request.capabilities, on_line=on_line)
    engine, _ = build_engine(request.flavour, graph, None if request.variant.size else sizes, options)
    return engine, facts, sizes, psnr
