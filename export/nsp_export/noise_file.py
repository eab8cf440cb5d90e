"""The noise estimator's network to ONNX, checked against PyTorch before it is used."""

import io
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from nsp_export.agreement import TOLERANCE, ParityError
from nsp_export.attention_ops import TRANSLATIONS
from nsp_export.onnx_file import quiet
from nsp_pipeline.models.noise_net import BLOCK, NoiseNet
from nsp_pipeline.noise.runtime import on_onnx_runtime

OPSET = 18
CHECK_SIZES = ((BLOCK, BLOCK), (3 * BLOCK, 8 * BLOCK), (8 * BLOCK, 2 * BLOCK))


def noise_onnx(network: NoiseNet) -> bytes:
    """Export the network: `image` float32 [N, 3, H, W] in 0..1 -> `noise` [N, 8, H/32, W/32], any N, H and W.

    Raises ParityError unless ONNX Runtime agrees with PyTorch to 1e-4 on random images of three sizes.
    """
    network = network.eval().to("cpu", torch.float32)
    rows, columns = torch.export.Dim("rows", min=2, max=1 << 10), torch.export.Dim("cols", min=2, max=1 << 10)
    with quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(3, 3, 4 * BLOCK, 5 * BLOCK),),
            input_names=["image"],
            output_names=["noise"],
            dynamic_shapes=({0: torch.export.Dim("images"), 2: BLOCK * rows, 3: BLOCK * columns},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path), external_data=False)
        model = onnx.load(io.BytesIO(path.read_bytes()))
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    content = bytes(model.SerializeToString())
    _check(content, network)
    return content


def _check(content: bytes, network: NoiseNet) -> None:
    run = on_onnx_runtime(content)
    generator = torch.Generator().manual_seed(0)
    for height, width in CHECK_SIZES:
        image = torch.rand(2, 3, height, width, generator=generator)
        with torch.inference_mode():
            expected = network(image).numpy()
        difference = float(np.abs(run(image.numpy()) - expected).max())
        if not difference <= TOLERANCE:
            raise ParityError(f"the exported estimator differs from PyTorch by {difference:.2g}")
