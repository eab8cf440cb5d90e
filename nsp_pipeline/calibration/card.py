"""`CARD.md`: what a person should know of a profile before using it."""

from collections.abc import Mapping
from typing import Any


def profile_card(fields: Mapping[str, Any]) -> str:
    """Write the card of a profile from the fields of its `profile.json` (without schema version and hashes)."""
    training, data, scores = fields["training"], fields["data"], fields["scores"]
    pairs, backbone = fields["pairs"], fields["backbone"]
    camera = " ".join(part for part in (fields["camera_make"], fields["camera_model"]) if part) or "several cameras"
    isos = f"ISO {fields['iso_min']} to {fields['iso_max']}" if fields["iso_min"] else "ISO unknown"
    sizes = ", ".join(f"{key} {value}" for key, value in backbone["sizes"].items())
    held_out = (
        f"mean L1 between prediction and noisy target on {scores['held_out_photos']} photos kept out of training: "
        f"{scores['noisy_l1']:.5f} (values 0..1; it contains the noise itself, so it is never near zero)"
        if scores["noisy_l1"] is not None
        else "no photo could be kept out of training, so there is no score"
    )
    settings = "\n".join(f"- {key}: {value}" for key, value in training["settings"].items())
    return f"""# {fields["name"]}

A denoiser for photos of **{camera}**, {isos}, trained from noisy photos alone by Next-Scale Prediction.

| | |
|---|---|
| photos | {data["photos"]}: {data["origin"]} |
| licence | {data["licence"]} |
| network | {backbone["name"]} ({sizes}), halo {backbone["halo"]} pixels |
| pairs | s {pairs["s"]}, t {pairs["t"]}, n {pairs["n"]}, {pairs["strategy"]} |
| PD at inference | {fields["inference"]["pd_factor"]} |
| training | {training["steps"]} steps in {training["seconds"]:.0f} s, nsp {training["version"]} |

## Score

{held_out[0].upper()}{held_out[1:]}.

No clean photo was seen, in training or in choosing anything.

## Limits

Fitted to the noise of the photos above, as their camera stored them. Photos of other cameras, or developed otherwise,
may keep some noise or lose fine texture; `--strength` sets how much is removed.

## Settings

{settings}
"""
