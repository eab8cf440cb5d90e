"""`nsp doctor`: what this installation can do, what is missing, and the command that mends it."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import click
from rich.table import Column, Table
from rich.text import Text

from nsp_pipeline import __version__
from nsp_pipeline.cli.doctor.gpu_findings import Finding, gpu_findings
from nsp_pipeline.cli.doctor.verdict import GPU_PARTS, Speed, measure_speed, verdict
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.standard_output import print_json, print_line, print_rich, printed_to_a_terminal
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.onnx.load import INSTALL_HINT, import_onnxruntime
from nsp_pipeline.engines.verify import verify_profile
from nsp_pipeline.engines.words import engine_in_words
from nsp_pipeline.errors import ExitCode, MissingCapabilityError, NspError, ProfileError
from nsp_pipeline.frames.metadata.camera_names import aliases_file
from nsp_pipeline.machine.cpus import usable_cpus
from nsp_pipeline.machine.memory import available_memory
from nsp_pipeline.noise.runtime import load_estimator
from nsp_pipeline.profiles.bundle import load_profile
from nsp_pipeline.profiles.choose import BUILTIN, Entry, find_profile, user_entries, user_folder

LIBRARIES = ("numpy", "pillow", "tifffile", "imagecodecs", "rawpy", "pydantic", "click", "rich")
OPTIONAL = {
    "onnxruntime": "denoising on the CPU: pip install 'nsp-pipeline[cpu]'",
    "openvino": "denoising faster, on CPUs with bfloat16 several times: pip install 'nsp-pipeline[cpu,openvino]'",
    "torch": "calibrate and export: pip install 'nsp-pipeline[cpu,train]'",
    "onnx": "calibrate and export: pip install 'nsp-pipeline[cpu,train]'",
    "safetensors": "calibrate and export: pip install 'nsp-pipeline[cpu,train]'",
}

MUCH = 1e4
"""Megapixels: who asks is told what a long run would take, by measurement."""


@click.command(
    name="doctor",
    cls=HelpfulCommand,
    examples=("nsp doctor",),
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def command(as_json: bool) -> None:
    """Check this installation: versions, engines, GPU and built-in profile; show how to get what is missing.

    The last line is the verdict: whether `nsp denoise` can work, on what, and how fast. What is optional and not there
    does no harm; the line says what it would be good for.

    The exit code is 3 if `nsp denoise` cannot run, or if something that is installed for it does not work.
    """
    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        *parts, last = findings
        _print(parts)
        print_rich(Text(last.detail))
    if any(finding.ok is False for finding in findings):
        raise SystemExit(ExitCode.ENVIRONMENT)


def _print(findings: Sequence[Finding]) -> None:
    """A line for each; on a terminal what is too long goes on below its own beginning."""
    if not printed_to_a_terminal():
        for finding in findings:
            print_line(f"{_mark(finding).plain:<9}{finding.what:<22}{finding.detail}")
        return
    table = Table.grid(Column(no_wrap=True), Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(_mark(finding), Text(finding.what), Text(finding.detail))
    print_rich(table)


def _mark(finding: Finding) -> Text:
    if finding.ok is None:
        is_optional = finding.what in (*OPTIONAL, *GPU_PARTS) or finding.detail.startswith("none")
        return Text("optional", "dim") if is_optional else Text("note", "yellow")
    return Text("ok", "green") if finding.ok else Text("broken", "red")


def examine() -> list[Finding]:
    """Look at everything `nsp denoise` needs and everything it could use; the last finding is the verdict."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [Finding("nsp", True, __version__), Finding("Python", sys.version_info >= (3, 11), python)]
    findings += [_library(name) for name in LIBRARIES]
    findings += [_optional(name, hint) for name, hint in OPTIONAL.items()]
    findings += [_processors(), _memory()]
    engine, speed = _engine()
    findings += [_onnxruntime_wheels(), *gpu_findings(_version), engine, _estimator(), _builtin_profile()]
    findings += _user_profiles()
    findings.append(_aliases())
    return [*findings, verdict(findings, speed)]


