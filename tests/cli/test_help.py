"""Help that teaches: examples first, options in groups, and the right word where one is wrong or missing."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nsp_pipeline.cli.main import COMMANDS, main, nsp
from nsp_pipeline.cli.shared.helpful import HelpfulCommand


def every_command() -> Iterator[tuple[click.Command, click.Context]]:
    root = click.Context(nsp, info_name="nsp", terminal_width=80, max_content_width=80)
    yield nsp, root
    for name in COMMANDS:
        command = nsp.get_command(root, name)
        assert command
        context = click.Context(command, info_name=name, parent=root, terminal_width=80, max_content_width=80)
        yield command, context
        for child in command.commands.values() if isinstance(command, click.Group) else ():
            yield child, click.Context(child, info_name=child.name, parent=context, terminal_width=80)


def test_every_page_of_help_fits_80_columns() -> None:
    for command, context in every_command():
        too_long = [line for line in command.get_help(context).splitlines() if len(line) > 80]
        assert too_long == [], command.name


def test_examples_come_before_the_options_and_name_options_that_there_are() -> None:
    commands = [(command, context) for command, context in every_command() if isinstance(command, HelpfulCommand)]
    assert len(commands) == len(COMMANDS) - 1 + 7  # those of the group of profiles
    for command, context in commands:
        page = command.get_help(context)
        assert command.examples, command.name
        options = {option for parameter in command.params for option in parameter.opts}
        for example in command.examples:
            assert example.startswith(context.command_path)
            assert page.index(example) < page.index("--help")
            assert {word for word in example.split() if word.startswith("--")} <= options


def test_no_page_of_help_speaks_of_types_of_numbers_or_cuts_a_sentence_off() -> None:
    for command, context in every_command():
        lines = [line for line in command.get_help(context).splitlines() if not line.startswith("Usage")]
        odd = [word for word in ("RANGE", "INTEGER", "FLOAT", "<=x", "x>=") if word in "\n".join(lines)]
        assert odd + [line for line in lines if line.endswith("...")] == [], context.command_path


def test_options_of_denoise_stand_in_groups_each_once() -> None:
    command = nsp.get_command(click.Context(nsp), "denoise")
    assert command
    page = command.get_help(click.Context(command, info_name="denoise"))
    titles = [line[:-1] for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[:2] == ["Examples", "How much is removed"]
    assert titles[-1] == "Other options"
    assert len(titles) == 10
    heads = [word.strip(",") for line in page.splitlines() if line.startswith("  -") for word in line.split()]
    for option in (opt for each in command.params if isinstance(each, click.Option) for opt in each.opts):
        assert heads.count(option) == 1 or f"{option}/" in "".join(heads), option


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("denosie a b", "No such command 'denosie'. Did you mean 'denoise'?"),
        ("zzz", "See 'nsp --help'"),
        ("profiles lst", "Did you mean 'list'?"),
        ("denoise a b --strenght 1", "--strength"),
        ("denoise a.jpg", "Missing argument 'OUTPUT'. a.jpg is taken for INPUT...; name OUTPUT after it."),
        ("denoise", "Missing argument 'INPUT...'"),
        ("denoise a b --look smoth", "'smooth', 'natural'. Did you mean 'smooth'?"),
        ("denoise a b --format jpg", "Did you mean 'jpeg'?"),
        ("calibrate a --out b --split grup", "Did you mean 'group'?"),
        ("profiles show standart", "did you mean 'standard'?"),
        ("preview --out x.html", "Missing argument 'PHOTO...'"),
    ],
)
def test_what_is_misspelt_or_missing_is_named(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed.split()) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_completion_is_in_the_quick_start() -> None:
    text = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")
    assert "_NSP_COMPLETE=bash_source" in text
