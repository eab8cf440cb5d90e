"""nsp-pipeline: clean folders of noisy photos with a denoiser fitted to their camera.

    import nsp_pipeline as nsp

    clean = nsp.denoise(image)                       # an array in, an array out
    with nsp.Denoiser("quality") as denoiser:        # an engine kept open, for many
        clean = [denoiser.denoise(image) for image in images]
    summary = nsp.denoise_folder("photos", "clean")  # as `nsp denoise` does it

`__all__` is what is public; docs/library.md says what that promises. Importing this package, and denoising on ONNX
Runtime, never imports torch; what is named here is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsp_pipeline.batch.folder import FolderProgress, denoise_folder
    from nsp_pipeline.batch.outcome import Outcome, Result, Summary
    from nsp_pipeline.core.noise import NoiseLevel
    from nsp_pipeline.denoise.denoiser import Denoiser, denoise, measure_noise, open_profile
    from nsp_pipeline.errors import NspError
    from nsp_pipeline.frames.frame import Camera
    from nsp_pipeline.profiles.bundle import Profile

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Denoiser",
    "FolderProgress",
    "NoiseLevel",
    "NspError",
    "Outcome",
    "Profile",
    "Result",
    "Summary",
    "denoise",
    "denoise_folder",
    "measure_noise",
    "open_profile",
]

_HOMES = {
    "Camera": "nsp_pipeline.frames.frame",
    "Denoiser": "nsp_pipeline.denoise.denoiser",
    "FolderProgress": "nsp_pipeline.batch.folder",
    "NoiseLevel": "nsp_pipeline.core.noise",
    "NspError": "nsp_pipeline.errors",
    "Outcome": "nsp_pipeline.batch.outcome",
    "Profile": "nsp_pipeline.profiles.bundle",
    "Result": "nsp_pipeline.batch.outcome",
    "Summary": "nsp_pipeline.batch.outcome",
    "denoise_folder": "nsp_pipeline.batch.folder",
    "measure_noise": "nsp_pipeline.denoise.denoiser",
    "open_profile": "nsp_pipeline.denoise.denoiser",
}
"""Where each public name lives. `denoise` is the package of that name, which can be called (see there)."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name == "denoise":
        return import_module("nsp_pipeline.denoise")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
