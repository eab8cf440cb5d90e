"""What calibrating to real cameras is worth: the verdict and the claim, and by ground truth the weights they are of.

    python benchmarks/calibrations.py measure NAME --noisy DIR --clean DIR --work DIR --out CASES.jsonl [--max-time 15m]
    python benchmarks/calibrations.py table CASES.jsonl

A case is a calibration as `nsp calibrate` makes it, on the photos of --noisy without those that have ground truth in
--clean; with --from-pairs on the noisy photos of the pairs themselves, with --photos N on so many of them. The pairs
are then made through `nsp.Denoiser` with what ships, with the same weights and what is known of the camera's noise, and
with that and the trained weights, also where these were refused: whole, their middle 512×512, and halved and enlarged
again. A line of JSON is printed and appended to --out. Cut off, the same command goes on from the last checkpoint.

The table says what each case came to, how claim and measures rank the true gains, and how many claims hold.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import safetensors.torch
from promises import halved_pairs
from quality_sets import SIDE, Picture, middle
from rich.console import Console
from scipy.stats import spearmanr

import nsp_pipeline as nsp
from nsp_pipeline.calibration.together.finish import exported_anew
from nsp_pipeline.calibration.training.loop import Trained
from nsp_pipeline.cli.calibrate.command import usual_plan
from nsp_pipeline.cli.calibrate.one import calibrate_one
from nsp_pipeline.cli.calibrate.originals import originals
from nsp_pipeline.cli.shared.exporting import make_onnx
from nsp_pipeline.cli.shared.quantities import DurationType
from nsp_pipeline.cli.shared.training import without_ground_truth
from nsp_pipeline.cli.shared.training_folder import has_checkpoint
from nsp_pipeline.core.claim import Claim
from nsp_pipeline.evaluation.datasets.pairs import Pair, find_pairs
from nsp_pipeline.evaluation.metrics import psnr, ssim, to_eight_bit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.frames.read import read_camera
from nsp_pipeline.profiles.bundle import INNER_FILES, WEIGHTS_FILE, Profile, load_profile, write_profile
from nsp_pipeline.profiles.choose import find_profile

SHIPS, KNOWS, TRAINED = "ships", "knows the noise", "trained"
"""What is compared: the student that ships, the same told what is known of the camera, and that with trained weights.
A profile is the third where the trained weights were accepted, else the second."""

WHOLE, MIDDLE, ENLARGED = "whole", "middle", "enlarged"

WEIGHTS, NOTES = "trained.safetensors", "trained.json"
"""What is kept of a training in the case's folder before the profile appears, which may not hold it."""

Scores = dict[str, dict[str, dict[str, tuple[float, float]]]]
"""PSNR in dB and SSIM, by how a photo is looked at, by what made it, by its name."""


def main() -> None:
    """Measure a case, or print those measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("name", help="of the case")
    for folder in ("noisy", "clean", "work"):
        measuring.add_argument(f"--{folder}", type=Path, required=True)
    measuring.add_argument("--out", type=Path, required=True, help="file that a line is appended to")
    measuring.add_argument("--from-pairs", action="store_true")
    measuring.add_argument("--photos", type=int, help="learn from so many, taken evenly")
    measuring.add_argument("--max-time", default="15m")
    measuring.add_argument("--student", default="standard")
    measuring.add_argument("--device", default="auto")
    measuring.add_argument("--engine", default="onnx")
    measuring.set_defaults(run=measure)
    printing = commands.add_parser("table")
    printing.add_argument("cases", type=Path, nargs="+")
    printing.set_defaults(run=table)
    asked = parser.parse_args()
    asked.run(asked)


def measure(asked: argparse.Namespace) -> None:
    """Calibrate, score, and say what came of it, unless that is known already."""
    if asked.out.exists() and any(case["case"] == asked.name for case in read_cases([asked.out])):
        raise SystemExit(f"{asked.out} holds {asked.name} already")
    pairs = find_pairs(asked.noisy, asked.clean)
    measured = {pair.noisy for pair in pairs}
    photos = [path for path in find_photos([asked.noisy]).paths if (path in measured) == asked.from_pairs]
    profile = calibrated(some_of(photos, asked.photos), asked)
    folder = asked.work / asked.name
    contenders = {SHIPS: find_profile(asked.student)}
    with TemporaryDirectory() as temporary:
        accepted = bool(profile.spec.scores.accepted)
        first = trained_part(profile, contenders[SHIPS]).read(WEIGHTS_FILE)
        other = first if accepted else (folder / WEIGHTS).read_bytes()
        swapped = with_weights(profile, other, Path(temporary) / "other.nsp")
        contenders |= {KNOWS: swapped, TRAINED: profile} if accepted else {KNOWS: profile, TRAINED: swapped}
        scores = scored(contenders, pairs, asked)
    found = profile.spec.scores
    case = {
        "case": asked.name,
        "student": asked.student,
        "photos": profile.spec.data.photos,
        "held_out": found.held_out_photos,
        "seconds": profile.spec.training.seconds,
        **json.loads((folder / NOTES).read_text(encoding="utf-8")),
        "accepted": accepted,
        "verdict": found.verdict,
        "measures": found.measures or {},
        "scores": scores,
    }
    line = json.dumps(case)
    with asked.out.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line)


def some_of(photos: Sequence[Path], count: int | None) -> list[Path]:
    """So many of the photos, evenly from all parts of the list; None: all of them."""
    ordered = sorted(photos)
    return (
        ordered
        if count is None or count >= len(ordered)
        else [ordered[place * len(ordered) // count] for place in range(count)]
    )


def calibrated(photos: Sequence[Path], asked: argparse.Namespace) -> Profile:
    """The profile that `nsp calibrate` makes of the photos; what it trained stays in the case's folder."""
    folder = asked.work / asked.name
    out = folder / f"{asked.name}.nsp"
    if out.exists():
        return load_profile(out)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(trained: Trained) -> None:
        weights = {name: part.contiguous() for name, part in trained.network.state_dict().items()}
        safetensors.torch.save_file(weights, folder / WEIGHTS)
        claim = trained.judgement.claim if trained.judgement else None
        said = [claim.gain, claim.error] if claim else None
        notes = {"steps": trained.steps, "best_step": trained.best_step, "claim": said}
        (folder / NOTES).write_text(json.dumps(notes), encoding="utf-8")

    console = Console(stderr=True)
    files = originals(console, without_ground_truth(console, list(photos)), read_aliases(aliases_file()))
    seconds = DurationType().convert(asked.max_time, None, None)
    plan = usual_plan(files, student=asked.student, max_time=seconds, device=asked.device, resume=has_checkpoint(out))
    made = calibrate_one(replace(plan, since=time.monotonic()), files, out, on_trained=keep)
    assert made.profile
    if made.stopped:
        out.unlink()  # of a training that was not over
        raise SystemExit(f"{asked.name} was stopped; the same command goes on with it")
    return made.profile


