"""`nsp export`: a profile's network as a file that other programs run, and the engines that nsp keeps for itself."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from nsp_pipeline.atomic_file import write_atomically
from nsp_pipeline.cli.export.kept_engines import list_engines, prune_engines
from nsp_pipeline.cli.export.stated_noise import INPUT, INSIDE, WORDS, stated_noise
from nsp_pipeline.cli.shared.exporting import (
    Exported,
    ExportRequest,
    export_darktable,
    export_engine,
    export_onnx,
    require_training,
    with_own_noise,
)
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import HeightWidthType, OrWord
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.engines.tensorrt.build import CAPABILITIES
from nsp_pipeline.engines.tensorrt.size_range import SizeRange, chosen_range, fixed_size
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import PD_WORDS

DARKTABLE_SUFFIX = ".dtmodel"


@click.command(
    name="export",
    cls=HelpfulCommand,
    examples=(
        "nsp export standard --target onnx --out standard.onnx",
        "nsp export standard --target darktable --out nsp.dtmodel",
    ),
)
@click.argument("profile", required=False)
@click.option(
    "--target",
    type=click.Choice(["onnx", "darktable", "tensorrt", "tensorrt-rtx"]),
    default="onnx",
    show_default=True,
    help="Kind of file. darktable: a model package (.dtmodel) for its neural restore. tensorrt builds for the GPU in "
    "this machine; tensorrt-rtx builds without a GPU.",
)
@click.option(
    "--mode", type=click.Choice(list(MODEL_FILES)), default="denoise", show_default=True, help="What the file computes."
)
@click.option(
    "--pd",
    type=click.Choice(PD_WORDS),
    default="auto",
    show_default=True,
    help="PD at inference, for an ONNX file that denoises. auto: as the profile says.",
)
@click.option(
    "--noise",
    metavar=WORDS,
    help="What the network is told of how noisy every image is. input: it is a second input, for programs that "
    "measure. inside: the file estimates it and gives the picture of nsp denoise; for whole photos, not for tiles. A "
    "level baked in: SIGMA of camera noise in 8-bit steps, TABLE (a .json file, as of nsp scan --noise --json), or the "
    "PROFILE whose photos were as noisy. unknown: it judges by what it sees.  [default: that of the camera that the "
    "profile was calibrated for; of others input, where the target is onnx, and unknown]",
)
@click.option(
    "--iso",
    type=click.IntRange(min=1),
    metavar="N",
    help="The ISO whose noise is told, of a profile that knows several.  [default: that of the photo in its middle]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: float16 inside, with float32 where it is needed.",
)
@click.option(
    "--io",
    "pixels",
    type=click.Choice(["float32", "uint8", "uint16"]),
    default="float32",
    show_default=True,
    help="Type of the pixels in and out: floats in 0..1, or integers.",
)
@click.option(
    "--size",
    type=OrWord("dynamic", HeightWidthType()),
    default="dynamic",
    show_default=True,
    metavar="HxW|dynamic",
    help="One fixed height and width in pixels, or any size.",
)
@click.option("--min-size", type=HeightWidthType(), help="Smallest size of an engine.  [default: one cell]")
@click.option("--max-size", type=HeightWidthType(), help="Largest size of an engine.  [default: 2048x2048]")
@click.option(
    "--compute-capability",
    "capabilities",
    type=click.Choice(CAPABILITIES),
    multiple=True,
    help="GPUs that a tensorrt-rtx engine is built for. May be repeated.  [default: Ampere and later]",
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--list", "list_", is_flag=True, help="List the engines that nsp has built and kept; write nothing.")
@click.option("--prune", is_flag=True, help="Delete kept engines that this machine can no longer use.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON on stdout.")
def command(profile: str | None, list_: bool, prune: bool, as_json: bool, **options: Any) -> None:
    """Write PROFILE (a name, a .nsp file or a folder) as a model for other programs: image in, image out.

    The file's input is `image` [1,3,H,W] and its output `denoised`; H and W must be multiples of a number that --json
    shows (1 with --noise inside). An ONNX file is made from the weights, and written only if it agrees with PyTorch to
    1e-4 on random images of three sizes. With fp16 it must agree with float32 to 55 dB on a photo-like image. An engine
    is built from the ONNX file in the profile, which is compared with the weights if PyTorch is installed.

    A package for darktable is installed there under preferences, AI, "import from file" (docs/darktable.md).
    """
    if list_ or prune:
        if profile or (list_ and prune):
            raise UsageError("--list and --prune stand alone: they are about the engines that nsp keeps for itself")
        return list_engines(as_json) if list_ else prune_engines(as_json)
    out, overwrite = options.pop("out"), options.pop("overwrite")
    if profile is None or out is None:
        raise UsageError("nsp export needs a PROFILE and --out FILE (or --list, or --prune)")
    request = _request(out, **options)
    if request.target in ("onnx", "darktable"):
        require_training()
    bundle = find_profile(profile)
    if os.path.lexists(out) and not overwrite:
        raise OutputError(f"{out}: exists already; --overwrite replaces it")
    console = Console(stderr=True)

    def on_line(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    request = with_own_noise(bundle, request)
    made = _made(bundle, request, out, on_line)
    write_atomically(out, [made.content])
    if request.own_noise and request.noise:
        on_line(f"{out}: told the noise of {request.noise.source}, so programs need no table; --noise changes that")
    size = len(made.content)
    on_line(f"{out}: {request.mode}, {request.precision}, {made.facts['size']}, {size / 1e6:.1f} MB, {made.agreement}")
    if as_json:
        asked = {"target": request.target, "mode": request.mode, "precision": request.precision, "io": request.pixels}
        print_json({"file": str(out), **asked, "bytes": size, **made.facts})
    return None


def _made(bundle: Profile, request: ExportRequest, out: Path, on_line: Callable[[str], None]) -> Exported:
    if request.target == "onnx":
        return export_onnx(bundle, request)
    if request.target == "darktable":
        return export_darktable(bundle, request, out.stem)
    return export_engine(bundle, request, on_line)


def _request(
    out: Path, min_size: tuple[int, int] | None, max_size: tuple[int, int] | None, **options: Any
) -> ExportRequest:
    """Read the options, and refuse those that would silently do nothing."""
    target, size, noise, iso = options["target"], options["size"], options.pop("noise"), options.pop("iso")
    if options["pd"] != "auto" and options["mode"] != "denoise":
        raise UsageError(f"--pd works with --mode denoise only, not with {options['mode']}")
    if options["pd"] != "auto" and target.startswith("tensorrt"):
        raise UsageError(
            "--pd works with --target onnx and darktable only: engines are built from the profile's own graph"
        )
    if (min_size or max_size) and (target == "onnx" or size):
        raise UsageError("--min-size and --max-size work for engines of dynamic size only; an ONNX file takes any size")
    if options["capabilities"] and target != "tensorrt-rtx":
        raise UsageError(
            "--compute-capability works with --target tensorrt-rtx only; tensorrt builds for this machine's GPU"
        )
    if noise == INPUT and target != "onnx":
        raise UsageError(
            f"--noise input works with --target onnx only: {target} gives a network the picture and nothing else"
        )
    if iso is not None and noise in (INPUT, INSIDE):
        raise UsageError(f"--iso {iso}: with --noise {noise} no level is told; leave one of them out")
    if noise == INSIDE:
        _require_whole_picture(target, options["mode"])
    if target == "darktable":
        _require_darktable(
            out, sizes=bool(size or min_size or max_size), mode=options["mode"], pixels=options["pixels"]
        )

    def sizes(multiple: int, tile: int | None) -> SizeRange:
        return fixed_size(size, multiple) if size else chosen_range(min_size, max_size, multiple, tile)

    return ExportRequest(
        sizes=sizes,
        noise=None if noise in (None, INPUT, INSIDE) else stated_noise(noise, iso),
        noise_inside=noise == INSIDE,
        own_noise=noise is None,
        iso=iso,
        **options,
    )


def _require_whole_picture(target: str, mode: str) -> None:
    """Raise UsageError where a noise estimated inside would be that of a tile, or go into a picture of another size."""
    if target == "darktable":
        raise UsageError(
            f"--noise {INSIDE}: darktable gives a network tiles, and the estimate would change from tile to tile; bake "
            "a level in: --noise SIGMA, TABLE or PROFILE"
        )
    if target != "onnx":
        raise UsageError(f"--noise {INSIDE} works with --target onnx only")
    if mode != "denoise":
        raise UsageError(f"--noise {INSIDE} works with --mode denoise only, not with {mode}")


def _require_darktable(out: Path, *, sizes: bool, mode: str, pixels: str) -> None:
    """Raise UsageError for what a package of darktable cannot be."""
    if out.suffix != DARKTABLE_SUFFIX:
        raise UsageError(f"{out}: darktable installs files that end in {DARKTABLE_SUFFIX}; name it {out.stem}.dtmodel")
    if sizes:
        raise UsageError("--size, --min-size, --max-size: a model for darktable takes images of any size")
    if mode != "denoise" or pixels != "float32":
        raise UsageError("--mode and --io: darktable gives a denoiser float32 pixels and wants as many back")
