"""Which engine "auto" takes on a CPU: the fastest by measurement. Nothing that goes wrong in measuring does harm."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsp_pipeline.engines import choose
from nsp_pipeline.engines.candidates import CANDIDATES, Candidate, EngineRequest
from nsp_pipeline.engines.choose import open_engine, open_reference
from nsp_pipeline.engines.measured import fastest, measure, speeds
from nsp_pipeline.engines.measured.fastest import SOONEST, UNKNOWN, in_order, what_is_known
from nsp_pipeline.engines.measured.speeds import Speed, SpeedKey, keep_speeds, known_speeds, speed_key
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.machine.apart import RefusedTrialError
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

ONNX, OPENVINO = CANDIDATES[-1], Candidate("openvino", "fp32", "cpu", asked_only=True, measured=True)
MUCH = 1e6
Answers = dict[str, dict[str, Any] | Exception]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, the real order by measurement, and OpenVINO installed, whether or not it is."""
    monkeypatch.setenv("NSP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "in_order", in_order)
    monkeypatch.setattr(fastest, "find_spec", lambda name: name)
    return tmp_path / "cache"


def answering(monkeypatch: pytest.MonkeyPatch, **answers: dict[str, Any] | Exception) -> list[str]:
    """Let processes that measure answer so, by engine, or come to that end; returns what they are asked for."""
    asked: list[str] = []

    def ask(module: str, question: dict[str, Any], *, threads: int, longest: float) -> dict[str, Any]:
        names = [name for name, _ in question["engines"]]
        asked.append("+".join(names))
        given = [answers[name] for name in names]
        for answer in given:
            if isinstance(answer, Exception):
                raise answer
        return {"speeds": given}

    monkeypatch.setattr(measure, "ask_module", ask)
    return asked


def order(profile: Profile, megapixels: float | None, say: Callable[[str], None] = lambda line: None) -> Any:
    request = EngineRequest(threads=1, on_build=say, megapixels=megapixels)
    reference = OnnxRuntimeEngine(profile, mode="denoise", threads=1)
    return in_order(profile, request, reference, [ONNX])


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network would need a mountain of photos for it."""
    monkeypatch.setattr(fastest, "WORTH", 0.0)


FAST, SLOW = {"start": 1.0, "per_megapixel": 0.2}, {"start": 0.1, "per_megapixel": 0.4}


@pytest.mark.usefixtures("worth_it")
def test_the_fastest_by_measurement_is_the_first_and_it_is_measured_once(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = answering(monkeypatch, openvino=FAST, onnx=SLOW), list[str]()
    first = order(tiny_profile, MUCH, said.append)
    assert first == (
        [OPENVINO, ONNX],
        "measured on this machine: OpenVINO fp32 0.2 s a megapixel, ONNX Runtime fp32 0.4 s a megapixel",
    )
    assert said == ["measuring once which engine is the fastest here with tiny; it takes a few seconds"]
    assert order(tiny_profile, MUCH, said.append) == first
    assert first[1].endswith(what_is_known(tiny_profile, "denoise", 1))
    assert (asked, len(said)) == (["openvino+onnx"], 1)


@pytest.mark.usefixtures("worth_it")
def test_little_work_goes_to_what_starts_sooner(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, openvino=FAST, onnx=SLOW)
    order(tiny_profile, MUCH)
    candidates, why = order(tiny_profile, 4.0)
    assert candidates == [ONNX, OPENVINO]
    assert why.endswith("; what starts sooner is done sooner with so little work")
    assert order(tiny_profile, 5.0)[0] == [OPENVINO, ONNX]
    assert order(tiny_profile, None)[0] == [OPENVINO, ONNX]


@pytest.mark.parametrize("megapixels", [None, 0.3, 3.9, 5.0])
def test_what_does_not_pay_is_not_measured(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch, megapixels: float | None
) -> None:
    asked = answering(monkeypatch)
    candidates, why = order(tiny_profile, megapixels)
    assert (candidates, asked) == ([ONNX], [])
    assert why == what_is_known(tiny_profile, "denoise", 1) == UNKNOWN


@pytest.mark.parametrize(
    ("name", "megapixels", "first"),
    [
        ("fast", None, "openvino"),
        ("fast", 0.3, "openvino"),
        ("fast", 0.2, "onnx"),
        ("fast", 0.0, "onnx"),
        ("quality", 0.2, "openvino"),
        ("quality", 0.05, "onnx"),
        ("dbsn", 0.05, "openvino"),
    ],
)
def test_a_picture_of_a_moment_does_not_wait_for_another_engine_to_start(
    monkeypatch: pytest.MonkeyPatch, name: str, megapixels: float | None, first: str
) -> None:
    """Where the order of engines alone puts another one first, as on a CPU with bfloat16."""
    profile = find_profile(name)
    asked = answering(monkeypatch)
    monkeypatch.setattr("nsp_pipeline.engines.openvino.engine.computes_in_bf16", lambda: True)
    request = EngineRequest(threads=1, megapixels=megapixels)
    in_bf16 = Candidate("openvino", "bf16", "cpu", measured=True)
    reference = open_reference(profile, mode="denoise")
    candidates, why = in_order(profile, request, reference, [in_bf16, ONNX])
    assert candidates[0].engine == first
    assert len(candidates) == 2
    assert why == (SOONEST if first == "onnx" else UNKNOWN)
    assert not asked


@pytest.mark.usefixtures("worth_it")
def test_an_engine_that_crashes_in_the_measurement_takes_no_other_along_and_is_not_taken(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, openvino=RefusedTrialError("its process crashed (SIGILL)"), onnx=SLOW)
    candidates, why = order(tiny_profile, MUCH)
    assert candidates == [ONNX]
    assert "ONNX Runtime fp32 0.4 s a megapixel; OpenVINO fp32 is not taken: its process crashed (SIGILL)" in why
    assert order(tiny_profile, MUCH) == (candidates, why)
    assert asked == ["openvino+onnx", "openvino", "onnx"]


@pytest.mark.usefixtures("worth_it")
def test_an_engine_that_is_not_trusted_is_not_taken_however_fast(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, openvino={"trouble": "OpenVINO in fp32 is not trusted: it gives black"}, onnx=SLOW)
    candidates, why = order(tiny_profile, MUCH)
    assert candidates == [ONNX]
    assert why.endswith("OpenVINO fp32 is not taken: OpenVINO in fp32 is not trusted: it gives black")


@pytest.mark.usefixtures("worth_it")
def test_where_nothing_can_be_measured_the_usual_order_holds(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    trouble = RefusedTrialError("its process cannot be started: Resource temporarily unavailable")
    answering(monkeypatch, openvino=trouble, onnx=trouble)
    candidates, why = order(tiny_profile, MUCH)
    assert candidates == [ONNX]
    assert "no engine could be measured: " in why
    assert not list(cache.glob("speed/*.json")), "it says more of the moment than of the engines"


def key_of(profile: Profile) -> SpeedKey:
    return speed_key(profile, "denoise", 1)


def measured(**changes: Any) -> list[Speed]:
    return [replace(Speed("openvino", "fp32", 1.0, 0.2), **changes)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 40000,
        b'{"key": {}, "speeds": []}',
        b'{"key": null}',
    ],
)
def test_a_damaged_measurement_is_none(tiny_profile: Profile, content: bytes) -> None:
    key = key_of(tiny_profile)
    assert keep_speeds(key, measured()) == ""
    assert known_speeds(key) == measured()
    key.path.write_bytes(content)
    assert known_speeds(key) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("per_megapixel", "NaN"), ("per_megapixel", -1), ("start", "Infinity"), ("start", None), ("engine", ...)],
)
def test_a_measurement_of_numbers_that_are_none_is_none(tiny_profile: Profile, field: str, value: object) -> None:
    key = key_of(tiny_profile)
    keep_speeds(key, measured())
    document = json.loads(key.path.read_text())
    document["speeds"][0][field] = value
    if value is ...:
        del document["speeds"][0][field]
    key.path.write_text(json.dumps(document))
    assert known_speeds(key) is None


@pytest.mark.parametrize(
    "changes",
    [
        *({"nsp": "9"}, {"libraries": {"openvino": "1"}}, {"cpu": "Z80"}, {"features": ("amx_bf16",)}),
        *({"threads": 7}, {"mode": "sr"}, {"profile": "other"}, {"graph": "0"}),
    ],
)
def test_another_machine_version_network_or_number_of_threads_is_measured_anew(
    tiny_profile: Profile, changes: dict[str, Any]
) -> None:
    key = key_of(tiny_profile)
    keep_speeds(key, measured())
    other = replace(key, **changes)
    assert known_speeds(other) is None
    other.path.write_bytes(key.path.read_bytes())
    assert known_speeds(other) is None, "a file under another's name"


@pytest.mark.usefixtures("worth_it")
def test_a_cache_that_cannot_be_written_costs_a_line_and_no_run(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    cache.write_text("a file where the folder should be")
    answering(monkeypatch, openvino=FAST, onnx=SLOW)
    said: list[str] = []
    assert order(tiny_profile, MUCH, said.append)[0] == [OPENVINO, ONNX]
    assert said[1].startswith("the measurement cannot be kept, and the next run makes it again: ")
    assert str(cache) in said[1]


def hold(path: Path, taken: Any, seconds: float) -> None:
    from nsp_pipeline.file_lock import try_lock

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert try_lock(descriptor, 0, 1)
    taken.set()
    time.sleep(seconds)


@pytest.mark.usefixtures("worth_it")
def test_of_two_processes_one_measures_and_the_other_takes_its_word(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, openvino=SLOW, onnx=FAST)
    key = key_of(tiny_profile)
    key.path.parent.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    other = context.Process(target=hold, args=(key.path.with_suffix(".lock"), taken, 3600.0), daemon=True)
    other.start()
    assert taken.wait(60)
    monkeypatch.setattr(measure, "LONGEST_WAIT", 0.3)
    assert order(tiny_profile, MUCH)[1].startswith("not measured"), "it takes too long, and nobody waits for ever"
    keep_speeds(key, measured())
    assert order(tiny_profile, MUCH)[0][0] == OPENVINO
    key.path.unlink()
    other.kill()
    other.join()
    assert order(tiny_profile, MUCH)[0] == [ONNX, OPENVINO], "the lock of a dead process is free"
    assert asked == ["openvino+onnx"]


@pytest.mark.usefixtures("worth_it")
def test_parity_is_asked_for_whatever_was_measured(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, openvino=FAST, onnx=SLOW)
    monkeypatch.setattr(choose, "disagreement", lambda engine, reference: "its colours are off by 90.0 of 255")
    engine = open_engine(tiny_profile, mode="denoise", device="cpu", threads=1, megapixels=MUCH)
    assert engine.info.name == "onnx"
    assert "OpenVINO" in engine.info.fallback
    assert engine.info.chosen.startswith("measured on this machine: OpenVINO fp32 0.2 s a megapixel")


def test_an_engine_that_is_named_is_taken_unmeasured(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch)
    engine = open_engine(tiny_profile, mode="denoise", engine="onnx", device="cpu", megapixels=MUCH)
    assert (engine.info.name, engine.info.chosen, asked) == ("onnx", "", [])


def trial(profile: Profile, **changes: Any) -> dict[str, Any]:
    asked = {"profile": str(profile.path), "mode": "denoise", "threads": 1}
    command = [sys.executable, "-m", measure.TRIAL]
    ended = subprocess.run(command, input=json.dumps(asked | changes), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def test_the_process_that_measures_really_does(tiny_profile: Profile) -> None:
    speed, unknown = trial(tiny_profile, engines=[("onnx", "fp32"), ("abacus", "fp32")])["speeds"]
    assert set(speed) == {"start", "per_megapixel"}
    assert 0 < speed["start"] < 60
    assert 0 < speed["per_megapixel"] < 100
    assert "engine 'abacus' is not built in" in unknown["trouble"]


def test_the_versions_of_the_key_are_those_that_are_installed(tiny_profile: Profile) -> None:
    key = key_of(tiny_profile)
    assert "onnxruntime" in key.libraries
    assert set(key.libraries) <= set(speeds.LIBRARIES)
    assert key.threads == 1