def trained_part(profile: Profile, ships: Profile) -> Profile:
    """Of a profile that ships the network that a calibration to `profile` started from."""
    file = _trained(profile).path.name
    return next((part for part in ships.inner if part.path.name == file), ships)


def _trained(profile: Profile) -> Profile:
    """The network that was trained, or would have been taken: the profile's own, or one inside it, of its name."""
    return next((part for part in profile.inner if part.name == profile.name), profile)


def with_weights(profile: Profile, weights: bytes, target: Path) -> Profile:
    """Write the profile with other weights in the network that its calibration was about; all else stays."""
    part = _trained(profile)
    content = {file: data for file, data in part.content.items() if file not in INNER_FILES.values()}
    hashes = {**part.spec.files, WEIGHTS_FILE: hashlib.sha256(weights).hexdigest()}
    changed = replace(
        part, content={**content, WEIGHTS_FILE: weights}, spec=part.spec.model_copy(update={"files": hashes})
    )
    with TemporaryDirectory() as folder:
        made = exported_anew(changed, Path(folder) / part.path.name, make_onnx)
        files = made.content if part is profile else {part.path.name: made.path.read_bytes()}
        fields = profile.spec.model_dump(exclude={"schema_version", "files"})
        return write_profile(target, fields, {**profile.content, **files})


def scored(contenders: Mapping[str, Profile], pairs: Sequence[Pair], asked: argparse.Namespace) -> Scores:
    """How near each comes to the truth of each pair."""
    scores: Scores = {view: {name: {} for name in contenders} for view in (WHOLE, MIDDLE)}
    for name, profile in contenders.items():
        for camera, shots in groupby(pairs, lambda pair: read_camera(pair.noisy)):
            with nsp.Denoiser(profile, engine=asked.engine, camera=camera) as denoiser:
                for pair in shots:
                    noisy, clean = (np.asarray(to_eight_bit(pixels)) for pixels in pair.load())
                    for view, seen, truth in views(noisy, clean):
                        scores[view][name][pair.name] = near(denoiser, seen, truth)
    # A photo that was halved is none of its camera, and nothing is known of its noise.
    scores[ENLARGED] = {SHIPS: {}, TRAINED: {}}
    for name, found in scores[ENLARGED].items():
        with nsp.Denoiser(contenders[name], engine=asked.engine, mode="sr-direct") as denoiser:
            for photo, small, truth in halved_pairs(asked.noisy, asked.clean):
                found[photo] = near(denoiser, small, truth)
    return scores


def views(noisy: Picture, clean: Picture) -> Iterator[tuple[str, Picture, Picture]]:
    """A photo whole, and its middle where that is less."""
    yield WHOLE, noisy, clean
    if min(noisy.shape[:2]) > SIDE:
        yield MIDDLE, middle(noisy, SIDE), middle(clean, SIDE)


