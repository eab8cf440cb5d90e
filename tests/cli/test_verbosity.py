"""`-v` and `-q` are there in every command, and do what they say."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest
from batch_runs import save_photo
from fake_engine import fake_sources

from nsp_pipeline.cli.main import COMMANDS, main, nsp

Nsp = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nsp:
    """Run a command with the fake engine on three photos, one of which is none; gives what it said to stderr."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        save_photo(tmp_path / "in" / f"{name}.png", model="D800")
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG")

    def run(*args: str) -> str:
        with suppress(SystemExit):
            main(args, given=fake_sources())
        return capsys.readouterr().err

    return run


def test_every_command_has_both() -> None:
    root = click.Context(nsp)
    for name in COMMANDS:
        command = nsp.get_command(root, name)
        for each in command.commands.values() if isinstance(command, click.Group) else [command]:
            assert each is not None
            options = [option for parameter in each.params for option in parameter.opts]
            assert [options.count(option) for option in ("-v", "--verbose", "-q", "--quiet")] == [1] * 4, each.name


def test_a_run_says_little_by_itself_more_with_v_and_only_what_failed_with_q(said: Nsp) -> None:
    quiet = said("denoise", "in", "quiet", "-q")
    assert len(quiet.splitlines()) == 1
    assert quiet.startswith("in/bad.png failed:")

    usual = said("denoise", "in", "usual")
    assert "in/a.png: " not in usual
    assert "D800" in usual  # the table
    assert "before and after: nsp report usual" in usual

    verbose = said("denoise", "in", "verbose", "-v")
    assert "in/a.png: 0.0 MP" in verbose
    assert "profile fake (the only one)" in verbose
    assert "nsp denoise took " in verbose


def test_both_at_once_are_refused(said: Nsp) -> None:
    assert "leave one of them out" in said("status", "out", "-q", "-v")


def test_quiet_commands_still_say_what_went_wrong(said: Nsp) -> None:
    assert "nsp has no record there" in said("report", "in", "-q")
    assert said("preview", "in/a.png", "-q", "--profile", "fast") == ""
    assert "left out: in/bad.png" in said("preview", "in/bad.png", "-q", "--profile", "fast")
