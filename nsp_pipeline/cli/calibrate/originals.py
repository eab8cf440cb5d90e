"""Which of the photos of one calibration are originals of one camera, and what is said of the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from nsp_pipeline.calibration.archive.groups import is_edited, read_headers
from nsp_pipeline.calibration.archive.one_name import of_several_makers
from nsp_pipeline.cli.calibrate.reading import FEWEST
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import camera_name

SHOWN = 4
"""Cameras that are named."""


def originals(console: Console, files: Sequence[Path], aliases: Mapping[str, str]) -> Sequence[Path]:
    """The photos without those that a program changed or resized, whose noise is no longer the camera's.

    All of them where too few would be left. Says which were left out, and where photos are of several cameras: they
    are learnt from together.

    All headers are read, whatever time there is: processes that train together, and a training that goes on, must take
    the same photos. Files that cannot be read are kept: opening them later gives the reason.

    Args:
        aliases: the user's own names for cameras.
    """
    headers, _ = read_headers(files)
    edited = {path for path, facts in headers if is_edited(facts)}
    kept = [path for path in files if path not in edited]
    photos = f"{len(edited)} photo{'s' * (len(edited) != 1)}, such as {printable(min(edited))}" if edited else ""
    if edited and len(headers) - len(edited) < FEWEST:
        if len(headers) > len(edited):
            say(console, f"{photos}: a program changed or resized them, but without them too few are left")
        kept = list(files)
    elif edited:
        say(console, f"left out: {photos}: a program changed or resized them, so their noise is no longer the camera's")
    used = set(kept)
    _say_cameras(console, [facts.camera for path, facts in headers if path in used], aliases)
    return kept


def _say_cameras(console: Console, cameras: Sequence[Camera], aliases: Mapping[str, str]) -> None:
    """Warn where a profile would be of several cameras, and of none."""
    counted = Counter(name for camera in cameras if (name := camera_name(camera, aliases)))
    if len(counted) > 1:
        named = ", ".join(f"{name} ({count})" for name, count in counted.most_common(SHOWN))
        more = f" and {len(counted) - SHOWN} more" if len(counted) > SHOWN else ""
        say(
            console,
            f"photos of {len(counted)} cameras are learnt from together: {named}{more}. nsp denoise takes such a "
            "profile only by its name; --camera chooses one of them, --split camera makes a profile for each",
            style="yellow",
        )
    for name, trouble in of_several_makers(cameras, aliases).items():
        say(console, f"{name}: {trouble}", style="yellow")
