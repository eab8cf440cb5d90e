"""`nsp profiles import`, `install`, `remove` and `export`: profiles as files, and the user's profile folder."""

import zipfile
from pathlib import Path

import click

from nsp_pipeline.cli.shared.exporting import make_onnx, require_training
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.say import note
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.engines.verify import verify_profile
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, SPEC_FILE, Profile, copy_profile, load_profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.install import place_for, remove_profile

FILE = click.argument("file", type=click.Path(path_type=Path))
NAME = click.option("--name", help="Name to install it under.  [default: that of the file]")
JSON = click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON on stdout.")


@click.command(
    name="import",
    cls=HelpfulCommand,
    examples=("nsp profiles import d800.nsp", "nsp profiles import checkpoint.pth --out base.nsp"),
    short_help="Read a profile, or a checkpoint of the NSP authors.",
)
@FILE
@click.option(
    "--backbone", type=click.Choice(["dbsn", "tbsn"]), help="Network of a .pth file.  [default: found from its keys]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the profile here instead of installing it.")
@NAME
@JSON
def import_(file: Path, backbone: str | None, out: Path | None, name: str | None, as_json: bool) -> None:
    """Import FILE: a profile (.nsp or folder), or a .pth checkpoint of the NSP authors (DBSN or TBSN).

    A profile is checked and copied. A checkpoint becomes a whole profile, which needs PyTorch; no code in it is run.
    Without --out the profile is installed in your profile folder.
    """
    if out and name:
        raise UsageError("--name is for installing; with --out the file's name is the profile's")
    target = out or place_for(name or _own_name(file))
    if _is_bundle(file):
        if backbone:
            raise UsageError(f"{file}: is a profile and names its network itself; --backbone is for a .pth")
        profile = _checked_copy(file, target)
    else:
        require_training()
        from nsp_pipeline.profiles.from_checkpoint import profile_from_checkpoint

        note(f"{file}: reading; making a profile takes minutes for a large network")
        profile = profile_from_checkpoint(file, target, backbone=backbone, make_onnx=make_onnx)
    _report("imported", profile, as_json)


@click.command(
    cls=HelpfulCommand,
    examples=("nsp profiles install d800.nsp",),
    short_help="Put a profile into your profile folder.",
)
@FILE
@NAME
@JSON
def install(file: Path, name: str | None, as_json: bool) -> None:
    """Check a profile (.nsp or folder) and copy it into your profile folder."""
    if not _is_bundle(file):
        raise ProfileError(f"{file}: not a profile; `nsp profiles import` reads the authors' checkpoints")
    _report("installed", _checked_copy(file, place_for(name or _own_name(file))), as_json)


@click.command(
    cls=HelpfulCommand, examples=("nsp profiles remove d800",), short_help="Delete one from your profile folder."
)
@click.argument("name")
@JSON
def remove(name: str, as_json: bool) -> None:
    """Delete the profile NAME from your profile folder."""
    path = remove_profile(name)
    note(f"removed {path}")
    if as_json:
        print_json({"name": name, "removed": str(path)})


@click.command(
    cls=HelpfulCommand,
    examples=("nsp profiles export d800 d800.nsp",),
    short_help="Write a profile as one file, to pass on.",
)
@click.argument("profile")
@FILE
@JSON
def export(profile: str, file: Path, as_json: bool) -> None:
    """Write PROFILE as one FILE.nsp, to pass on; nothing is overwritten."""
    if file.suffix != BUNDLE_SUFFIX:
        raise UsageError(f"{file}: a profile's file ends in {BUNDLE_SUFFIX}")
    _report("exported", copy_profile(find_profile(profile), file), as_json)


def _checked_copy(file: Path, target: Path) -> Profile:
    profile = load_profile(file)
    verify_profile(profile)
    return copy_profile(profile, target)


def _own_name(file: Path) -> str:
    return file.absolute().name.removesuffix(BUNDLE_SUFFIX).removesuffix(".pth")


def _is_bundle(file: Path) -> bool:
    """Whether a file or folder is meant as a profile; raises ProfileError when there is nothing."""
    try:
        if file.is_dir() or file.suffix == BUNDLE_SUFFIX:
            return True
        with file.open("rb"):
            pass
        if not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            return SPEC_FILE in archive.namelist()
    except zipfile.BadZipFile:
        return False
    except OSError as error:
        raise ProfileError(f"{file}: cannot be read: {error.strerror or error}") from None


def _report(what: str, profile: Profile, as_json: bool) -> None:
    name = profile.path.name.removesuffix(BUNDLE_SUFFIX)
    note(f"{what} '{name}' as {profile.path} (licence of its weights: {profile.spec.data.licence})")
    if as_json:
        facts = {"name": name, "path": str(profile.path), "sha256": profile.sha256}
        print_json({**facts, "profile": profile.spec.model_dump(mode="json")})
