"""Whether a profile's models run."""

import numpy as np

from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.errors import NspError
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile


def verify_profile(profile: Profile) -> dict[str, str]:
    """Run every model of a loaded profile on a small random image.

    Returns what was found, by file; hashes were checked when the profile was loaded.
    Raises NspError when a model cannot run or gives something that is not an image.
    """
    findings = {"hashes": f"{len(profile.spec.files)} files match"} | _run_models(profile)
    for inner in profile.inner:
        findings |= {f"{inner.path.name}: {file}": found for file, found in _run_models(inner).items()}
    return findings


def _run_models(profile: Profile) -> dict[str, str]:
    findings = {}
    for mode, file in MODEL_FILES.items():
        if file not in profile.content:
            continue
        engine = open_engine(profile, mode=mode)
        given = -(-64 // engine.info.multiple) * engine.info.multiple
        result = engine.run(np.random.default_rng(0).random((1, 3, given, given), dtype=np.float32))
        engine.close()
        side = given * engine.info.scale
        if result.shape != (1, 3, side, side) or not np.isfinite(result).all():
            raise NspError(f"{profile.path}: {file} gives {result.shape} with values that are not a picture")
        findings[file] = f"runs on {engine.info.provider}"
    return findings
