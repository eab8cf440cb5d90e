"""What a calibrated profile has gained over its base, in the words that all who speak of it use."""

from nsp_pipeline.core.claim import NOTHING
from nsp_pipeline.profiles.spec import ScoreSpec


def is_of_a_camera(scores: ScoreSpec) -> bool:
    """Whether these are scores of a student that was trained further on a camera's photos."""
    return scores.measures is not None or scores.gain is not None


def gain_in_words(scores: ScoreSpec) -> str:
    """By how much it is better than its base, with the error, or that nothing was surely gained; in a clause."""
    judged = f"judged by {scores.held_out_photos} photo{'s' * (scores.held_out_photos != 1)} kept out of training"
    if not scores.accepted:
        return f"{NOTHING} over {scores.base}, whose weights it has ({judged})"
    if scores.claim:
        return f"photos gain {scores.claim} over {scores.base} ({judged})"
    if scores.measures is not None:
        return f"better than {scores.base}, by pairs of shots"
    return (
        f"{scores.gain:+.2f} ± {scores.gain_error or 0:.2f} dB over {scores.base} with simulated noise ({judged}); "
        "real photos gain a third of that, or less"
    )
