"""A profile's ONNX graph, looked at before another program compiles it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile

INSTALL_HINT = "pip install onnx"


@dataclass(frozen=True)
class ModelFacts:
    """What the graph's own metadata say (see EngineInfo for their meaning)."""

    mode: str
    scale: int
    multiple: int
    halo: int
    profile: str
    sha256: str
    tiling: str
    tile: int | None
    blind: bool
    in_turn: bool


def import_onnx() -> ModuleType:
    """Import onnx; raises MissingCapabilityError with the command that installs it."""
    try:
        import onnx
    except ImportError as error:
        raise MissingCapabilityError(f"the package onnx is not installed ({error}): {INSTALL_HINT}") from None
    return onnx  # type: ignore[no-any-return]


def checked_model(profile: Profile, mode: str) -> tuple[bytes, ModelFacts]:
    """Return a profile's graph for a mode, and what it says of itself.

    Raises:
        ProfileError: there is no such graph; it is damaged, takes or gives something else than an image, keeps data
            outside its file, or was made from other weights than the profile's.
        MissingCapabilityError: the package onnx is not installed.
    """
    file = profile.graph_file(mode)
    content = profile.read(file)
    where = f"{profile.path}: {file}"
    model = _parsed(content, where)
    outside = sorted({tensor.name or "a constant" for tensor in _tensors(model.graph) if tensor.data_location})
    if outside:
        raise ProfileError(f"{where} keeps the values of {outside[0]} in another file; nsp reads nothing outside")
    _require_image_to_image(model.graph, where)
    facts = graph_facts(profile, mode, {entry.key: entry.value for entry in model.metadata_props})
    if profile.spec.files.get(WEIGHTS_FILE, facts.sha256) != facts.sha256:
        raise ProfileError(f"{where} was made from other weights than {WEIGHTS_FILE}; get a fresh copy of the profile")
    return content, facts


def graph_facts(profile: Profile, mode: str, stored: Mapping[str, str]) -> ModelFacts:
    """Read the metadata of a profile's graph for a mode; raises ProfileError where they are not nsp's, or another's."""
    file = profile.graph_file(mode)
    where = f"{profile.path}: {file}"
    try:
        facts = ModelFacts(
            mode=stored["mode"],
            scale=int(stored["scale"]),
            multiple=int(stored["multiple"]),
            halo=int(stored["halo"]),
            # A profile that holds the graph of another has a name of its own.
            profile=stored["profile"] and profile.name,
            sha256=stored["sha256"],
            tiling=stored.get("tiling", "exact"),
            tile=int(stored["tile"]) if "tile" in stored else None,
            blind=stored.get("blind", "1") == "1",
            in_turn=stored.get("copies") == "in turn",
        )
    except (KeyError, ValueError) as error:
        raise ProfileError(f"{where} lacks the metadata nsp writes ({error})") from None
    if MODEL_FILES.get(facts.mode) != file:
        raise ProfileError(f"{where} is a graph for {facts.mode}, not for {mode}; get a fresh copy of the profile")
    return replace(facts, mode=mode)


def without_default(content: bytes, name: str) -> bytes:
    """Make an input that has a default one that must be given: compilers take a default for a constant."""
    model = import_onnx().load_from_string(content)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name == name]:
        model.graph.initializer.remove(tensor)
    return bytes(model.SerializeToString())


def _parsed(content: bytes, where: str) -> Any:
    onnx = import_onnx()
    try:
        return onnx.load_from_string(content)
    except Exception as error:  # protobuf has classes of its own for what is no message
        raise ProfileError(f"{where} is not an ONNX model: {error}") from None


def _tensors(graph: Any) -> Iterator[Any]:
    """Every stored tensor of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _tensors(inner)


def _require_image_to_image(graph: Any, where: str) -> None:
    onnx = import_onnx()
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    dims = [entry.dim_value for entry in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    floats = bool(dims) and inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    if not floats or inputs[0].name != "image" or dims != [1, 3, 0, 0]:
        names = ", ".join(value.name for value in inputs)
        raise ProfileError(f"{where} must take `image`, float32 [1, 3, H, W] of any H and W; it takes {names} {dims}")
    outputs = [value.name for value in graph.output]
    if outputs != ["denoised"]:
        raise ProfileError(f"{where} must give `denoised`; it gives {', '.join(outputs)}")
