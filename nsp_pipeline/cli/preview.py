"""`nsp preview`: some places of a photo, denoised in several ways, to choose from."""

from io import BytesIO
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from nsp_pipeline.atomic_file import require_writable, write_atomically
from nsp_pipeline.batch.engine_pool import engine_pool
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.cli.shared.engine_options import engine_options
from nsp_pipeline.cli.shared.finding import PHOTOS
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import OrWord, PlaceType, ShareType
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.verbosity import is_verbose
from nsp_pipeline.core.blend import LOOKS
from nsp_pipeline.errors import ExitCode, PhotoError, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.profiles.choose import general_profiles
from nsp_pipeline.report.page import write_page
from nsp_pipeline.report.preview.make import PhotoPreview, Spots, preview_photo
from nsp_pipeline.report.preview.page import preview_page, shot_in_words
from nsp_pipeline.report.preview.sheet import preview_sheet
from nsp_pipeline.report.preview.variants import Variant, asked_variants, usual_variants

MOST_PHOTOS = 20
SMALLEST, LARGEST = 64, 1024
OPEN_ENGINES = 8


@click.command(
    name="preview",
    cls=HelpfulCommand,
    examples=(
        "nsp preview photo.jpg --out page.html",
        "nsp preview photo.jpg --strength 0.4 --strength 0.7 --at 2100,1500",
        "nsp preview *.NEF --profile d800.nsp --profile standard --sheet all.png",
    ),
    groups={
        "What is written": ("out", "sheet"),
        "What is compared": ("profiles", "strengths", "looks", "chromas", "details"),
        "Where": ("at", "size"),
        "What computes": ("engine", "device", "precision"),
    },
)
@click.argument("photos", nargs=-1, required=True, type=PHOTOS, metavar="PHOTO...")
@recipe_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PAGE.html",
    help="Write a page to look at in a browser.  [default: preview.html, where no --sheet is asked for]",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Write all crops side by side into one picture.",
)
@click.option(
    "--at",
    type=PlaceType(),
    multiple=True,
    metavar="X,Y",
    help="Look around this pixel of the upright photo. May be repeated.  [default: a flat, a textured, a coloured "
    "place]",
)
@click.option(
    "--size",
    type=click.IntRange(SMALLEST, LARGEST),
    default=480,
    show_default=True,
    metavar="N",
    help="Width of each place in pixels; its height is three quarters of that.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="auto|NAME|PATH",
    help="Compare these. May be repeated.  [default: the photo's own, and those that ship]",
)
@click.option(
    "--strength",
    "strengths",
    type=OrWord("auto", ShareType()),
    multiple=True,
    metavar="auto|0..1",
    help="Compare these. May be repeated.  [default: auto, 0.5, 1]",
)
@click.option(
    "--look", "looks", type=click.Choice(LOOKS), multiple=True, help="Compare these. May be repeated.  [default: both]"
)
@click.option(
    "--chroma",
    "chromas",
    type=OrWord("auto", ShareType()),
    multiple=True,
    metavar="auto|0..1",
    help="Compare these strengths for colour noise. May be repeated.",
)
@click.option(
    "--detail",
    "details",
    type=ShareType(),
    multiple=True,
    metavar="0..1",
    help="Compare these shares of fine grain put back. May be repeated.",
)
@engine_options
@click.pass_obj
def command(sources: Sources | None, /, photos: tuple[Path, ...], **options: Any) -> None:
    """Show places of a PHOTO denoised in several ways, each with the command that makes it.

    Only the places are computed, with the noise of the whole photo, which takes seconds. On the page a slider (drag
    it, or use the arrow keys) compares any two ways at 100 %. Nothing but the page and the sheet is written.

    Exit codes: 0 all done; 1 some photos cannot be shown; 2 wrong usage; 3 this machine cannot do it; 4 the page
    cannot be written.
    """
    sources, console = sources or Sources(), Console(stderr=True)
    out, sheet = options["out"], options["sheet"]
    if out is None and sheet is None:
        out = Path("preview.html")
    variants = _variants(options)
    paths = _photos(photos)
    for target in filter(None, (out, sheet)):
        _refuse_photo(target, paths)
        require_writable(target)
    previews, failed = _previews(paths, variants, options, sources, console)
    if previews and out:
        write_page(out, preview_page(previews))
        say(console, f"page: {printable(out)}")
    if previews and sheet:
        file = BytesIO()
        preview_sheet(previews).save(file, "PNG")
        write_atomically(sheet, [file.getvalue()])
        say(console, f"sheet: {printable(sheet)}")
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _previews(
    paths: list[Path], variants: list[Variant], options: dict[str, Any], sources: Sources, console: Console
) -> tuple[list[PhotoPreview], int]:
    """The previews of the photos that can be shown, and how many cannot."""
    settings = RunSettings(**{name: options[name] for name in ("engine", "device", "precision")})
    spots = Spots(options["size"], options["size"] * 3 // 4, options["at"])
    previews, failed = list[PhotoPreview](), 0
    with engine_pool(settings, sources, lambda line: say(console, line), OPEN_ENGINES) as engines:
        for number, path in enumerate(paths, 1):
            with console.status(f"{number} of {len(paths)}: {len(variants)} ways", spinner="dots"):
                try:
                    preview = preview_photo(path, variants, spots, engines, sources)
                    previews.append(preview)
                    _tell(preview, console)
                except PhotoError as error:
                    failed += 1
                    say(console, f"left out: {error}", style="yellow")
    return previews, failed


def _tell(preview: PhotoPreview, console: Console) -> None:
    """With -v the photo, why its profile, and its places."""
    if not is_verbose():
        return
    places = "; ".join(f"{place.name} at {place.crop.left},{place.crop.top}" for place in preview.places)
    why = f"; profile {preview.why}" if preview.why else ""
    say(console, f"{preview.name}: {shot_in_words(preview)}{why}; places: {places}")
    for way in preview.ways:
        say(console, f"  {way.label}: about {way.seconds:.0f} s for the whole photo: {way.command}")


def _variants(options: dict[str, Any]) -> list[Variant]:
    shares = options["strengths"], options["chromas"], options["details"]
    if any((*shares, options["looks"], options["profiles"])):
        return asked_variants(options["profiles"], shares, options["looks"])
    return usual_variants(general_profiles())


def _photos(given: tuple[Path, ...]) -> list[Path]:
    found = find_photos(given, FindRules())
    if found.unreadable:
        raise found.unreadable[0].error
    if trouble := found.nothing or found.without_photos:
        raise UsageError(trouble)
    if len(found.paths) > MOST_PHOTOS:
        raise UsageError(
            f"{len(found.paths)} photos are more than a page can show; name up to {MOST_PHOTOS} that matter to you"
        )
    return list(found.paths)


def _refuse_photo(target: Path, photos: list[Path]) -> None:
    if target.exists() and any(target.samefile(photo) for photo in photos):
        raise UsageError(f"{printable(target)}: this is one of the photos; originals are never written over")
