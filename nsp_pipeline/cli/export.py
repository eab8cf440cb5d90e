"""`nsp export`: a profile's network as a file that other programs run."""

import json
import os
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from nsp_pipeline.cli.exporting import make_onnx, require_training
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import PD_WORDS


@click.command(name="export")
@click.argument("profile")
@click.option("--target", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="Kind of file.")
@click.option(
    "--mode", type=click.Choice(list(MODEL_FILES)), default="denoise", show_default=True, help="What the file computes."
)
@click.option(
    "--pd",
    type=click.Choice(PD_WORDS),
    default="auto",
    show_default=True,
    help="In mode denoise, PD at inference; auto: as the profile says.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON on stdout.")
def command(profile: str, target: str, mode: str, pd: str, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write PROFILE (a name, a .nsp file or a folder) as an image-in, image-out model.

    The file takes `image` float32 [1,3,H,W] in 0..1 and gives `denoised`. It is published only if it agrees with
    PyTorch to 1e-4 on random images of three sizes.
    """
    require_training()
    from nsp_pipeline.models.registry import load_backbone

    if pd != "auto" and mode != "denoise":
        raise UsageError(f"--pd acts in --mode denoise only, not in {mode}")
    bundle = find_profile(profile)
    if os.path.lexists(out) and not overwrite:
        raise OutputError(f"{out}: exists already; --overwrite replaces it")
    spec = bundle.spec
    inference = spec.inference_with(pd)
    network = load_backbone(spec.backbone.name, spec.backbone.sizes, bundle.read(WEIGHTS_FILE))
    metadata = {"profile": spec.name, "sha256": spec.files[WEIGHTS_FILE]}
    content = make_onnx(network, mode, inference, metadata)
    _publish(out, content)
    line = f"{out}: {mode}, {len(content) / 1e6:.1f} MB, agrees with PyTorch"
    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps({"file": str(out), "target": target, "mode": mode, "bytes": len(content), **metadata}))


def _publish(out: Path, content: bytes) -> None:
    """Write a file so that its name never shows half of it."""
    partial = out.with_name(f".{out.name}.nsp-part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
