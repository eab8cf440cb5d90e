"""`nsp export --noise` and `--target darktable`: what may be said, and what is told where it may not."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from run_nsp import Finished
from small_student import student_profile_files

from nsp_export import engine_file
from nsp_pipeline.cli.export.stated_noise import stated_noise
from nsp_pipeline.core.noise_table import StatedNoise, camera_table
from nsp_pipeline.engines.tensorrt import build as tensorrt_build
from nsp_pipeline.errors import UsageError
from nsp_pipeline.profiles.bundle import Profile, write_profile
from nsp_pipeline.profiles.noise import measured_noise

Nsp = Callable[..., Finished]
ROWS = [[0.01 * (row + 1)] * 8 for row in range(4)]
CURVE = {"a": 1e-3, "b": 1e-4, "straight": True, "brightness": [0.1, 0.9], "variance": [2e-4, 1e-3]}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return write_profile(tmp_path_factory.mktemp("profiles") / "student.nsp", *student_profile_files())


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    fields, files = student_profile_files(name="calibrated", noise=[CURVE] * 3, noise_correlation=[0.6, 0.3])
    return write_profile(tmp_path_factory.mktemp("profiles") / "calibrated.nsp", fields, files)


def written(path: Path, document: Any) -> str:
    path.write_text(json.dumps(document))
    return str(path)


def run(content: bytes | str, image: np.ndarray, name: str = "image") -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(content).run(None, {name: image})[0]
    return result


def test_a_number_is_camera_noise_in_8_bit_steps() -> None:
    found = stated_noise("12.5")
    assert found.source == "sigma 12.5"
    np.testing.assert_array_equal(found.table, camera_table(12.5))
    assert stated_noise("unknown").source == "unknown"


@pytest.mark.parametrize(
    "document",
    [
        ROWS,
        [ROWS],
        {"table": ROWS},
        {"camera": "D800", "noise": {"sigma": 3.0, "table": ROWS}},
        {"groups": [{"camera": "A", "noise": {"trouble": "nothing flat"}}, {"camera": "B", "noise": {"table": ROWS}}]},
    ],
)
def test_a_table_is_four_rows_or_what_nsp_scan_prints(tmp_path: Path, document: Any) -> None:
    found = stated_noise(written(tmp_path / "street.json", document))
    assert found.source == "table street.json"
    np.testing.assert_array_equal(found.table, np.array([ROWS], np.float32))


def test_a_profile_s_own_noise_can_be_that_of_another(calibrated: Profile) -> None:
    found, own = stated_noise(str(calibrated.path)), measured_noise(calibrated)
    assert own is not None
    assert found.source == "profile calibrated"
    np.testing.assert_array_equal(found.table, own.table)


TWO = {"groups": [{"camera": name, "iso_min": 800, "noise": {"table": ROWS}} for name in ("A", "B")]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is 4 rows of 8 standard deviations each"),
        ("7", "is 4 rows of 8"),
        ('{"noise": 3}', "is 4 rows of 8"),
        (json.dumps([[25.0] * 8] * 4), "8-bit steps divided by 255"),
        (json.dumps([[-0.01] * 8] * 4), "is 4 rows of 8"),
        (json.dumps([[True] * 8] * 4), "is 4 rows of 8"),
        (json.dumps([[float("nan")] * 8] * 4), "is 4 rows of 8"),
        (json.dumps(ROWS[:3]), "is 4 rows of 8"),
        (json.dumps(TWO), "this holds 2 (A ISO 800; B ISO 800); scan the photos of one camera and ISO"),
        ('{"groups": [{"camera": "A"}]}', "one level of noise is needed, and this holds 0; scan"),
        ('{"groups": 3}', "this holds 0"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(UsageError) as refused:
        stated_noise(str(path))
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["0", "-3", "256", "nan", "inf", "-inf"])
def test_a_level_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a level is a standard deviation in 8-bit steps, above 0 and up to 255"):
        stated_noise(text)


@pytest.mark.usefixtures("user_profiles", "tiny_builtin")
def test_what_is_nothing_at_all_is_named(student: Profile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--noise lots: not a number, not a \.json file, and no profile"):
        stated_noise("lots")
    with pytest.raises(UsageError, match=r"profile student holds no measured noise; nsp calibrate measures it"):
        stated_noise(str(student.path))
    with pytest.raises(UsageError, match=r"gone\.json: cannot be read: No such file"):
        stated_noise(str(tmp_path / "gone.json"))


def test_an_onnx_file_with_a_level_has_one_input(real_nsp: Nsp, student: Profile, tmp_path: Path) -> None:
    out, table = tmp_path / "mine.onnx", written(tmp_path / "street.json", ROWS)
    ended = real_nsp("export", student.path, "--noise", table, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["noise"] == "table street.json"
    model = onnx.load(out)
    assert [value.name for value in model.graph.input] == ["image"]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["noise"], json.loads(facts["noise_table"])) == ("table street.json", ROWS)
    assert str(tmp_path).encode() not in out.read_bytes()


def test_an_engine_is_built_of_a_graph_that_is_told(
    real_nsp: Nsp, student: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(flavour: str, content: bytes, *_: object) -> tuple[bytes, bytes]:
        built.append(content)
        return b"engine", b""

    monkeypatch.setattr(tensorrt_build, "import_tensorrt", lambda flavour: None)
    monkeypatch.setattr(engine_file, "build_engine", build)
    way = ("--target", "tensorrt-rtx", "--noise", "20", "--precision", "fp16")
    ended = real_nsp("export", student.path, *way, "--out", tmp_path / "mine.engine", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["noise"] == "sigma 20"
    (content,) = built
    image = np.random.default_rng(0).random((1, 3, 48, 64), dtype=np.float32)
    (told,) = onnxruntime.InferenceSession(student.read("model.onnx")).run(
        None, {"image": image, "noise": camera_table(20)}
    )
    assert np.abs(run(content, image) - told).max() < 0.01
    assert np.abs(run(student.read("model.onnx"), image) - told).max() > 0.02


def test_a_package_for_darktable_is_told_its_photos_own_noise(
    real_nsp: Nsp, calibrated: Profile, tmp_path: Path
) -> None:
    out = tmp_path / "My D800.dtmodel"
    ended = real_nsp("export", calibrated.path, "--target", "darktable", "--out", out, "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert (facts["id"], facts["noise"], facts["size"]) == ("my-d800", "profile calibrated", "any size")
    assert f"{out}: denoise, fp32, any size" in ended.err
    with zipfile.ZipFile(out) as package:
        model = package.read("my-d800/model.onnx")
        notes = json.loads(package.read("my-d800/config.json"))["model_card"]["notes"]
    assert notes == "It takes every photo to have one level of noise: profile calibrated."
    own = measured_noise(calibrated)
    assert own is not None
    image = np.random.default_rng(0).random((1, 3, 48, 64), dtype=np.float32)
    (told,) = onnxruntime.InferenceSession(calibrated.read("model.onnx")).run(
        None, {"image": image, "noise": own.table}
    )
    np.testing.assert_allclose(run(model, image, "input"), told, atol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "name", "message"),
    [
        ((), "mine.onnx", "darktable installs files that end in .dtmodel; name it mine.dtmodel"),
        (("--size", "64x64"), "mine.dtmodel", "a model for darktable takes images of any size"),
        (("--max-size", "64x64"), "mine.dtmodel", "a model for darktable takes images of any size"),
        (("--mode", "sr"), "mine.dtmodel", "darktable gives a denoiser float32 pixels and wants as many back"),
        (("--io", "uint8"), "mine.dtmodel", "darktable gives a denoiser float32 pixels"),
        (("--noise", "input"), "mine.dtmodel", "darktable gives a network the picture and nothing else"),
        (("--compute-capability", "8.9"), "mine.dtmodel", "works with --target tensorrt-rtx only"),
        ((), "写真.dtmodel", "darktable knows a model by the name of its file"),
    ],
)
def test_what_darktable_has_no_use_for_is_refused(
    real_nsp: Nsp, student: Profile, tmp_path: Path, overrides: tuple[str, ...], name: str, message: str
) -> None:
    ended = real_nsp("export", student.path, "--target", "darktable", *overrides, "--out", tmp_path / name)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--target", "darktable"), "would change from tile to tile"),
        (("--target", "tensorrt"), "works with --target onnx only"),
        (("--target", "tensorrt-rtx"), "works with --target onnx only"),
        (("--mode", "sr"), "works with --mode denoise only, not with sr"),
    ],
)
def test_noise_found_inside_is_for_whole_photos_of_one_size(
    real_nsp: Nsp, student: Profile, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    out = tmp_path / ("mine.dtmodel" if "darktable" in overrides else "mine.onnx")
    ended = real_nsp("export", student.path, "--noise", "inside", *overrides, "--out", out)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert not out.exists()


def test_a_file_that_finds_the_noise_itself_is_written(real_nsp: Nsp, student: Profile, tmp_path: Path) -> None:
    out = tmp_path / "whole.onnx"
    ended = real_nsp("export", student.path, "--noise", "inside", "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["noise"] == "inside"
    assert [value.name for value in onnx.load(out).graph.input] == ["image"]


def test_a_blind_profile_is_told_nothing(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    for way in ((), ("--target", "darktable")):
        out = tmp_path / "mine.dtmodel"
        ended = real_nsp("export", tiny_profile.path, *way, "--noise", "10", "--out", out)
        assert ended.code == 2
        assert "--noise: this network is not told the noise, it judges by what it sees" in ended.err
        assert not out.exists()


def test_unknown_is_a_level_of_its_own() -> None:
    assert (stated_noise("unknown").table == StatedNoise.unknown().table).all()
