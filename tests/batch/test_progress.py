import io
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.listeners.closing import closing_table, next_lines
from nsp_pipeline.batch.listeners.fitted import fitted
from nsp_pipeline.batch.listeners.pace import Pace
from nsp_pipeline.batch.listeners.terminal import (
    Bar,
    Lines,
    PatientConsole,
    photo_line,
    run_line,
    terminal_reporter,
)
from nsp_pipeline.batch.listeners.words import duration, summary_lines
from nsp_pipeline.batch.outcome import Ended, Outcome, Result, Summary
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.engines.engine import EngineInfo

INFO = EngineInfo("onnx", "CPUExecutionProvider", "fp32", "denoise", 1, 2, 58, "builtin", "0" * 64)
MADE = Provenance("onnx", "CPU", "fp32", None, 18.2, 21.0, 0.71, 6.1, 1.2)
DONE = Result("canon/x.jpg", Outcome.DONE, None, "out/x.jpg", "builtin", "made for it", MADE)
FAILED = Result("canon/[red]y.jpg", Outcome.FAILED, "the file is empty (0 bytes)")
SKIPPED = Result("z.jpg", Outcome.SKIPPED, "already done")


class Sizes:
    """A workload whose photos are as large as is said."""

    def __init__(self, megapixels: dict[str, float]) -> None:
        self.names = tuple(megapixels)
        self._megapixels = megapixels

    def megapixels(self, name: str) -> float:
        return self._megapixels.get(name, 0.0)

    def learn(self, name: str, megapixels: float) -> None:
        self._megapixels[name] = megapixels

    def facts(self, name: str) -> None:
        return None


def work(**megapixels: float) -> Workload:
    return cast(Workload, Sizes(megapixels))


def printed(*, terminal: bool, width: int = 100, **how: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None)
    with terminal_reporter(console, **how) as reporter:
        reporter.begin(3)
        reporter.using(INFO, "for any camera")
        reporter.working("canon/x.jpg", 0.5)
        for number, result in enumerate((DONE, FAILED, SKIPPED), 1):
            reporter.finished(result, number)
    return stream.getvalue()


PHOTO = "canon/x.jpg: 21.0 MP, 18.2 s, noise 6.1 -> 1.2 of 255, strength 71 %, profile builtin (made for it)"


def test_a_log_gets_failures_at_once_and_with_v_every_photo_and_why() -> None:
    first = "profile builtin (for any camera) on CPU, ONNX Runtime fp32"
    failed = "[2/3] canon/[red]y.jpg failed: the file is empty (0 bytes)"
    assert printed(terminal=False).splitlines() == [first, failed]
    assert printed(terminal=False, verbose=True).splitlines() == [first, f"[1/3] {PHOTO}", failed]


def test_with_q_only_failures_are_said() -> None:
    for terminal in (False, True):
        assert printed(terminal=terminal, quiet=True).splitlines() == [
            "canon/[red]y.jpg failed: the file is empty (0 bytes)"
        ]


def test_a_terminal_gets_two_lines_and_the_failures_and_with_v_every_photo() -> None:
    text = printed(terminal=True)
    assert "\x1b[" in text
    assert "canon/[red]y.jpg failed: the file is empty (0 bytes)" in text
    assert PHOTO not in text
    assert PHOTO in printed(terminal=True, verbose=True, width=200)


def test_a_log_hears_of_the_run_at_sane_intervals() -> None:
    now = 0.0
    stream = io.StringIO()
    lines = Lines(Console(file=stream, width=200), clock=lambda: now)
    lines.begin(400, work(**{f"{number}": 10.0 for number in range(400)}))
    for number in range(100):
        now += 2.0
        lines.finished(Result(f"{number}", Outcome.DONE, made=Provenance(megapixels=10.0)), number + 1)

    told = stream.getvalue().splitlines()

    assert len(told) == 6
    assert told[-1] == "22 %, 10 min 20 s left, 90 of 400 photos, 900 of 4000 MP, 5.00 MP/s"


@pytest.mark.parametrize("order", ["small first", "large first", "mixed"])
def test_the_time_left_goes_by_megapixels_and_is_true_after_a_tenth(order: str) -> None:
    rng = np.random.default_rng(0)
    sizes = {f"{number}": 8.0 if number < 150 else 45.0 for number in range(300)}
    names = list(sizes) if order == "small first" else list(sizes)[::-1]
    if order == "mixed":
        names = [f"{number}" for number in rng.permutation(300)]
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.begin(300, work(**sizes))
    ends = 0.6 * sum(sizes.values())

    while pace.share < 0.1:
        name = names.pop(0)
        now += 0.6 * sizes[name] * float(rng.uniform(0.8, 1.2))
        pace.count(Result(name, Outcome.DONE, made=Provenance(megapixels=sizes[name])))

    assert pace.seconds_left == pytest.approx(ends - now, rel=0.2)


def test_the_time_left_moves_within_a_photo_and_skipped_photos_cost_none() -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.begin(4, work(**{"a": 100.0, "b": 100.0, "z.jpg": 100.0}))
    assert pace.seconds_left is None
    pace.count(SKIPPED)
    now = 10.0
    pace.working("a", 0.5)
    assert pace.seconds_left == pytest.approx(30.0)
    now = 15.0
    pace.working("a", 0.75)
    assert pace.seconds_left == pytest.approx(25.0)
    assert pace.share == pytest.approx(0.375)


