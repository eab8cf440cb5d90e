"""Loading ONNX Runtime: quietly, without telemetry, and with CUDA's libraries where they came as wheels."""

import io
import os
from contextlib import redirect_stdout
from types import ModuleType

from nsp_pipeline.errors import MissingCapabilityError

INSTALL_HINT = "pip install 'nsp-pipeline[cpu]'"

SILENT = 4
"""The severity of what ends a process."""


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, its telemetry off; raises MissingCapabilityError with the command that installs it."""
    # Before the import: its builds for PyPI leave a device id in the user's cache and report to their maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingCapabilityError(f"ONNX Runtime is not installed ({error}): {INSTALL_HINT}") from None
    # Its log would repeat on stderr what our errors say.
    onnxruntime.set_default_logger_severity(SILENT)
    return onnxruntime  # type: ignore[no-any-return]


def preload_cuda(runtime: ModuleType) -> None:
    """Load CUDA from wheels, which lies where the system's loader does not look."""
    # It prints what it does not find, and stdout is for results.
    with redirect_stdout(io.StringIO()):
        getattr(runtime, "preload_dlls", lambda: None)()
