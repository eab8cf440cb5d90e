"""What tests of a night's calibrations have in common."""

from collections.abc import Callable

import pytest

from nsp_pipeline.cli.night import stage
from nsp_pipeline.cli.night.apart import Interrupts
from nsp_pipeline.cli.night.one_group import calibrate_group
from nsp_pipeline.cli.night.task import GroupEnd, GroupTask, Train


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrate in the process of the test, and not in one of its own."""

    def here(task: GroupTask, train: Train, interrupts: Interrupts, on_tick: Callable[[], None]) -> GroupEnd:
        return calibrate_group(task, train)

    monkeypatch.setattr(stage, "calibrate_apart", here)
