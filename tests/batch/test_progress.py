import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from nsp_pipeline.batch.listeners.terminal import Bar, Lines, Pace, PatientConsole, terminal_reporter
from nsp_pipeline.batch.listeners.words import duration, summary_lines
from nsp_pipeline.batch.outcome import Ended, Outcome, Result, Summary
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.engines.engine import EngineInfo

INFO = EngineInfo("onnx", "CPUExecutionProvider", "fp32", "denoise", 1, 2, 58, "builtin", "0" * 64)
MADE = Provenance("onnx", "CPU", "fp32", None, 18.2, 21.0, 0.71, 6.1, 1.2)
DONE = Result("canon/x.jpg", Outcome.DONE, None, "out/x.jpg", "builtin", "", MADE)
FAILED = Result("canon/[red]y.jpg", Outcome.FAILED, "the file is empty (0 bytes)")
SKIPPED = Result("z.jpg", Outcome.SKIPPED, "already done")


def printed(terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    with terminal_reporter(console) as reporter:
        reporter.begin(3)
        reporter.using(INFO, "built-in, as no profile was made for it")
        reporter.working("canon/x.jpg", 0.5)
        for number, result in enumerate((DONE, FAILED, SKIPPED), 1):
            reporter.finished(result, number)
    return stream.getvalue()


def test_a_log_gets_one_line_for_each_photo() -> None:
    assert printed(terminal=False).splitlines() == [
        "profile builtin (built-in, as no profile was made for it) on onnx, CPUExecutionProvider, fp32",
        "[1/3] canon/x.jpg 21.0 MP 18.2 s strength 0.71 noise 6.1 -> 1.2",
        "[2/3] canon/[red]y.jpg failed: the file is empty (0 bytes)",
    ]


def test_a_terminal_gets_a_bar_and_the_failures() -> None:
    text = printed(terminal=True)
    assert "\x1b[" in text
    assert "canon/[red]y.jpg failed: the file is empty (0 bytes)" in text
    assert "canon/x.jpg 21.0 MP" not in text


def test_the_pace_counts_only_what_was_made() -> None:
    now = 100.0
    pace = Pace(clock=lambda: now)
    pace.begin(10)
    assert pace.text() == ""
    now = 130.0
    for result in (SKIPPED, SKIPPED, DONE, DONE):
        pace.count(result)
    assert pace.text() == "4.0 photos/min  1.40 MP/s  1 min 30 s left"


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


def test_the_summary_names_every_failure() -> None:
    summary = Summary(Path("out"), (DONE, FAILED, SKIPPED), 4, 75.0, Ended.INTERRUPTED)
    assert summary_lines(summary) == [
        "1 done, 1 skipped (already done), 1 failed, 4 left in 1 min 15 s, 0.28 MP/s; output in out",
        "  failed: canon/[red]y.jpg: the file is empty (0 bytes)",
        "interrupted; run the same command again to continue",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.24, "0.2 s"), (59.4, "59 s"), (60, "1 min 0 s"), (185, "3 min 5 s"), (7625, "2 h 7 min")]
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
    assert re.fullmatch(r"[\d.]+ \w+( \d+ \w+)?", words)
