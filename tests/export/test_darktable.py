"""A package for darktable: its zip and config, and its model run as darktable runs it, through plain ONNX Runtime.

darktable itself is not run. What is known of it stands in nsp_export/darktable.py and docs/darktable.md.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from small_student import student_fields, student_graph
from tiny import tiny_fields, tiny_network

from nsp_export import darktable
from nsp_export.agreement import LEAST_PSNR, ParityError
from nsp_export.any_size import with_any_size
from nsp_export.darktable import OVERLAP, STEP, darktable_package, model_id, require_tiles
from nsp_export.onnx_file import onnx_bytes
from nsp_export.stated_noise import with_noise
from nsp_export.variants import Variant
from nsp_pipeline.core.noise_table import StatedNoise, camera_table
from nsp_pipeline.core.shuffle import reflected_indices
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.tbsn import Tbsn
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import ProfileSpec

METADATA = {"profile": "student", "sha256": "0" * 64}
NOISE = StatedNoise("sigma 20", camera_table(20))
SHAPES = [(1, 1, 1), (1, 1, 40), (2, 7, 5), (1, 33, 47), (2, 64, 64), (3, 50, 9)]


@cache
def exported(graph: ImageToImage) -> bytes:
    """A graph as darktable_package exports it: the longest part, done once for each."""
    return onnx_bytes(graph, METADATA, batches=True)


@pytest.fixture(autouse=True, scope="module")
def _exported_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(darktable, "onnx_bytes", lambda graph, metadata, batches: exported(graph))
        yield


def spec(**fields: Any) -> ProfileSpec:
    return ProfileSpec.model_validate({**student_fields(), **fields, "schema_version": 1, "files": {}})


@cache
def package(precision: str = "fp32") -> bytes:
    content, psnr = darktable_package(student_graph(2), spec(), METADATA, "d800", Variant(precision, noise=NOISE))
    assert psnr >= LEAST_PSNR
    return content


@cache
def blind_graph() -> ImageToImage:
    """PD on shifted grids, and a share of the estimate without: all that a blind network's denoising may hold."""
    graph = ImageToImage(tiny_network(), mode="denoise", pd_factor=2, shifted_grids=True, whole_share=0.5)
    return graph.eval()


@cache
def blind_package() -> bytes:
    content, _ = darktable_package(blind_graph(), spec(**tiny_fields()), METADATA, "blind", Variant())
    return content


def model_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith(".onnx")]
        return opened.read(name)


