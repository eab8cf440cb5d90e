"""What the profile of a photo's camera knows of its noise, where that is the noise which networks see in it."""

from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.frames.development import domain_of
from nsp_pipeline.frames.frame import Camera, Kind
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.noise import prior_for


def known_noise(profile: Profile, kind: Kind, camera: Camera, raw_domain: str = "developed") -> NoisePrior | None:
    """What a profile knows beforehand of the noise of a photo that networks see as it is stored.

    None where it knows nothing of it: for photos of other cameras and ISO, for RAW where it was calibrated on pictures,
    or in another domain (see frames/development.py), and the other way round.

    Args:
        kind: of the photo's file.
        raw_domain: where the photo is denoised, should it be RAW.
    """
    stated = profile.spec.development
    if profile.camera_noise is None or (kind is Kind.RAW) != (stated is not None):
        return None
    # The planes of a mosaic are no picture: two are made of them (see mosaic.py).
    if stated and (raw_domain == "raw" or domain_of(stated) != raw_domain):
        return None
    return prior_for(profile, camera)
