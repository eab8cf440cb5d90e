"""`CARD.md`: what a person should know of a profile before using it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import camera_name
from nsp_pipeline.profiles.bundle import UNSMOOTHED_FILE, WHITE_FILE, Profile
from nsp_pipeline.profiles.gains import gain_in_words, is_of_a_camera
from nsp_pipeline.profiles.spec import InferenceSpec, ScoreSpec

BARS = "▁▂▃▄▅▆▇█"
SOME_COPIES = 2
"""A profile with a larger self-ensemble than this is not called fast."""


OTHERS = "\n## Networks for other noise\n\n"
INNER = {
    UNSMOOTHED_FILE: "photos whose noise nobody has smoothed: developed RAW",
    WHITE_FILE: "photos whose noise is white: scans, stars, pictures that were made smaller",
}


def other_networks(inner: Sequence[Profile]) -> str:
    """What a card says of the profiles in a bundle that make photos with other noise."""
    lines = [
        f"- `{profile.path.name}` makes {INNER[profile.path.name]}. It is a profile of its own. "
        f"Trained on {profile.spec.data.origin}. Licence: {profile.spec.data.licence}.\n"
        for profile in inner
    ]
    return OTHERS + "".join(lines) if lines else ""


def profile_card(fields: Mapping[str, Any]) -> str:
    """Write the card of a profile from the fields of its `profile.json` (without schema version and hashes)."""
    training, data, scores = fields["training"], fields["data"], fields["scores"]
    pairs, backbone = fields["pairs"], fields["backbone"]
    camera = camera_name(Camera(fields["camera_make"], fields["camera_model"]), {}) or "several cameras"
    isos = _isos(fields["iso_min"], fields["iso_max"])
    sizes = ", ".join(f"{key} {value}" for key, value in backbone["sizes"].items())
    settings = "\n".join(f"- {key}: {value}" for key, value in training["settings"].items())
    return f"""# {fields["name"]}

{_kind(fields, camera, isos)}

| | |
|---|---|
| photos | {data["photos"]}: {data["origin"]} |
| licence | {data["licence"]} |
| network | {backbone["name"]} ({sizes}), halo {backbone["halo"]} pixels |
| pairs | {_pairs(pairs)} |
| PD at inference | {_inference(fields)} |
{_noise(fields)}| training | {training["steps"]} steps in {training["seconds"]:.0f} s, nsp {training["version"]} |

## Score

{_scores(scores)}

{"No clean photo was seen, in training or in choosing anything." if _from_noisy_alone(fields) else ""}

## Limits

Fitted to the noise of the photos above, as their camera stored them. Photos of other cameras, or developed otherwise,
may keep some noise or lose fine texture; `--strength` sets how much is removed.

## Settings