def test_a_photo_that_is_computed_and_not_written_yet_counts_all_the_same() -> None:
    now = 10.0
    pace = Pace(clock=lambda: now)
    pace.begin(3, work(a=10.0, b=10.0, c=20.0))
    pace.working("a", 1.0)
    now = 20.0
    pace.working("b", 0.0)
    assert pace.share == pytest.approx(0.25)
    assert pace.seconds_left == pytest.approx(30.0)
    pace.count(Result("a", Outcome.DONE, made=Provenance(megapixels=10.0)))
    assert pace.share == pytest.approx(0.25)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_lines_fit_and_say_the_time_left_whatever_the_width(width: int) -> None:
    now = 0.0
    pace = Pace(clock=lambda: now)
    pace.begin(12345, work(**{f"{number}": 24.0 for number in range(1000)}))
    now = 5000.0
    for number in range(100):
        pace.count(Result(f"{number}", Outcome.DONE, made=Provenance(megapixels=24.0)))

    line = run_line(pace, width).plain
    photo = photo_line("archive/2024/01/a very long name of a photo.NEF", 0.42, 45.0, width).plain

    assert len(line) < width
    assert len(photo) < width
    assert re.match(r"━{8,}  10 %  12 h 30 min left", line)
    assert photo.endswith("a photo.NEF  45 MP  42 %")
    assert ("of 12345 photos" in line) == (width >= 60)
    assert ("MP/s" in line) == (width >= 100)


def test_the_table_at_the_end_sums_up_by_camera_and_profile() -> None:
    more = replace(DONE, name="b.jpg", made=replace(MADE, noise_before=8.1, noise_after=1.4, megapixels=24.0))
    other = replace(DONE, name="c.jpg", profile="mine")
    stream = io.StringIO()

    table = closing_table([DONE, more, other, FAILED, SKIPPED], lambda name: "Canon EOS 5D Mark II, ISO 3200")
    assert table is not None
    Console(file=stream, width=80).print(table)

    assert [re.split(r" {2,}", line.strip()) for line in stream.getvalue().splitlines()] == [
        ["camera", "profile", "photos", "MP", "noise (of 255)", "time"],
        ["Canon EOS 5D Mark II, ISO 3200", "builtin", "2", "45", "7.1 -> 1.3", "36 s"],
        ["Canon EOS 5D Mark II, ISO 3200", "mine", "1", "21", "6.1 -> 1.2", "18 s"],
    ]
    assert closing_table([FAILED, SKIPPED], lambda name: "") is None


def test_the_table_goes_by_the_numbers_of_iso_and_shows_the_camera_beside_a_long_profile() -> None:
    shots = {name: f"Canon EOS 80D, ISO {iso}" for name, iso in (("a", 12800), ("b", 800), ("c", 3200))}
    results = [replace(DONE, name=name, profile="a-very-long-name-of-a-profile-of-my-camera") for name in shots]
    stream = io.StringIO()
    table = closing_table(results, shots.__getitem__)
    assert table is not None
    Console(file=stream, width=80).print(table)
    shown = stream.getvalue()
    assert "Canon" in shown
    assert shown.index("800") < shown.index("3200") < shown.index("12800")


def test_a_single_photo_that_failed_is_asked_for_in_the_record_of_its_folder() -> None:
    summary = Summary(Path("clean"), (FAILED,), 0, 1.0, Ended.COMPLETE, file=Path("clean/y.jpg"))
    assert next_lines(summary, reported=False) == ["what failed, and why: nsp status clean --failed"]


def test_the_end_says_what_to_type_next() -> None:
    summary = Summary(Path("my out"), (DONE, FAILED), 0, 75.0, Ended.COMPLETE)
    assert next_lines(summary, reported=False) == [
        "before and after: nsp report 'my out'",
        "what failed, and why: nsp status 'my out' --failed",
    ]
    assert next_lines(Summary(Path("o"), (DONE,), 0, 1.0, Ended.COMPLETE), reported=True) == []


def test_the_end_counts_failures_by_reason_and_names_none_again() -> None:
    many = tuple(Result(f"{number}.heic", Outcome.FAILED, "format not supported (.heic)") for number in range(7))
    lines = summary_lines(Summary(Path("out"), (*many, FAILED), 0, 75.0, Ended.COMPLETE))
    assert lines[0].startswith("0 done, 8 failed in ")
    assert lines[1:] == ["  7 failed: format not supported (.heic)", "  1 for other reasons"]


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", [Lines, Bar])
def test_a_terminal_that_went_away_does_not_end_the_work(kind: type[Lines] | type[Bar]) -> None:
    with kind(PatientConsole(file=Gone(), force_terminal=kind is Bar)) as reporter:
        reporter.begin(1)
        reporter.using(INFO, "why")
        reporter.working("x", 0.1)
        reporter.finished(FAILED, 1)
        reporter.say("anything")


def test_the_summary_says_how_a_run_ended() -> None:
    summary = Summary(Path("out"), (DONE, FAILED, SKIPPED), 4, 75.0, Ended.INTERRUPTED)
    assert summary_lines(summary) == [
        "1 done, 1 skipped (already done), 1 failed, 4 left in 1 min 15 s, 0.28 MP/s; output in out",
        "interrupted; run the same command again to continue",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.24, "0.2 s"), (59.4, "59 s"), (60, "1 min 0 s"), (185, "3 min 5 s"), (7625, "2 h 7 min")]
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
    assert re.fullmatch(r"[\d.]+ \w+( \d+ \w+)?", words)


def test_lines_for_a_terminal_are_parted_between_words_but_for_commands_to_copy() -> None:
    assert fitted("  failed: in/a photo.jpg: this is a text, not a photo that nsp reads", 30) == (
        "  failed: in/a photo.jpg: this\n  is a text, not a photo that\n  nsp reads"
    )
    for line in ("short", "use it: nsp denoise PHOTOS CLEAN --profile standard", "a" * 50):
        assert fitted(line, 30) == line
