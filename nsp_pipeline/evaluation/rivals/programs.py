"""Denoisers of other programs, run on one picture through their command lines."""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import MissingCapabilityError

Picture = NDArray[np.uint8]

TIMEOUT = 1800

DARKTABLE_METHODS = {"non-local means": 3, "wavelets": 4}
"""Of darktable's module denoise (profiled), both in automatic mode."""

DARKTABLE_HISTORY = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" darktable:xmp_version="4"
 darktable:raw_params="0" darktable:auto_presets_applied="1" darktable:history_end="1" darktable:iop_order_version="2">
<darktable:history><rdf:Seq>
<rdf:li darktable:num="0" darktable:operation="denoiseprofile" darktable:enabled="1" darktable:modversion="11"
 darktable:params="{parameters}" darktable:multi_name="" darktable:multi_priority="0"/>
</rdf:Seq></darktable:history></rdf:Description></rdf:RDF></x:xmpmeta>
"""

RAWTHERAPEE_PROFILE = """[Directional Pyramid Denoising]
Enabled=true
Method=Lab
LMethod=SLI
CMethod=MAN
Chroma=15
Luma={luma}
Ldetail=50
SMethod=shal
Gamma=1.7
[Color Management]
InputProfile=(embedded)
WorkingProfile=sRGB
OutputProfile=RTv4_sRGB
"""
"""Without its colour management it develops the picture as if it were RAW, and changes its colours."""


def require_program(name: str, package: str) -> str:
    """Return a program's path; raises MissingCapabilityError where it is not on the PATH."""
    found = shutil.which(name)
    if found is None:
        raise MissingCapabilityError(f"{name} is not on the PATH: install {package}")
    return found


def through_rawtherapee(program: str, noisy: Picture, luma: int) -> Picture:
    """Reduce noise in Lab: luminance by `strength` (0 to 100), colour at its default; (H, W, 3) in and out."""
    with tempfile.TemporaryDirectory(prefix="nsp-rawtherapee-") as name:
        folder = Path(name)
        Image.fromarray(noisy).save(folder / "in.tif")
        (folder / "nr.pp3").write_text(RAWTHERAPEE_PROFILE.format(luma=luma))
        before, after, settings = (str(folder / file) for file in ("in.tif", "out.png", "nr.pp3"))
        return _made_by([program, "-n", "-b8", "-Y", "-o", after, "-p", settings, "-c", before], Path(after))


def through_darktable(program: str, noisy: Picture, method: str, strength: float) -> Picture:
    """Run denoise (profiled), for which darktable finds a profile by itself; (H, W, 3) in and out.

    Its settings and its library stay out of the user's own.
    """
    with tempfile.TemporaryDirectory(prefix="nsp-darktable-") as name:
        folder = Path(name)
        Image.fromarray(noisy).save(folder / "in.tif")
        parameters = _denoise_profiled(DARKTABLE_METHODS[method], strength).hex()
        (folder / "in.xmp").write_text(DARKTABLE_HISTORY.format(parameters=parameters))
        files = [str(folder / file) for file in ("in.tif", "in.xmp", "out.png")]
        places = ["--configdir", str(folder / "settings"), "--cachedir", str(folder / "cache")]
        command = [program, *files, "--core", *places, "--library", ":memory:", "--disable-opencl"]
        return _made_by(command, folder / "out.png")


def _denoise_profiled(method: int, strength: float) -> bytes:
    """The module's parameters, version 11, which later versions of darktable bring up to date by themselves."""
    radius, search, shadows, bias, scattering, central, overshooting = 1.0, 7.0, 1.0, 0.0, 0.0, 0.1, 1.0
    numbers = [radius, search, strength, shadows, bias, scattering, central, overshooting]
    from_its_profile = [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0]
    bands, channels = 7, 6
    places = [band / (bands - 1) for band in range(bands)] * channels
    even = [0.5] * (bands * channels)
    switches = [1, 1, 1, 1]
    floats = [*numbers, *from_its_profile]
    curves = [*places, *even]
    return struct.pack(f"<{len(floats)}fi{len(curves)}f{len(switches)}i", *floats, method, *curves, *switches)


def _made_by(command: list[str], result: Path) -> Picture:
    """Run a program and read the picture that it makes; raises MissingCapabilityError with its last words."""
    name = Path(command[0]).name
    try:
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise MissingCapabilityError(f"{name} took longer than {TIMEOUT // 60} minutes for one picture") from None
    except OSError as error:
        raise MissingCapabilityError(f"{name} does not run: {error.strerror or error}") from error
    if ended.returncode or not result.exists():
        # What a program that crashes said last on stdout is no reason.
        words = ended.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {ended.returncode}"]
        raise MissingCapabilityError(f"{name} failed: {words[0]}")
    with Image.open(result) as picture:
        return np.asarray(picture.convert("RGB"))