{settings}
"""


def _isos(least: int | None, most: int | None) -> str:
    if not least:
        return "ISO unknown"
    return f"ISO {least}" if least == most else f"ISO {least} to {most}"


def _kind(fields: Mapping[str, Any], camera: str, isos: str) -> str:
    if fields["pairs"] and not _from_noisy_alone(fields) and not fields["scores"].get("base"):
        return (
            "A blind-spot network that calibrations start from (`nsp calibrate`). It learnt Next-Scale Prediction from "
            "simulated shots of clean pictures, and belongs to no camera."
        )
    if fields["pairs"]:
        trained = "trained from noisy photos alone by Next-Scale Prediction"
        if not _from_noisy_alone(fields):
            trained = (
                "trained from noisy photos by Next-Scale Prediction. What it started from had learnt from simulated "
                "shots of clean pictures"
            )
        return f"A denoiser for photos of **{camera}**, {isos}, {trained}."
    made_for = f"photos of **{camera}**, {isos}" if fields["camera_model"] else "photos of any camera"
    copies = InferenceSpec.model_validate(fields["inference"]).self_ensemble
    if copies > SOME_COPIES:
        return (
            f"A denoiser (a student that sees every pixel) for {made_for}, and for those that matter most: the mean "
            f"over {copies} rotated and mirrored copies, {copies} times as slow as one and a little better."
        )
    return f"A small and fast denoiser (a student that sees every pixel) for {made_for}."


def _from_noisy_alone(fields: Mapping[str, Any]) -> bool:
    """Whether no clean picture was seen, by what training started from either."""
    return bool(fields["pairs"]) and not fields["pairs"].get("clean_targets")


def _pairs(pairs: Mapping[str, Any] | None) -> str:
    if pairs is None:
        return "none: it learnt from clean pictures with noise put onto them, and from a teacher where there was one"
    return f"s {pairs['s']}, t {pairs['t']}, n {pairs['n']}, {pairs['strategy']}"


def _inference(fields: Mapping[str, Any]) -> str:
    """How the network is run, and what each way leaves."""
    way = InferenceSpec.model_validate(fields["inference"]).in_words
    errors = fields["scores"].get("inference_errors") or {}
    listed = "; ".join(f"{name} {error:.3g}" for name, error in errors.items())
    return f"{way} (squared error, 0..1, estimated on noisy photos: {listed})" if listed else way


def _noise(fields: Mapping[str, Any]) -> str:
    """Rows of the table: σ from dark to bright, and correlation by distance, each as numbers and as a row of bars."""
    if not fields.get("noise"):
        return ""
    rows = []
    for name, channel in zip(("red", "green", "blue"), fields["noise"], strict=False):
        levels = [255 * max(0.0, variance) ** 0.5 for variance in channel["variance"]]
        dark, bright = (255 * channel["brightness"][end] for end in (0, -1))
        level = f"{levels[0]:.1f} to {levels[-1]:.1f} from brightness {dark:.0f} to {bright:.0f}, of 255"
        rows.append(f"| noise σ, {name} | {_bars(levels, max(levels))} {level} |")
    shared = fields["noise_correlation"]
    rows.append(
        f"| noise shared 1 to {len(shared)} pixels apart | {_bars(shared, 1.0)} {shared[0]:.2f} to {shared[-1]:.2f} |"
    )
    return "\n".join(rows) + "\n"


def _bars(values: Sequence[float], most: float) -> str:
    """One block of up to eight eighths for each value."""
    return (
        "".join(BARS[min(7, max(0, int(8 * value / most)))] for value in values) if most > 0 else BARS[0] * len(values)
    )


def _scores(scores: Mapping[str, Any]) -> str:
    """What was measured on held-out photos, as sentences and a list."""
    lines = _measured(scores)
    if scores.get("pair_gain") is not None:
        lines += ["", f"On pairs of shots of one scene: {scores['pair_gain']:+.2f} dB over a single shot."]
    if "base" in scores:
        verdict = "Accepted" if scores["accepted"] else f"Not accepted, so these are the weights of {scores['base']}"
        lines += ["", f"**{verdict}**: {scores['verdict']}."]
    return "\n".join(lines)


def _measured(scores: Mapping[str, Any]) -> list[str]:
    if "noise_left" in scores:
        return [
            f"On crops of {scores['held_out_photos']} photos kept out of training, with simulated noise, "
            f"{scores['noise_left']:.3f} of the noise (RMS) is left; colour drift at most {scores['drift']:.2f}/255."
        ]
    spec = ScoreSpec.model_validate(scores)
    if is_of_a_camera(spec):
        lines = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in [gain_in_words(spec)]]
        if spec.measures:
            lines += ["", "What each measure says of crops, with its standard error; photos gain a part of that:", ""]
            lines += [f"- {gain:+.2f} ± {error:.2f} {what}" for what, (gain, error) in spec.measures.items()]
        return lines
    if "noisy_mse" not in scores:
        return ["No photo could be kept out of training, so there is no score."]
    lines = [
        f"On {scores['held_out_photos']} photos kept out of training, against the noisy photo itself "
        "(values 0..1; the errors contain its noise, so they are never near zero):",
        "",
        f"- mean squared error {scores['noisy_mse']:.6f}, mean absolute error {scores['noisy_l1']:.5f}",
        f"- colour drift at most {scores['drift']:.2f} of 255",
    ]
    if "leak" in scores:
        lines.append(
            f"- residual in flat places {scores['leak']:.2f} of the noise variance measured there (near 1 is right; "
            "well below it, noise leaks from input to target), at the strongest edges "
            f"{scores.get('edges', float('nan')):.2f} times that"
        )
    return lines
