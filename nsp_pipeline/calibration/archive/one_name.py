"""Cameras of several makers that the user's table of names gives one name: their noise is not one's."""

from collections.abc import Iterable, Mapping

from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import camera_name


def of_several_makers(cameras: Iterable[Camera], aliases: Mapping[str, str]) -> dict[str, str]:
    """The names that stand for cameras of several makers, each with the reason why no profile is made of it.

    Args:
        cameras: as the photos say them.
        aliases: the user's own names for cameras.
    """
    makers: dict[str, dict[str, str]] = {}
    for camera in cameras:
        name, maker = camera_name(camera, aliases), (camera.make or "").split()
        if name and maker:
            makers.setdefault(name, {}).setdefault(maker[0].casefold(), camera_name(camera, {}) or "")
    return {
        name: f"cameras.toml gives this name to {' and '.join(own.values())}, whose noise differs: name them apart"
        for name, own in makers.items()
        if len(own) > 1
    }
