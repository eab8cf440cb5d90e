"""A profile as a model package of darktable 5.6 (`.dtmodel`): a zip of one folder with `config.json` and `model.onnx`.

The format is as darktable's documentation and its loader have it in November 2026: the folder bears the model's id;
`input` and `output` are [N, 3, height, width] in sRGB, 0..1. darktable cuts a photo into square tiles that overlap by
OVERLAP pixels, keeps the middle of each, and gives the network nothing but the pixels.
"""

import io
import json
import re
import unicodedata
import zipfile
from typing import Any

import numpy as np

from nsp_export.agreement import TOLERANCE, ParityError, photo_like
from nsp_export.any_size import INPUT, OUTPUT, with_any_size
from nsp_export.onnx_file import onnx_bytes
from nsp_export.opset import oldest_operators
from nsp_export.variants import Variant, variant
from nsp_pipeline.core.noise_table import StatedNoise
from nsp_pipeline.core.shuffle import reflected_indices
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.profiles.spec import ProfileSpec

OVERLAP, SMALLEST_TILE = 64, 256
"""Pixels that darktable's tiles overlap by on every side, and the side of its smallest."""

STEP = 1 / 255
CHECK_SHAPES = ((1, 1, 1), (2, 7, 5), (2, 33, 47), (1, 64, 96))
DATE = (1980, 1, 1, 0, 0, 0)
"""Of the files in the zip: the same profile gives the same bytes."""


def model_id(stem: str) -> str:
    """Return the id of a package by the name of its file: lower-case letters, digits, `-`, `_` and `.`.

    Raises UsageError where nothing of the name is left.
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")
    if not found:
        raise UsageError(f"{stem}: darktable knows a model by the name of its file; use letters a-z and digits in it")
    return found


def require_tiles(graph: ImageToImage) -> None:
    """Raise UsageError for a network that darktable's tiles do not suit."""
    if graph.tiling != "exact":
        raise UsageError(
            "--target darktable: this network looks at the whole image, so that its tiles must fade into each other; "
            "darktable's meet at hard edges, which would be seen. Use nsp denoise, or teach a student (nsp distill)"
        )


def darktable_package(
    graph: ImageToImage, spec: ProfileSpec, metadata: dict[str, str], identity: str, request: Variant
) -> tuple[bytes, float]:
    """Export a graph that denoises as a `.dtmodel`.

    Args:
        spec: what the profile says of itself.
        metadata: goes into the model file's metadata.
        identity: see `model_id`.
        request: precision, and the noise that the network is told; None for one that is not told.

    Returns:
        The zip, and the PSNR of its model against the float32 one, in dB.

    Raises:
        UsageError: the network cannot run in darktable's tiles, or is not told the noise.
        ParityError: the model is not PyTorch's equal, depends on the size of its input, or its tiles do not match.
    """
    require_tiles(graph)
    inner, psnr = variant(onnx_bytes(graph, metadata, batches=True), request)
    content = with_any_size(oldest_operators(inner), graph.multiple)
    _check_sizes(content, inner, graph.multiple, TOLERANCE if request.precision == "fp32" else STEP / 2)
    if graph.halo > OVERLAP:
        _check_seams(content)
    config = json.dumps(_config(spec, identity, request.noise), indent=4, ensure_ascii=False) + "\n"
    return _zipped({f"{identity}/config.json": config.encode(), f"{identity}/model.onnx": content}), psnr


def _config(spec: ProfileSpec, identity: str, noise: StatedNoise | None) -> dict[str, Any]:
    """What darktable reads of a model before it opens it; `model_card` is what its info button shows."""
    photos = _photos(spec)
    if noise is None or noise.source == "unknown":
        level = "It judges the noise by what it sees."
    else:
        level = f"It takes every photo to have one level of noise: {noise.source}."
    return {
        "id": identity,
        "name": f"nsp {identity}",
        "description": f"Denoiser by nsp, profile {spec.name}, for {photos}",
        "task": "denoise",
        "arch": spec.backbone.name,
        "backend": "onnx",
        "version": "1.0",
        "tiling": True,
        "model_card": {
            "long_description": f"Profile {spec.name} of nsp (Next-Scale Prediction), for {photos}.",
            "scope": "single-image denoising",
            "license": spec.data.licence,
            "training_data": f"{spec.data.origin} ({spec.data.photos} photos)",
            "training_data_license": spec.data.licence,
            "notes": level,
        },
    }


def _photos(spec: ProfileSpec) -> str:
    """Whose photos a profile is for."""
    camera = " ".join(part for part in (spec.camera_make, spec.camera_model) if part)
    if spec.camera_make and spec.camera_model and spec.camera_model.lower().startswith(spec.camera_make.lower()):
        camera = spec.camera_model
    ends = sorted({iso for iso in (spec.iso_min, spec.iso_max) if iso is not None})
    isos = f", ISO {'-'.join(str(iso) for iso in ends)}" if ends else ""
    return f"photos of {camera or 'any camera'}{isos}"


def _zipped(files: dict[str, bytes]) -> bytes:
    """A zip in which every byte follows from the files: darktable takes the id from the folder of the first."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as package:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            package.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def _check_sizes(content: bytes, inner: bytes, multiple: int, tolerance: float) -> None:
    """Raise ParityError unless images of every shape come out as the inner graph denoises them, mirrored and cut."""
    outer, within = _session(content), _session(inner)
    rng = np.random.default_rng(0)
    for shape in CHECK_SHAPES:
        number, height, width = shape
        images = rng.random((number, 3, height, width), dtype=np.float32)
        rows, cols = reflected_indices(height, multiple), reflected_indices(width, multiple)
        (got,) = outer.run([OUTPUT], {INPUT: images})
        for image, result in zip(images, got, strict=True):
            padded = np.ascontiguousarray(image[None, :, rows][..., cols])
            (expected,) = within.run(["denoised"], {"image": padded})
            if not np.abs(result - expected[0, :, :height, :width]).max() <= tolerance:
                raise ParityError(f"the model gives another picture for {number} images of {height}x{width} pixels")


def _check_seams(content: bytes) -> None:
    """Raise ParityError where a tile's middle differs from the whole image by an 8-bit step: neighbours would show."""
    session = _session(content)
    side, start = 2 * SMALLEST_TILE, SMALLEST_TILE // 2
    image = photo_like((side, side))
    (whole,) = session.run([OUTPUT], {INPUT: image})
    read = slice(start, start + SMALLEST_TILE)
    (tile,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(image[..., read, read])})
    kept = slice(OVERLAP, SMALLEST_TILE - OVERLAP)
    placed = slice(start + OVERLAP, start + SMALLEST_TILE - OVERLAP)
    worst = float(np.abs(tile[..., kept, kept] - whole[..., placed, placed]).max())
    if not worst < STEP:
        raise ParityError(
            f"darktable's tiles overlap by {OVERLAP} pixels; this network looks farther, and its tiles would differ by "
            f"{worst * 255:.1f} of 255 where they meet"
        )


def _session(content: bytes) -> Any:
    return import_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
