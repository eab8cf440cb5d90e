"""What `nsp scan` says of the time that a calibration would take here."""

from importlib.util import find_spec

from nsp_pipeline.cli.calibrate.plan import read_settings
from nsp_pipeline.cli.shared.training import usable

USUAL_RECIPE = "camera"


def usual_seconds() -> float | None:
    """How long `nsp calibrate` trains with its usual recipe on this machine, by trying; None without PyTorch."""
    if find_spec("torch") is None:
        return None
    from nsp_pipeline.calibration.next_scale.how_long import training_seconds

    settings, _, _ = read_settings(USUAL_RECIPE, None, {})
    return training_seconds(settings, usable("auto", None))
