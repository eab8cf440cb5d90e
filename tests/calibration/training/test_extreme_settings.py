"""Whatever settings validation accepts, a training with them does not break down in the middle."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from noisy_photos import clean_scene, noisy_scene
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.student.objective import Material, StudentObjective, shrunk_to_sharp
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.loop import train

MANY = 1_000_000
"""For fields without an upper end."""


def ends(field: FieldInfo) -> list[Any]:
    """The least and the most that a field takes by itself, and its default."""
    found = [] if field.is_required() else [field.default]
    for part in field.metadata:
        for name in ("ge", "le"):
            if (end := getattr(part, name, None)) is not None:
                found.append(end)
        if (end := getattr(part, "gt", None)) is not None:
            found.append(end + 1e-3)
        if (end := getattr(part, "lt", None)) is not None:
            found.append(end - 1 if isinstance(end, int) and end > 1 else end - 1e-3)
    return found


def drawn(
    kind: type[NextScaleSettings | StudentSettings], fixed: Mapping[str, list[Any]], wanted: int
) -> Iterator[Any]:
    """Settings whose fields stand at their ends, drawn at random; those that validation refuses are left out."""
    refused = 0
    for seed in range(20 * wanted):
        rng = np.random.default_rng(seed)
        fields = {}
        for name, field in kind.model_fields.items():
            values = fixed.get(name, ends(field))
            # One in three stands where it is by default, so that not all are refused.
            if values and rng.random() < (1 if name in fixed else 0.66):
                fields[name] = values[rng.integers(len(values))]
        try:
            settings = kind.model_validate(fields)
        except ValidationError:
            refused += 1
            continue
        yield settings
        if seed - refused + 1 >= wanted:
            return


SMALL: dict[str, list[Any]] = {
    "steps": [2],
    "batch": [1, 2],
    "judge_every": [1, 2],
    "memory": [1 << 20],
    "cache": [0],
    "bf16": [False],
}
NEXT_SCALE: dict[str, list[Any]] = {
    **SMALL,
    "backbone": ["dbsn"],
    "base_channels": [4],
    "modules": [1, 2],
    "local_mean_skip": [True, False],
    "s": [2, 3, 4, 5, 7, 12],
    "n": [1, 2, 4],
    "strategy": ["consecutive", "random"],
    "inputs_per_step": [None, 1, MANY],
    "pd_factor": [None, 1, 2, 3, 4],
    "crop": [8, 9, 12, 13, 20, 40, 64],
    "channels": [], "blocks": [], "refinement_blocks": [], "channel_heads": [], "spatial_heads": [],
    "head_dim": [], "tile": [],
}  # fmt: skip
STUDENT: dict[str, list[Any]] = {
    **SMALL,
    "channels": [(4,), (4, 4), (4, 5, 6), (4, 4, 4, 4, 4)],
    "pairs": [(1,), (1, 2), (1, 1, 1), (1, 1, 1, 1, 1)],
    "crop": [32, 40, 48, 64, 96],
    "painted": [0, 1],
    "teacher_crops": [1, 3],
    "clip": [None, 1e-3],
}


slow = pytest.mark.skipif(not os.environ.get("NSP_SLOW"), reason="takes minutes; NSP_SLOW=1 runs it")


def unlike(values: list[Any]) -> int:
    return len({str(value) for value in values})


@slow
def test_next_scale_prediction_trains_with_all_ends_of_its_settings() -> None:
    photos = [noisy_scene(seed, 80, 70) for seed in range(3)]
    tried = []
    for settings in drawn(NextScaleSettings, NEXT_SCALE, 14):
        objective = NextScaleObjective(photos[:2], photos[2:], settings)
        trained = train(objective, settings)
        objective.previews(trained.network)
        assert trained.judgement is not None, settings
        tried.append(settings)
    assert len(tried) == 14
    assert unlike([settings.crop for settings in tried]) >= 4
    assert unlike([settings.s for settings in tried]) >= 4


@slow
def test_students_train_with_all_ends_of_their_settings() -> None:
    clean = [clean_scene(240, 230).astype(np.uint8)]
    tried = []
    for settings in drawn(StudentSettings, STUDENT, 8):
        material = Material(
            shrunk_to_sharp(clean, settings.shrink, 2 * settings.crop), clean, [noisy_scene(1, 120, 120)]
        )
        objective = StudentObjective(material, settings, teacher=lambda image: image)
        trained = train(objective, settings)
        objective.previews(trained.network)
        tried.append(settings)
    assert len(tried) == 8
    assert unlike([settings.crop for settings in tried]) >= 2
    assert 0.0 in {settings.longest_blur for settings in tried}


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (StudentSettings, {"longest_blur": 8, "crop": 128}, "longest_blur"),
        (StudentSettings, {"crop": 40}, "multiple of 16"),
        (StudentSettings, {"channels": (), "pairs": ()}, "at least 1 item"),
        (StudentSettings, {"channels": (4,) * 7, "pairs": (1,) * 7, "crop": 96}, "crop"),
        (StudentSettings, {"seed": -1}, "greater than or equal to 0"),
        (NextScaleSettings, {"seed": 1 << 70}, "less than"),
        (NextScaleSettings, {"cache": 32}, "32 bytes hold no photo"),
        (NextScaleSettings, {"learning_rate": float("nan")}, "finite|greater|less"),
        (NextScaleSettings, {"clip": float("inf")}, "finite"),
        (StudentSettings, {"softest": float("nan")}, "finite"),
        (StudentSettings, {"shrink": float("nan")}, "finite"),
        (NextScaleSettings, {"pd_factor": 3}, "pd_factor must be 1 or t = 2"),
        (NextScaleSettings, {"s": 3, "t": 3}, "pair construction needs 1 < t < s"),
        (NextScaleSettings, {"n": 5}, "n must be 1 to 4"),
    ],
)
def test_settings_that_cannot_go_together_are_refused(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind.model_validate(fields)
