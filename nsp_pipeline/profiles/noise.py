"""A profile's measured noise: as the table that networks are told, and as what is known of a photo beforehand."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.noise_curve import BrokenLine, NoiseCurve
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.core.noise_table import StatedNoise, table_from_curves
from nsp_pipeline.core.usual_noise import with_usual
from nsp_pipeline.core.wary_noise import with_told
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.profiles.bundle import SPEC_FILE, Profile
from nsp_pipeline.profiles.spec import NoiseSpec


def measured_noise(profile: Profile, iso: int | None = None) -> StatedNoise | None:
    """What a network is to be told of photos like those that a profile was calibrated on; None where it knows no noise.

    Of a camera's noise by ISO that is what `nsp denoise` tells of a photo that says nothing of its own: less than was
    found, by as much as the next photo may be off it. Profiles of before know no error, and what they say is told.

    Args:
        iso: of a profile that knows several; None takes that of the photo in the middle.

    Raises:
        ProfileError: what its `profile.json` says is no noise of pixels in 0..1.
        UsageError: the profile knows nothing of this ISO.
    """
    if known := profile.camera_noise:
        return _stated(profile, known, iso)
    if iso is not None and profile.spec.noise:
        raise UsageError(f"--iso {iso}: profile {profile.name} knows one level of noise, of no stated ISO")
    return _from_curves(profile)


def prior_for(profile: Profile, camera: Camera) -> NoisePrior | None:
    """What a profile knows of the noise of a photo by this camera, at the photo's ISO.

    None where it knows nothing, for other cameras, where either states none, and without an ISO or for one outside the
    photos that it knows. The noise of photos that stated no ISO is that of the camera's photos of any ISO.
    """
    known, spec = profile.camera_noise, profile.spec
    if known is None:
        return None
    aliases = read_aliases(aliases_file())
    own = camera_name(Camera(spec.camera_make, spec.camera_model), aliases)
    return known.at(camera.iso) if own and camera_name(camera, aliases) == own else None


def isos_in_words(known: CameraNoise) -> str:
    """The ISO whose noise is known, such as "ISO 800 to 3200"."""
    low, high = known.isos[0], known.isos[-1]
    if low is None:
        return "any ISO"
    return f"ISO {low}" if low == high else f"ISO {low} to {high}"


def _stated(profile: Profile, known: CameraNoise, iso: int | None) -> StatedNoise:
    asked = known.usual_iso if iso is None else iso
    prior = known.at(asked)
    if (known.isos[0] is None and iso is not None) or prior is None:
        of = "photos that state none" if known.isos[0] is None else isos_in_words(known)
        raise UsageError(f"--iso {iso}: profile {profile.name} knows the noise of {of}")
    return StatedNoise(f"profile {profile.name}" + (f", ISO {asked}" if asked else ""), told_of(prior))


def told_of(prior: NoisePrior) -> NDArray[np.float32]:
    """The noise table (1, TABLE_ROWS, TABLE_NODES) that networks are told, as by `estimate_noise` of what it found."""
    return with_told(with_usual(prior.alone)).as_told.table


def _from_curves(profile: Profile) -> StatedNoise | None:
    """Of profiles of before, which know the noise of flat places, channel by channel."""
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
