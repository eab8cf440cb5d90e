"""Which photos have a profile of the user's already, that was made for their camera and ISO."""

from collections.abc import Collection

from nsp_pipeline.calibration.night.memory import NoiseProfile, noise_profiles
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX
from nsp_pipeline.profiles.choose import choose_profile


def fitting_profile(camera: Camera, for_noise: Collection[NoiseProfile] | None = None) -> str | None:
    """The name of the user's profile that `auto` takes for a camera and ISO; None where none was made for them.

    Nor where a night kept that profile for the camera's noise alone: better weights may come yet.

    Args:
        for_noise: those profiles, where somebody has asked for them already.
    """
    profile = choose_profile(camera, on_missing="skip").profile
    if profile is None:
        return None
    name = profile.path.name.removesuffix(BUNDLE_SUFFIX)
    known = noise_profiles() if for_noise is None else for_noise
    return None if NoiseProfile.of(profile, name) in known else name
