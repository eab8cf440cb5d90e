"""Trainings that take a moment, in the place of those of a night."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from small_training import small_settings
from tiny import tiny_profile_files

from nsp_pipeline.cli.calibrate import one
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night import before, stage
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.profiles.bundle import write_profile

STEPS = "NSP_TEST_STEPS"


def train_a_tiny_network(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Train for as many steps as the environment says, for real, and accept what comes out of it."""
    one.make_onnx = lambda network, mode, *_: mode.encode()
    settings = small_settings(steps=int(os.environ[STEPS]), judge_every=20, crop=20)
    made = one.calibrate_one(replace(plan, settings=settings, measured=frozenset(), start=None), files, out)
    assert made.profile is not None
    scores = made.profile.spec.scores.model_copy(update={"accepted": True, "verdict": "better by a hair"})
    return replace(made, profile=replace(made.profile, spec=made.profile.spec.model_copy(update={"scores": scores})))


def write_at_once(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Write a profile without any training.

    A camera called Black has photos that cannot serve, and what is made of one called Dull gains nothing.
    """
    shots = [read_facts(path).camera for path in files]
    if "Black" in str(shots[0].model):
        raise UsageError(f"no photo to calibrate on:\n  {files[0]}: it is black or white nearly all over")
    isos = [shot.iso for shot in shots if shot.iso]
    accepted = "Dull" not in str(shots[0].model)
    fields, content = tiny_profile_files(
        name=out.stem,
        camera_make=shots[0].make,
        camera_model=shots[0].model,
        iso_min=min(isos),
        iso_max=max(isos),
        scores={"held_out_photos": 1, "base": "standard", "accepted": accepted, "verdict": "as the test has it"},
    )
    return Made(write_profile(out, fields, content), out.parent, stopped=False)


def take_the_place_of_training() -> None:
    """Let `nsp denoise --calibrate` of this process train tiny networks."""
    before.Night = partial(stage.Night, train=train_a_tiny_network)  # type: ignore[misc,assignment]
