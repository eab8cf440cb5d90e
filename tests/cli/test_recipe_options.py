import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from nsp_pipeline.cli.shared.recipe_options import take_defaults
from nsp_pipeline.errors import RecipeError


@click.command(name="denoise")
@click.argument("photos", nargs=-1)
@click.option("--recipe", is_eager=True, expose_value=False, callback=take_defaults)
@click.option("--mode", type=click.Choice(["denoise", "sr"]), default="denoise")
@click.option("--strength", type=click.FloatRange(0, 1))
@click.option("--on-missing-profile", default="nearest")
@click.option("--recursive/--no-recursive", default=True)
@click.option("--exclude", multiple=True)
@click.option("--format", "kind", default="keep")
def command(**options: object) -> None:
    click.echo(json.dumps(options))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, object]]:
    def run(text: str, *args: str) -> dict[str, object]:
        recipe = tmp_path / "mine.toml"
        recipe.write_text(text)
        command.main([*args, "--recipe", str(recipe)], standalone_mode=False)
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    return run


def test_a_recipe_gives_defaults_and_the_command_line_wins(run: Callable[..., dict[str, object]]) -> None:
    text = """
    [denoise]
    mode = "sr"
    strength = 0.25
    on-missing-profile = "skip"
    recursive = false
    exclude = ["a", "b"]
    format = "png"
    """
    assert run(text) == {
        "mode": "sr",
        "strength": 0.25,
        "on_missing_profile": "skip",
        "recursive": False,
        "exclude": ["a", "b"],
        "kind": "png",
        "photos": [],
    }
    wins = run(text, "--mode", "denoise", "--recursive", "--exclude", "c", "--strength", "1", "x")
    assert (wins["mode"], wins["recursive"], wins["exclude"], wins["strength"]) == ("denoise", True, ["c"], 1)


def test_one_word_serves_where_several_may_stand(run: Callable[..., dict[str, object]]) -> None:
    assert run('[denoise]\nexclude = "previews"')["exclude"] == ["previews"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[denoise]\nstrenght = 1", "unknown setting 'strenght'; did you mean 'strength'?"),
        ("[denoise]\nphotos = 1", "unknown setting 'photos'"),
        ("[denoise]\nrecipe = 'x'", "unknown setting 'recipe'"),
        ("[denoise]\nstrength = 7", r"mine.toml, \[denoise\]: strength: 7.* is not in the range"),
        ("[denoise]\nmode = 'best'", r"\[denoise\]: mode: 'best' is not one of"),
        ("[denoise]\nrecursive = 'perhaps'", r"recursive: 'perhaps' is not a valid boolean"),
        ("[calibrate]\nsteps = 1", r"has no \[denoise\] table"),
        ("[denoise", "is not valid TOML"),
    ],
)
def test_wrong_recipes_say_what_is_wrong(run: Callable[..., dict[str, object]], text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run(text)


def test_a_recipe_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe 'nothere'; shipped ones: .*dbsn"):
        command.main(["--recipe", "nothere"], standalone_mode=False)


def test_denoise_takes_its_options_from_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nsp_pipeline.cli.main import main

    recipe = tmp_path / "night.toml"
    recipe.write_text('[denoise]\nmode = "sr"\npd = "on"\nmemory = "1GiB"\nmax-duration = "8h"\ntile = "auto"\n')
    (tmp_path / "in").mkdir()
    arguments = ["denoise", str(tmp_path / "in"), str(tmp_path / "out"), "--recipe", str(recipe)]
    assert main(arguments) == 2
    assert "--pd works with --mode denoise only" in capsys.readouterr().err
    assert main([*arguments, "--mode", "denoise"]) == 2
    assert "no photos in" in capsys.readouterr().err, "its options are taken, and the folder is empty"
    recipe.write_text('[denoise]\nmemory = "much"\n')
    assert main(arguments) == 2
    assert "memory: 'much' is no size; write it like 800MB or 1.5GiB" in capsys.readouterr().err