def run(model: bytes, images: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(model).run(["output"], {"input": images})[0]
    return result


def in_torch(graph: ImageToImage, images: np.ndarray, *noise: np.ndarray) -> np.ndarray:
    """Each image by itself, mirrored to the network's multiple by the arrays' own function, and cut again."""
    height, width = images.shape[2:]
    rows, cols = reflected_indices(height, graph.multiple), reflected_indices(width, graph.multiple)
    padded = torch.from_numpy(np.ascontiguousarray(images[:, :, rows][..., cols]))
    with torch.inference_mode():
        results = [graph(image[None], *map(torch.from_numpy, noise)) for image in padded]
    return torch.cat(results).numpy()[..., :height, :width]


def random_images(number: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).random((number, 3, height, width), dtype=np.float32)


def photo(height: int, width: int) -> np.ndarray:
    """Large shapes, edges and noise, (1, 3, H, W): neither flat nor the same everywhere."""
    rng = np.random.default_rng(8)
    shapes = rng.random((3, height // 16 + 1, width // 16 + 1), dtype=np.float32)
    planes = [np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)) for plane in shapes]
    picture = np.stack(planes) + 0.05 * rng.standard_normal((3, height, width))
    return picture.clip(0, 1)[None].astype(np.float32)


def as_darktable_does(model: bytes, image: np.ndarray, side: int) -> np.ndarray:
    """Square tiles that overlap by 64 on every side, mirrored beyond the borders; only their middles are kept."""
    step = side - 2 * OVERLAP
    height, width = image.shape[2:]
    options = onnxruntime.SessionOptions()
    for name, size in (("batch", 1), ("height", side), ("width", side)):
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(model, options)
    result = np.zeros_like(image)

    def mirrored(start: int, length: int) -> np.ndarray:
        places = np.abs(np.arange(start, start + side))
        places = np.where(places >= length, 2 * length - 2 - places, places)
        return places.clip(0, length - 1)

    for top in range(0, height, step):
        for left in range(0, width, step):
            tile = image[:, :, mirrored(top - OVERLAP, height)][..., mirrored(left - OVERLAP, width)]
            (clean,) = session.run(["output"], {"input": np.ascontiguousarray(tile)})
            part = clean[..., OVERLAP : OVERLAP + step, OVERLAP : OVERLAP + step]
            place = result[..., top : top + step, left : left + step]
            place[...] = part[..., : place.shape[2], : place.shape[3]]
    return result


def test_the_zip_is_one_folder_by_the_name_of_the_id() -> None:
    with zipfile.ZipFile(io.BytesIO(package())) as opened:
        assert opened.namelist() == ["d800/config.json", "d800/model.onnx"]
        assert opened.testzip() is None
        config = json.loads(opened.read("d800/config.json"))
    assert {key: config[key] for key in ("id", "name", "task", "backend", "arch", "version", "tiling")} == {
        "id": "d800",
        "name": "nsp d800",
        "task": "denoise",
        "backend": "onnx",
        "arch": "unet",
        "version": "1.0",
        "tiling": True,
    }
    assert config["description"] == "Denoiser by nsp, profile student, for photos of Maker One, ISO 800-1600"
    card = config["model_card"]
    assert (card["license"], card["training_data_license"], card["training_data"]) == (
        "any",
        "any",
        "nothing (0 photos)",
    )
    assert card["notes"] == "It takes every photo to have one level of noise: sigma 20."
    assert all(isinstance(value, str) for value in card.values())


def test_the_same_profile_gives_the_same_bytes() -> None:
    again, _ = darktable_package(student_graph(2), spec(), METADATA, "d800", Variant(noise=NOISE))
    assert again == package()


def test_names_and_dimensions_are_those_that_darktable_looks_for() -> None:
    for content in (package(), package("fp16"), blind_package()):
        model = onnx.load_from_string(model_of(content))
        for (value,), name in ((model.graph.input, "input"), (model.graph.output, "output")):
            kind = value.type.tensor_type
            assert (value.name, kind.elem_type) == (name, onnx.TensorProto.FLOAT)
            dims = [dimension.dim_param or dimension.dim_value for dimension in kind.shape.dim]
            assert dims == ["batch", 3, "height", "width"]


def test_operators_are_as_old_as_they_can_be() -> None:
    versions = {}
    for name, content in (("student", package()), ("half", package("fp16")), ("blind", blind_package())):
        model = onnx.load_from_string(model_of(content))
        versions[name] = [entry.version for entry in model.opset_import if not entry.domain]
    # GELU, which blind networks have, came with 20.
    assert versions == {"student": [17], "half": [17], "blind": [20]}


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_and_number_are_what_pytorch_makes_of_each(shape: tuple[int, int, int]) -> None:
    images = random_images(*shape)
    told = in_torch(student_graph(2), images, NOISE.table)
    np.testing.assert_allclose(run(model_of(package()), images), told, atol=1e-4)
    np.testing.assert_allclose(run(model_of(package("fp16")), images), told, atol=STEP)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_blind_network_with_pd_is_the_same_in_a_package(shape: tuple[int, int, int]) -> None:
    images = random_images(*shape)
    np.testing.assert_allclose(run(model_of(blind_package()), images), in_torch(blind_graph(), images), atol=1e-4)


@pytest.mark.parametrize("size", [(300, 410), (129, 161), (256, 256)])
@pytest.mark.parametrize("side", [256, 384])
def test_darktable_s_tiles_join_without_seams(side: int, size: tuple[int, int]) -> None:
    image = photo(*size)
    for content, halo in ((package(), student_graph(2).halo), (blind_package(), blind_graph().halo)):
        model = model_of(content)
        apart = np.abs(as_darktable_does(model, image, side) - run(model, image))
        # Near the photo's own border darktable's tiles see it mirrored, and the network alone sees nothing beyond.
        assert apart[..., halo:-halo, halo:-halo].max() < 1e-5


def test_a_shipped_student_s_tiles_join_although_it_looks_farther_than_they_overlap() -> None:
    shipped = find_profile("fast").read("model.onnx")
    facts = {
        entry.key: int(entry.value) for entry in onnx.load_from_string(shipped).metadata_props if entry.value.isdigit()
    }
    assert facts["halo"] > OVERLAP
    model = with_any_size(with_noise(shipped, NOISE), facts["multiple"])
    darktable._check_seams(model)
    image = photo(400, 520)
    apart = np.abs(as_darktable_does(model, image, 256) - run(model, image))
    assert apart[..., OVERLAP:-OVERLAP, OVERLAP:-OVERLAP].max() < STEP


def test_seams_that_would_be_seen_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drifting:
        """A network whose every tile is a little brighter than the image is there."""

        def run(self, outputs: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
            image = given["input"]
            return [image + np.float32(1.2 * STEP * (image.shape[-1] == 256))]

    monkeypatch.setattr(darktable, "_session", lambda content: Drifting())
    with pytest.raises(ParityError, match=r"tiles overlap by 64 pixels.*would differ by 1\.2 of 255 where they meet"):
        darktable._check_seams(b"")


def test_a_model_that_depends_on_its_size_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = with_any_size

    def off_by_one(content: bytes, multiple: int) -> bytes:
        return right(content, 2 * multiple)

    monkeypatch.setattr(darktable, "with_any_size", off_by_one)
    with pytest.raises(ParityError, match=r"another picture for \d images of \d+x\d+ pixels"):
        darktable_package(student_graph(2), spec(), METADATA, "d800", Variant(noise=NOISE))


def test_tiles_that_must_fade_are_refused() -> None:
    graph = ImageToImage(Tbsn(channels=8, blocks=(1, 1, 1), head_dim=4), mode="denoise", pd_factor=1)
    with pytest.raises(UsageError, match=r"must fade into each other; darktable's meet at hard edges"):
        require_tiles(graph)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("d800", "d800"),
        ("Nikon D800 (ISO 6400)", "nikon-d800-iso-6400"),
        ("Prüfung_1.2", "prufung_1.2"),
        ("../x", "x"),
    ],
)
def test_an_id_is_a_plain_folder_name(stem: str, expected: str) -> None:
    assert model_id(stem) == expected


@pytest.mark.parametrize("stem", ["", "..", "???", "写真"])
def test_a_name_that_leaves_no_id_is_refused(stem: str) -> None:
    with pytest.raises(UsageError, match="darktable knows a model by the name of its file"):
        model_id(stem)


def test_cameras_and_isos_are_named_once() -> None:
    full = spec(camera_make="NIKON CORPORATION", camera_model="NIKON D800", iso_min=6400, iso_max=6400)
    assert darktable._photos(full) == "photos of NIKON CORPORATION NIKON D800, ISO 6400"
    assert darktable._photos(spec(camera_make="Canon", camera_model="Canon EOS 80D", iso_min=None, iso_max=None)) == (
        "photos of Canon EOS 80D"
    )
    assert darktable._photos(spec(camera_make=None, camera_model=None, iso_min=None)) == (
        "photos of any camera, ISO 1600"
    )
