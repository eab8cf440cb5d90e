"""Rounds, medians and ratios, with answers that are known beforehand."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsp_pipeline.machine.apart import RefusedTrialError
from nsp_pipeline.speed import bench
from nsp_pipeline.speed.bench import AUTHORS, Configuration, Plan, run_bench

EAGER = Configuration("p", AUTHORS, "fp32")
ONNX = Configuration("p", "onnx", "fp32")
BF16 = Configuration("p", "openvino", "bf16")
FP16 = Configuration("p", "onnx", "fp16")

Ask = Callable[..., dict[str, Any]]


def answering(seconds: dict[str, Iterator[float]], asked: list[str]) -> Ask:
    """Processes that take the seconds listed, one entry a round; what is not listed refuses."""

    def ask(task: str, **fields: Any) -> dict[str, Any]:
        what = f"{fields['engine']} {fields['precision']}" if task == "engine" else task
        asked.append(what)
        if task == "work":
            return {"macs_per_pixel": 1e6}
        if task == "rate":
            return {"flops": {"fp32": 4e12, "bf16": 16e12}[fields["precision"]]}
        if what not in seconds:
            raise RefusedTrialError(f"no {what}")
        precision = fields.get("precision", "fp32")
        facts = {
            "start_seconds": 0.5,
            "cpu_seconds": 1.0,
            "peak_bytes": 1000 + len(asked),
            "gpu_bytes": None,
            "passes": 1,
            "gpu": False,
        }
        engine = fields.get("engine", "eager")
        ran = {"engine": engine, "provider": "CPU", "precision": precision, "note": ""}
        taken = next(seconds[what])
        stages: dict[str, Any] = {}
        if task == "engine":
            apart = {"compute": taken / 4, "copy in": taken / 20, "decode": taken / 2, "encode": 0.0}
            stages = {"engine_seconds": taken / 4, "seen_twice": 0.1, "stages": apart}
        return {**facts, **ran, **stages, "seconds": taken}

    return ask


def test_ratios_and_shares_are_formed_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the second round the machine is three times as slow; the ratios do not notice.
    seconds = {
        "authors": iter([8.0, 24.0, 8.0]),
        "onnx fp32": iter([2.0, 6.0, 2.0]),
        "openvino bf16": iter([1.0, 3.0, 1.0]),
    }
    asked: list[str] = []
    monkeypatch.setattr(bench, "ask", answering(seconds, asked))
    steps: list[tuple[int, int]] = []

    found = run_bench(
        Plan([EAGER, ONNX, FP16, BF16], 1000, 1000), lambda what, done, total: steps.append((done, total))
    )

    eager, onnx, bf16 = found.timed
    assert (eager.times_authors, onnx.times_authors, bf16.times_authors) == (1.0, 4.0, 8.0)
    assert onnx.seconds == (2.0, 6.0, 2.0)
    assert (onnx.engine_share, onnx.seen_twice, eager.engine_share) == (0.25, 0.1, None)
    assert onnx.megapixels_per_second == 0.5
    assert onnx.stages == {"decode": 1.0, "copy in": 10.0, "compute": 2.0, "encode": 1e6}
    assert (onnx.bound_by, eager.stages, eager.bound_by) == ("decode", {}, None)
    assert onnx.real_photo_seconds == 48
    # 1e6 pixels of 1e6 multiply-adds, two operations each, in 2 s, where 4e12 a second are possible.
    assert onnx.share_of_peak == pytest.approx(0.25)
    assert bf16.share_of_peak == pytest.approx(0.125)
    assert found.rates == {"cpu bf16": 16e12, "cpu fp32": 4e12}
    assert onnx.peak_bytes == 1000 + max(place for place, what in enumerate(asked, 1) if what == "onnx fp32")
    assert steps[-1] == (12, 12)


def test_what_refuses_is_asked_once_and_its_reason_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(bench, "ask", answering({"onnx fp32": iter([1.0, 1.0])}, asked))

    found = run_bench(Plan([EAGER, ONNX, FP16], 64, 64, rounds=2))

    assert [(row.configuration, row.reason) for row in found.refused] == [(EAGER, "no authors"), (FP16, "no onnx fp16")]
    assert asked.count("onnx fp16") == asked.count("authors") == 1
    (onnx,) = found.timed
    assert onnx.times_authors is None


def test_without_a_rate_the_speed_still_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    known = answering({"onnx fp32": iter([1.0])}, [])

    def ask(task: str, **fields: Any) -> dict[str, Any]:
        if task in ("rate", "work"):
            raise RefusedTrialError("not here")
        return known(task, **fields)

    monkeypatch.setattr(bench, "ask", ask)
    (onnx,) = run_bench(Plan([ONNX], 64, 64, rounds=1)).timed
    assert onnx.share_of_peak is None
    assert onnx.seconds == (1.0,)
