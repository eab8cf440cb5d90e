"""Trainings that take a moment, in the place of those of a night; processes of their own know them by their names."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

from run_nsp import WITHOUT_EXPORT
from small_training import JUDGED, small_settings

from nsp_pipeline.calibration.next_scale import held_out
from nsp_pipeline.cli.calibrate.one import Made, calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, write_profile

STEPS, GATE = "NSP_TEST_STEPS", "NSP_TEST_GATE"
PLAN = Plan("camera", None, frozenset(), None, None, "cpu", False, None, "tests", "any")  # type: ignore[arg-type]
"""What trainings that train nothing are told."""


def train_a_tiny_network(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Train for as many steps as the environment says, for real, and accept what comes out of it."""
    sys.modules.setdefault("tensorboard", None)  # type: ignore[arg-type]  # takes seconds to import
    exec(WITHOUT_EXPORT)
    settings = small_settings(steps=int(os.environ[STEPS]), judge_every=10, crop=20)
    tiny = replace(PLAN, settings=settings, device=plan.device, resume=plan.resume, max_time=plan.max_time)
    with mock.patch.object(held_out, "CROPS", JUDGED):
        made = calibrate_one(tiny, files, out)
    assert made.profile is not None
    scores = made.profile.spec.scores.model_copy(
        update={"accepted": True, "base": "standard", "verdict": "better by a hair"}
    )
    return replace(made, profile=replace(made.profile, spec=made.profile.spec.model_copy(update={"scores": scores})))


def train_when_told(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Train the tiny network as soon as the file is there that the environment names; one beside it says who waits."""
    Path(os.environ[GATE]).with_suffix(".waits").touch()
    while not Path(os.environ[GATE]).exists():
        time.sleep(0.05)
    return train_a_tiny_network(plan, files, out)


def write_at_once(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Write a profile without any training.

    A camera called Black has photos that cannot serve, and what is made of one called Dull gains nothing.
    """
    from tiny import tiny_fields, tiny_weights  # takes a second

    shots = [read_facts(path).camera for path in files]
    if "Black" in str(shots[0].model):
        raise UsageError(f"no photo to calibrate on:\n  {files[0]}: it is black or white nearly all over")
    isos = [shot.iso for shot in shots if shot.iso]
    accepted = "Dull" not in str(shots[0].model)
    gained = {"gain": 0.12, "gain_error": 0.1, "measures": {"dB": (0.4, 0.1)}} if accepted else {}
    fields = {
        **tiny_fields(),
        "name": out.stem,
        "camera_make": shots[0].make,
        "camera_model": shots[0].model,
        "iso_min": min(isos),
        "iso_max": max(isos),
        "scores": {
            "held_out_photos": 1,
            "base": "standard",
            "accepted": accepted,
            "verdict": "as the test has it",
            **gained,
        },
    }
    content = {file: file.encode() for file in MODEL_FILES.values()}
    content |= {WEIGHTS_FILE: tiny_weights(), CARD_FILE: b"# tiny"}
    return Made(write_profile(out, fields, content), out.parent, stopped=False)
