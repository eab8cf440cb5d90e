"""`nsp bench`, with real engines in processes of their own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_nsp import Finished

from nsp_pipeline.cli import bench
from nsp_pipeline.engines.measured.fastest import UNKNOWN
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.speed.bench import Bench, Configuration, Plan, Timed

Nsp = Callable[..., Finished]
QUICK = ("--size", "64x96", "--repeats", "1", "--threads", "1", "--engine", "onnx")


def test_measures_engines_beside_the_authors_way_and_says_what_did_not_run(
    real_nsp: Nsp, tiny_profile: Profile
) -> None:
    ended = real_nsp(
        "bench", "--profile", tiny_profile.path, *QUICK, "--precision", "fp32", "--precision", "bf16", "--json"
    )

    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    eager, onnx = report["measured"]
    assert (eager["engine"], eager["times_authors"]) == ("eager", 1.0)
    assert (onnx["engine"], onnx["provider"], onnx["precision"]) == ("onnx", "CPUExecutionProvider", "fp32")
    assert onnx["megapixels_per_second"] == pytest.approx(64 * 96 / 1e6 / onnx["seconds"][0])
    assert onnx["times_authors"] == pytest.approx(eager["seconds"][0] / onnx["seconds"][0])
    assert 0 < onnx["share_of_peak"] < 1
    assert onnx["peak_bytes"] > 20 << 20
    assert 0 < onnx["engine_share"] < 1
    assert 0 <= onnx["seen_twice"] < 1
    assert list(onnx["stages"]) == ["decode", "noise", "compute", "blend", "encode"], "a CPU copies nothing"
    assert onnx["bound_by"] == min(onnx["stages"], key=onnx["stages"].get)
    assert onnx["stages"]["compute"] == pytest.approx(onnx["megapixels_per_second"] / onnx["engine_share"])
    assert (eager["stages"], eager["bound_by"]) == ({}, None)
    assert report["auto"] == {str(tiny_profile.path): UNKNOWN}
    (refused,) = report["refused"]
    assert (refused["engine"], refused["precision"]) == ("onnx", "bf16")
    assert "--engine openvino" in refused["reason"]


def test_people_get_a_table_that_fits(real_nsp: Nsp, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    path = tiny_profile.path
    monkeypatch.chdir(path.parent)
    ended = real_nsp("bench", "--profile", path.name, *QUICK, "--precision", "fp32", "--no-against-eager")

    assert ended.code == 0, ended.err
    assert any(line.split()[:3] == [path.name, "onnx", "fp32"] for line in ended.out.splitlines())
    assert "computed by onnx: CPUExecutionProvider" in ended.out
    lines = ended.out.splitlines()
    titles = next(place for place, line in enumerate(lines) if "bound by" in line)
    assert lines[titles].split() == [
        "profile",
        "engine",
        "decode",
        "noise",
        "compute",
        "blend",
        "encode",
        "bound",
        "by",
    ]
    *shown, slowest = lines[titles + 1].split()
    assert shown[:3] == [path.name, "onnx", "fp32"]
    rates = dict(zip(lines[titles].split()[2:-2], map(float, shown[3:]), strict=True))
    assert rates[slowest] == min(rates.values())
    assert "matrix rate: cpu fp32 " in ended.out


def test_where_nothing_runs_it_ends_in_3_with_the_reason(real_nsp: Nsp, tiny_profile: Profile) -> None:
    ended = real_nsp("bench", "--profile", tiny_profile.path, *QUICK, "--precision", "bf16", "--no-against-eager")
    assert ended.code == 3
    assert "bf16 wants --engine openvino" in ended.out
    assert "nsp doctor" in ended.err


def test_what_ran_instead_of_what_was_asked_for_is_said(
    real_nsp: Nsp, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Configuration("tiny", "openvino", "bf16")
    row = Timed(
        asked, "onnx", "CPUExecutionProvider", "fp32", "its colours are off", False,
        (2.0,), (2.0,), 0.1, 1 << 20, None, 0.5, 48.0, None, 0.75, 0.1, {}, None, None,
    )  # fmt: skip
    monkeypatch.setattr(bench, "run_bench", lambda plan, on_step: Bench([row], [], {}, {}))
    monkeypatch.setenv("COLUMNS", "120")

    ended = real_nsp("bench", "--profile", tiny_profile.path)

    assert ended.code == 0, ended.err
    assert "openvino → onnx" in ended.out
    assert "bf16 → fp32" in ended.out
    assert "tiny, openvino, bf16: its colours are off" in ended.out
    assert "tiny, onnx fp32: 75% of the time in the engine; of 24 MP, tiles compute 10% twice" in ended.out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--profile", "nothere"), "there is no profile 'nothere'"),
        (("--size", "24MP"), "write height and width like 1024x768"),
        (("--size", "8x8"), "64 to 32768 pixels"),
        (("--engine", "abacus"), "abacus"),
        (("--repeats", "0"), "--repeats"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_measured(
    real_nsp: Nsp, wrong: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    ended = real_nsp("bench", *wrong)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ([], (1024, 1536)),
        (["--device", "cpu"], (1024, 1536)),
        (["--device", "cuda:1"], (4000, 6000)),
        (["--device", "cuda", "--size", "512x640"], (512, 640)),
    ],
)
def test_a_gpu_is_measured_on_a_photo_of_many_tiles(
    options: list[str], size: tuple[int, int], tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def measured(plan: Plan, on_progress: object) -> Bench:
        plans.append(plan)
        raise MissingCapabilityError("not measured in this test")

    monkeypatch.setattr(bench, "run_bench", measured)
    CliRunner().invoke(bench.command, ["--profile", str(tiny_profile.path), *options])
    assert [(plan.height, plan.width) for plan in plans] == [size]
