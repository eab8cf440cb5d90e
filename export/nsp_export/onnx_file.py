"""Network to ONNX, image in and image out, for any program to run; checked against PyTorch before it is used."""

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch

from nsp_export.agreement import EXAMPLE_SIGMA, TOLERANCE, ParityError
from nsp_export.attention_ops import TRANSLATIONS, use_operators
from nsp_export.first_layers import with_sooner_layers
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.models.graph import ImageToImage

OPSET = 20
"""The first that has GELU as one operator: from its parts engines do not put it together again."""
CHECK_SIZES = ((64, 64), (34, 90), (126, 48))
NAMES = ("image", NOISE_INPUT)
MOST_IMAGES = 1 << 10


def onnx_bytes(graph: ImageToImage, metadata: Mapping[str, str], *, batches: bool = False) -> bytes:
    """Export a graph with dynamic H and W, check it, and return the file's content.

    Input `image` float32 [1, 3, H, W] in 0..1; output `denoised` [1, 3, H, W] or [1, 3, tH, tW]; with `batches` any
    number N of images in place of 1, each denoised by itself (modes without PU only). `metadata` goes into
    metadata_props, with `multiple`, `halo`, `scale`, `mode`, `tiling`, `blind` (0 or 1) and, where it is not any,
    `tile` added; that of a self-ensemble says that its `copies` are computed "in turn". A noise-conditioned network has
    a second input `noise`, which may be left out: its default is "unknown".

    Raises ParityError unless ONNX Runtime agrees with PyTorch to 1e-4 on random images of three sizes.
    """
    graph = graph.eval().to("cpu", torch.float32)
    model = with_sooner_layers(_export(graph, batches))
    facts = {"multiple": graph.multiple, "halo": graph.halo, "scale": graph.scale, "mode": graph.mode}
    facts |= {"tiling": graph.tiling, "blind": int(graph.network.blind)}
    if graph.tile:
        facts["tile"] = graph.tile
    if graph.self_ensemble > 1:
        facts["copies"] = "in turn"
    for key, value in {**metadata, **facts}.items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.checker.check_model(model, full_check=True)
    content = bytes(model.SerializeToString())
    check_parity(content, graph)
    return content


def check_parity(content: bytes, graph: ImageToImage) -> float:
    """Return the largest difference between ONNX Runtime and PyTorch; raises ParityError above 1e-4.

    Also where the graph cannot be run, or takes or gives something else.
    """
    runtime = import_onnxruntime()
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises bare classes of its own
        raise ParityError(f"ONNX Runtime cannot run the graph: {error}") from error
    rng = torch.Generator().manual_seed(0)
    worst = 0.0
    images = 1 if session.get_inputs()[0].shape[0] == 1 else 2
    for height, width in CHECK_SIZES:
        sides = (-(-side // graph.multiple) * graph.multiple for side in (height, width))
        inputs = _inputs(graph, torch.rand(images, 3, *sides, generator=rng))
        with torch.inference_mode():
            expected = graph(*inputs).numpy()
        feed = {name: part.numpy() for name, part in zip(NAMES, inputs, strict=False)}
        try:
            (got,) = session.run(["denoised"], feed)
        except MemoryError:
            raise
        except Exception as error:  # the same
            raise ParityError(f"ONNX Runtime cannot run the graph on {', '.join(feed)}: {error}") from error
        if got.shape != expected.shape:
            raise ParityError(f"the exported graph gives {got.shape} where PyTorch gives {expected.shape}")
        difference = float(np.abs(got - expected).max())
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    if worst > TOLERANCE:
        raise ParityError(f"the exported graph differs from PyTorch by {worst:.2g} (allowed: {TOLERANCE:.0e})")
    return worst


def _export(graph: ImageToImage, batches: bool) -> onnx.ModelProto:
    # Sizes above any that a specialisation to 0 or 1 could catch; a multiple is stated as such to torch.export.
    rows, cols = torch.export.Dim("rows", min=2, max=1 << 15), torch.export.Dim("cols", min=2, max=1 << 15)
    height, width = (rows, cols) if graph.multiple == 1 else (graph.multiple * rows, graph.multiple * cols)
    example = _inputs(graph, torch.zeros(3 if batches else 1, 3, 16 * graph.multiple, 20 * graph.multiple))
    number = {0: torch.export.Dim("images", min=1, max=MOST_IMAGES)} if batches else {}
    use_operators(graph)
    with quiet():
        program = torch.onnx.export(
            graph,
            example,
            input_names=list(NAMES[: len(example)]),
            output_names=["denoised"],
            dynamic_shapes=({**number, 2: height, 3: width}, None)[: len(example)],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path), external_data=False)
        return _tidied(onnx.load(io.BytesIO(path.read_bytes())), graph.scale)


def _tidied(model: onnx.ModelProto, scale: int) -> onnx.ModelProto:
    """Name the dynamic sides H and W, which is what other programs show; drop the exporter's traces of this machine."""
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value, names in ((model.graph.input[0], ("H", "W")), (model.graph.output[0], _output_names(scale))):
        number, _, *sides = value.type.tensor_type.shape.dim
        for dimension, name in zip(sides, names, strict=True):
            dimension.dim_param = name
        if not number.dim_value:
            number.dim_param = "N"
    del model.graph.value_info[:]
    if len(model.graph.input) > 1:
        # An input that has an initializer has a default: programs that know nothing of noise tables leave it out.
        unknown = np.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(unknown, NOISE_INPUT))
    return model


def _inputs(graph: ImageToImage, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The image, and a noise table for a graph that takes one."""
    return (image, torch.full((1, TABLE_ROWS, TABLE_NODES), EXAMPLE_SIGMA)) if graph.noise_conditioned else (image,)


def _output_names(scale: int) -> tuple[str, str]:
    return ("H", "W") if scale == 1 else (f"{scale}*H", f"{scale}*W")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's own warnings from the user: they speak of its internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
