"""A profile's measured noise, as the table that networks are told."""

import numpy as np

from nsp_pipeline.core.noise_curve import BrokenLine, NoiseCurve
from nsp_pipeline.core.noise_table import StatedNoise, table_from_curves
from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles.bundle import SPEC_FILE, Profile
from nsp_pipeline.profiles.spec import NoiseSpec


def measured_noise(profile: Profile) -> StatedNoise | None:
    """Return the noise of the photos that a profile was calibrated on; None where its `profile.json` says none.

    Raises ProfileError where what it says is no noise of pixels in 0..1.
    """
    spec = profile.spec
    if not spec.noise:
        return None
    try:
        with np.errstate(over="ignore"):
            table = table_from_curves([_curve(channel) for channel in spec.noise], spec.noise_correlation or ())
    except ValueError:
        table = np.array(np.nan, dtype=np.float32)
    if not (np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1):
        raise ProfileError(f"{profile.path}: {SPEC_FILE}: the noise in it is not that of photos; get a fresh copy")
    return StatedNoise(f"profile {profile.name}", table)


def _curve(noise: NoiseSpec) -> NoiseCurve:
    """Raises ValueError for a line that is none."""
    # Profiles of long ago hold nothing but a and b.
    x = np.array(noise.brightness or [0, 1], dtype=np.float64)
    y = np.array(noise.variance or [noise.b, noise.a + noise.b], dtype=np.float64)
    if len(x) < 2 or x.shape != y.shape or not (np.diff(x) > 0).all():
        raise ValueError("the line has no two ends, or turns back")
    return NoiseCurve(noise.a, noise.b, BrokenLine(x, y), noise.straight)