def _library(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, f"missing: pip install {name}")


def _optional(name: str, hint: str) -> Finding:
    found = _version(name)
    return Finding(name, True, found) if found else Finding(name, None, f"needed for {hint}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processors() -> Finding:
    used, there = usable_cpus(), os.cpu_count() or 1
    why = "" if used == there else "; affinity or a container grants no more; --threads takes another number"
    return Finding("processors", True, f"{used} of {there} are used{why}")


def _memory() -> Finding:
    free = available_memory()
    return Finding("memory", True, "not known" if free is None else f"{free / 2**30:.1f} GiB free for nsp")


def _onnxruntime_wheels() -> Finding:
    """Whether both wheels of ONNX Runtime are installed: they share an import name, and which one runs is chance."""
    wheels = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(wheels) > 1:
        return Finding(
            "onnxruntime wheels",
            False,
            "both installed, and they overwrite each other: pip uninstall -y onnxruntime onnxruntime-gpu, then "
            "pip install 'nsp-pipeline[gpu]' (or [cpu])",
        )
    return Finding("onnxruntime wheels", True if wheels else None, ", ".join(wheels) or INSTALL_HINT)


def _engine() -> tuple[Finding, Speed | None]:
    """What would compute, and how fast it is."""
    try:
        providers = ", ".join(import_onnxruntime().get_available_providers())
        profile = find_profile(BUILTIN)
        engine = open_engine(profile, mode="denoise", megapixels=MUCH)
    except MissingCapabilityError as error:
        return Finding("engine", False, str(error)), None
    except NspError as error:
        return Finding("engine", False, f"cannot open the built-in profile: {error}"), None
    try:
        speed = measure_speed(engine)
    except NspError as error:
        return Finding("engine", False, f"it opens, and fails at its work: {error}"), None
    finally:
        engine.close()
    info = engine.info
    fallback = f"; {info.fallback}" if info.fallback else ""
    chosen = f"; {info.chosen}" if info.chosen else ""
    taken = f"{engine_in_words(info.name, info.provider, info.precision)} would be used{chosen}{fallback}"
    return Finding("engine", True, f"{taken} (ONNX Runtime offers: {providers})"), speed


def _aliases() -> Finding:
    path = aliases_file()
    there = "yours are in" if path.exists() else "none of your own; they would stand in"
    return Finding("names of cameras", True if path.exists() else None, f"{there} {path}")


def _user_profiles() -> list[Finding]:
    """The user's profile folder, and each thing in it that is no profile, or none that is whole."""
    entries = user_entries()
    wrong = [found for entry in entries if (found := _trouble(entry))]
    whole = len(entries) - len(wrong)
    if not entries:
        return [Finding("your profiles", None, f"none yet; nsp profiles install puts them into {user_folder()}")]
    return [Finding("your profiles", None if wrong else True, f"{whole} in {user_folder()}"), *wrong]


def _trouble(entry: Entry) -> Finding | None:
    if entry.foreign:
        return Finding("no profile", None, f"{entry.trouble}; nsp leaves it alone")
    trouble = entry.trouble
    if not trouble:
        try:
            _ = load_profile(entry.path).by_noise
        except ProfileError as error:
            trouble = str(error)
    if not trouble:
        return None
    return Finding(f"profile {entry.name}", False, f"{trouble}; until then photos are denoised without it")


def _estimator() -> Finding:
    estimator = load_estimator()
    if estimator is None:
        return Finding("noise estimator", None, "without a runtime, noise is measured in flat patches instead")
    return Finding("noise estimator", True, f"on {estimator.runtime}")


def _builtin_profile() -> Finding:
    try:
        profile = find_profile(BUILTIN)
        verify_profile(profile)
    except MissingCapabilityError:
        return Finding("built-in profile", True, f"{profile.name}, whole; not tried, for want of an engine")
    except NspError as error:
        return Finding("built-in profile", False, f"{error}; reinstall nsp-pipeline")
    data = profile.spec.data
    return Finding("built-in profile", True, f"{profile.name}, verified; licence: {data.licence}")