def near(denoiser: nsp.Denoiser, noisy: Picture, truth: Picture) -> tuple[float, float]:
    """PSNR in dB and SSIM of what it makes."""
    made = to_eight_bit(denoiser.denoise(noisy))
    return round(psnr(made, truth), 4), round(ssim(made, truth), 5)


def read_cases(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The cases of all lines of files."""
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Case:
    """What is known of a calibration."""

    said: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.said["case"])

    @property
    def accepted(self) -> bool:
        return bool(self.said["accepted"])

    @property
    def claim(self) -> Claim | None:
        return Claim(*self.said["claim"]) if self.said["claim"] else None

    def mean(self, view: str, name: str) -> tuple[float, float] | None:
        """Mean PSNR and SSIM over the photos; None where none was looked at so."""
        found = list(self.said["scores"][view][name].values())
        return (float(np.mean([one[0] for one in found])), float(np.mean([one[1] for one in found]))) if found else None

    def true(self, view: str) -> float | None:
        """By how much the trained weights are nearer to the truth, what is known of the noise being equal, in dB."""
        trained, before = self.mean(view, TRAINED), self.mean(view, KNOWS)
        return trained[0] - before[0] if trained and before else None

    def foretold(self) -> dict[str, float]:
        """What was said before the truth was looked at, in dB: the claim, and each measure."""
        claim = {"claim": self.claim.gain} if self.claim else {}
        return claim | {what: gain for what, (gain, _) in self.said["measures"].items()}

    @property
    def holds(self) -> bool | None:
        """Whether whole photos gain what is claimed, within its error; None where nothing is."""
        true = self.true(WHOLE)
        return None if self.claim is None or true is None else abs(self.claim.gain - true) <= self.claim.error


def table(asked: argparse.Namespace) -> None:
    """Print what all cases came to."""
    print("\n".join(table_lines([Case(said) for said in read_cases(asked.cases)])))


def table_lines(cases: Sequence[Case]) -> list[str]:
    """Two tables in Markdown, and two sentences."""
    columns = [
        "case",
        "photos + kept out",
        "steps",
        "verdict",
        "claim, dB",
        WHOLE,
        MIDDLE,
        ENLARGED,
        "the trained weights alone",
    ]
    lines = _row(columns) + _row(["---"] * len(columns))
    for case in cases:
        profile = TRAINED if case.accepted else KNOWS
        seen = [_change(case.mean(view, SHIPS), case.mean(view, profile)) for view in (WHOLE, MIDDLE)]
        # Refused weights enlarge nothing.
        enlarged = case.mean(ENLARGED, TRAINED if case.accepted else SHIPS)
        lines += _row(
            [
                case.name,
                f"{case.said['photos']} + {case.said['held_out']}",
                f"{case.said['best_step']} of {case.said['steps']}",
                "accepted" if case.accepted else "refused",
                f"{case.claim.gain:+.2f} ± {case.claim.error:.2f}" if case.claim else "",
                *seen,
                _change(case.mean(ENLARGED, SHIPS), enlarged),
                "; ".join(f"{view} {true:+.2f}" for view in (WHOLE, MIDDLE) if (true := case.true(view)) is not None),
            ]
        )
    return [*lines, "", *_ranks(cases), "", *_sentences(cases)]


def _ranks(cases: Sequence[Case]) -> list[str]:
    """How what was foretold ranks the true gains of the trained weights."""
    lines = _row(["rank correlation with the true gain (Spearman)", "cases", WHOLE, MIDDLE]) + _row(["---"] * 4)
    for what in dict.fromkeys(what for case in cases for what in case.foretold()):
        told = [case for case in cases if what in case.foretold()]
        lines += _row([what, str(len(told)), *(_rank(told, what, view) for view in (WHOLE, MIDDLE))])
    return lines


def _rank(cases: Sequence[Case], what: str, view: str) -> str:
    known = [(case.foretold()[what], true) for case in cases if (true := case.true(view)) is not None]
    found = float(spearmanr(*zip(*known, strict=True)).statistic) if len(known) > 2 else float("nan")
    return "" if np.isnan(found) else f"{found:+.2f}"


def _sentences(cases: Sequence[Case]) -> list[str]:
    held = [case.holds for case in cases if case.holds is not None]
    said = f"{sum(held)} of {len(held)} claims hold (whole photos)"
    gains = {case.name: true for case in cases if case.accepted and (true := case.true(WHOLE)) is not None}
    if not gains:
        return [f"{said}. None was accepted."]
    worst = min(gains, key=gains.__getitem__)
    of_these = sum(case.holds is True for case in cases if case.accepted)
    return [
        f"{said}, {of_these} of the {len(gains)} of accepted weights. The worst of these, {worst}, truly gain "
        f"{gains[worst]:+.2f} dB."
    ]


def _change(before: tuple[float, float] | None, after: tuple[float, float] | None) -> str:
    if before is None or after is None:
        return ""
    return f"{before[0]:.2f} / {before[1]:.4f} → {after[0]:.2f} / {after[1]:.4f} ({after[0] - before[0]:+.2f})"


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


if __name__ == "__main__":
    main()
