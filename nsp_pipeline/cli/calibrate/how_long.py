"""What `nsp scan` says of the time that a calibration would take here."""

from importlib.util import find_spec

from nsp_pipeline.cli.calibrate.plan import USUAL_RECIPE, read_student
from nsp_pipeline.cli.shared.training import usable


def usual_seconds() -> float | None:
    """How long `nsp calibrate` trains with its usual recipe on this machine, by trying; None without PyTorch."""
    if find_spec("torch") is None:
        return None
    from nsp_pipeline.calibration.publish import base_network
    from nsp_pipeline.calibration.student.how_long import training_seconds

    student = read_student(USUAL_RECIPE, None, None)
    assert student
    return training_seconds(student.settings, base_network(student.start, student.settings), usable("auto", None))
