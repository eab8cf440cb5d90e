"""How true the gain is that `nsp calibrate` claims: on simulated cameras, whose truth is known.

    python benchmarks/claims.py measure SCENES... --out CASES.jsonl [--cameras 12] [--steps 60] [--seed 0]
    python benchmarks/claims.py table CASES.jsonl

Each camera photographs scenes (clean photos, halved) and is calibrated on a few of its photos in few steps, some of
them badly. Each judged checkpoint is a case: what the photos kept out of training show, and by how much four other
photos of the camera are nearer to the truth. No photo of a real camera is looked at.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.publish import base_network
from nsp_pipeline.calibration.simulation.cameras import ShotRange, take_shot
from nsp_pipeline.calibration.simulation.noise_range import NoiseRange
from nsp_pipeline.calibration.simulation.processing import ProcessingRange
from nsp_pipeline.calibration.simulation.real_noise import PhotoNoise
from nsp_pipeline.calibration.student import own_judge, own_noise
from nsp_pipeline.calibration.student.claim import Measures, claimed
from nsp_pipeline.calibration.student.distill import teacher_of
from nsp_pipeline.calibration.student.own_judge import estimate, judged_by
from nsp_pipeline.calibration.student.own_noise import OwnNoiseObjective
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.student.suited import settings_for, start_for
from nsp_pipeline.calibration.training.judge import Judgement, Verdict, compare, compare_errors
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.calibration.training.photos import Photo, PhotoSet
from nsp_pipeline.cli.calibrate.plan import read_student
from nsp_pipeline.core.claim import Claim
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.choose import find_profile

Picture = NDArray[np.uint8]

HEIGHT, WIDTH = 512, 640
"""Of a photo of a simulated camera, in pixels."""

TRUE, SIDE = 4, 384
"""Photos of a camera that are compared with the truth, and the side of the middle that is."""

KNOWN = ShotRange(
    none_share=0.0,
    camera_share=0.6,
    developed_share=0.2,
    plain_sigma=(2.0, 20.0),
    camera=NoiseRange(jpeg_share=0.0, clean_share=0.0, softest=1.7, least_sigma=2.0, most_sigma=15.0),
)
"""Cameras such as `standard` learnt from: it has little to gain there, and much to lose."""

STRANGE = ShotRange(
    none_share=0.0,
    camera_share=0.7,
    developed_share=0.3,
    processed_share=1.0,
    jpeg_share=1.0,
    jpeg_quality=(50, 80),
    camera=NoiseRange(
        jpeg_share=0.0, clean_share=0.0, least_sigma=6.0, most_sigma=25.0, longest_blur=2.5, most_kept=4.0, softest=2.0
    ),
    processing=ProcessingRange(
        smoothed_share=0.7, strongest=5.0, again_share=0.5, sharpened_share=0.6, most_sharpened=3.0
    ),
)
"""Others, which it knows less: coarser and stronger noise, more of it in texture, smoothed, sharpened, worse JPEGs."""

FURTHER = 2.0, 4.0
"""What a training did to the weights is also done so many times over: students that have learnt too much."""


@dataclass(frozen=True)
class Way:
    """How a camera is calibrated: from how many photos, of what, and what is done wrong."""

    name: str
    photos: int = 5
    dull: bool = False
    overstated: float = 1.0
    taught: bool = False
    changes: tuple[tuple[str, Any], ...] = ()


WAYS = (
    Way("as it should be"),
    Way("three photos", photos=3),
    Way("ten photos", photos=10),
    Way("one dull scene", dull=True),
    Way("ten times too fast", changes=(("learning_rate", 1e-3),)),
    Way("noise overstated", overstated=1.5),
    Way("a teacher's", taught=True, changes=(("teacher_share", 0.5), ("teacher_crops", 24))),
    Way("without simulated cameras", changes=(("simulated_share", 0.0),)),
)


def main() -> None:
    """Measure cases, or compare those measured."""
    parser = argparse.ArgumentParser(description="Compare claimed gains with true ones.")
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("scenes", type=Path, nargs="+")
    measuring.add_argument("--out", type=Path, required=True)
    measuring.add_argument("--cameras", type=int, default=12)
    measuring.add_argument("--steps", type=int, default=60)
    measuring.add_argument("--seed", type=int, default=0)
    measuring.add_argument("--student", default="standard")
    measuring.set_defaults(run=measure)
    comparing = commands.add_parser("table")
    comparing.add_argument("cases", type=Path, nargs="+")
    comparing.set_defaults(run=table)
    asked = parser.parse_args()
    own_noise.JUDGED = 20  # each takes seconds, and there are many cases
    torch.set_num_threads(1)
    asked.run(asked)


@dataclass(frozen=True)
class Row:
    """A case: its true gain, what simulated noise promises with two standard errors, and the verdict of now."""

    true: float
    simulated: Claim
    verdict: Verdict

    @classmethod
    def of(cls, case: dict[str, Any]) -> "Row":
        """Judge a case by its measures as a calibration would now."""
        measures = Measures(**{name: np.array(part) for name, part in case["measures"].items()})
        measures = replace(measures, held_out=measures.held_out > 0)
        nothing = np.zeros(len(measures.rest))
        base = replace(measures, this=measures.first, rest=nothing, follows=nothing)
        found = judged_by(measures)
        first = compare_errors(found.mse, 0 * found.mse, found.what)
        simulated = Claim(first.gain, 2 * first.standard_error)
        return cls(float(np.mean(case["truth"])), simulated, compare(found, judged_by(base)))

    @property
    def claim(self) -> Claim:
        """What photos are said to gain."""
        assert self.verdict.claim
        return self.verdict.claim


def table(asked: argparse.Namespace) -> None:
    """Print each case with what is claimed of it now, and how many claims hold."""
    cases = [json.loads(line) for path in asked.cases for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [Row.of(case) for case in cases]
    for case, row in zip(cases, rows, strict=True):
        print(
            f"{case['camera']:3} {case['way']:26} {case['kind']:10} {case['network']:16} true {row.true:+.2f} dB, "
            f"simulated {row.simulated}, claimed {row.claim}{' accepted' if row.verdict.accepted else ''}"
            f"{'' if _holds(row.claim, row.true) else ' WRONG'}"
        )
    for what, chosen in {"all": rows, "said to gain by simulated noise": [r for r in rows if r.simulated.sure]}.items():
        before, now = (sum(_holds(getattr(row, kind), row.true) for row in chosen) for kind in ("simulated", "claim"))
        print(f"{what}: {before} of {len(chosen)} hold by simulated noise, {now} as claimed")
    gains = sorted(round(row.true, 2) for row in rows if row.verdict.accepted)
    print(f"accepted: {len(gains)}, which truly gain {gains}")


def _holds(claim: Claim, true: float) -> bool:
    return abs(claim.gain - true) <= claim.error


def measure(asked: argparse.Namespace) -> None:
    """Calibrate cameras, and append a line of JSON for each checkpoint."""
    scenes = find_photos(asked.scenes).paths
    for number in range(asked.seed, asked.seed + asked.cameras):
        way = WAYS[(0, *range(len(WAYS)))[number % (len(WAYS) + 1)]]
        for case in cases(number, way, scenes, (asked.student, asked.steps)):
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(case) + "\n")


def cases(number: int, way: Way, scenes: Sequence[Path], trained: tuple[str, int]) -> Iterator[dict[str, Any]]:
    """Calibrate one camera, and return what each checkpoint is and seems."""
    rng = np.random.default_rng([number, 15])
    shots, kind = photographed(way, scenes, rng, strange=number % 4 > 0)
    photos = [Photo(Path(f"{place}.png"), noisy, Camera()) for place, (noisy, _) in enumerate(shots[TRUE:])]
    kept = max(1, len(photos) // 10)
    own = PhotoSet(photos[kept:], photos[:kept], [])
    name, steps = trained
    student = read_student("camera", name, steps)
    assert student
    start = start_for(student.start, own.training)
    changes = {"judge_every": steps // 2, "seed": number, **dict(way.changes)}
    settings = settings_for(start, student.settings, own, unsmoothed=start is not student.start)
    settings = StudentSettings.model_validate({**settings.model_dump(), **changes})
    first = base_network(start, settings)
    teacher = teacher_of(find_profile("dbsn"), "cpu") if way.taught else None
    with overstated(way.overstated):
        pixels = [photo.pixels for photo in own.training], [photo.pixels for photo in own.held_out]
        watched = Watched(pixels, settings, deepcopy(first), "cpu", teacher, truth=Truth(shots[:TRUE], first))
        made = train(watched, settings, base=first, run=RunOptions()).network
        for times in FURTHER:
            watched.judge(further(first, made, times))
    said = {"camera": number, "way": way.name, "kind": kind, "network": start.path.name, "photos": len(photos)}
    # The best checkpoint is judged again in the end: once is enough.
    known = [seen["case"] for seen in watched.seen[1:]]
    yield from ({**said, **case} for place, case in enumerate(known) if case not in known[:place])


def photographed(
    way: Way, scenes: Sequence[Path], rng: np.random.Generator, *, strange: bool
) -> tuple[list[tuple[Picture, Picture]], str]:
    """Photos of one camera, noisy and clean: TRUE of any scene first, then those to calibrate on."""
    chosen = rng.choice(len(scenes), TRUE + (1 if way.dull else way.photos), replace=False)
    crops = [_scene(scenes[which], rng) for which in chosen]
    if way.dull:
        crops[-1:] = _dull(scenes[chosen[-1]], way.photos, rng)
    # One shot of all scenes together: whatever is drawn of the camera is then the same for all.
    sharp = torch.from_numpy(np.concatenate(crops)).permute(2, 0, 1)[None].float() / 255
    shot, kind = take_shot(sharp, STRANGE if strange else KNOWN, rng)
    noisy, clean = (
        (part[0].clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        for part in (shot.noisy, shot.clean)
    )
    rows = [slice(place * HEIGHT, (place + 1) * HEIGHT) for place in range(len(crops))]
    return [(noisy[row].copy(), clean[row].copy()) for row in rows], kind


def _scene(path: Path, rng: np.random.Generator) -> Picture:
    """A piece of a clean photo, twice as large as the photos that are made of it."""
    pixels = _large_enough(path)
    rows, columns = (have - need for have, need in zip(pixels.shape, (2 * HEIGHT, 2 * WIDTH), strict=False))
    return _piece(pixels, int(rng.integers(rows + 1)), int(rng.integers(columns + 1)))


def _dull(path: Path, count: int, rng: np.random.Generator) -> list[Picture]:
    """Pieces of one clean photo where it varies least."""
    pixels = _large_enough(path)
    rows, columns = (have - need for have, need in zip(pixels.shape, (2 * HEIGHT, 2 * WIDTH), strict=False))
    tried = [_piece(pixels, int(rng.integers(rows + 1)), int(rng.integers(columns + 1))) for _ in range(3 * count)]
    return sorted(tried, key=lambda piece: float(np.abs(np.diff(piece[::4, ::4].mean(2), axis=1)).mean()))[:count]


def _large_enough(path: Path) -> Picture:
    """A clean photo, mirrored at its edges where it is too small."""
    pixels = np.asarray(read_frame(path).pixels)
    lacking = [(0, max(0, need - have)) for have, need in zip(pixels.shape, (2 * HEIGHT, 2 * WIDTH), strict=False)]
    return np.pad(pixels, (*lacking, (0, 0)), mode="symmetric")


def _piece(pixels: Picture, top: int, left: int) -> Picture:
    return np.ascontiguousarray(pixels[top : top + 2 * HEIGHT, left : left + 2 * WIDTH])


def further(first: Backbone, made: Backbone, times: float) -> Backbone:
    """A network so many times as far from the first one as a training took it."""
    gone, start = deepcopy(made), first.state_dict()
    weights = {name: torch.lerp(start[name], value, times) for name, value in made.state_dict().items()}
    gone.load_state_dict(weights)
    return gone


@contextmanager
def overstated(times: float) -> Iterator[None]:
    """While this lasts, what flat places show is taken for so many times as strong."""
    draw = PhotoNoise.draw

    def stronger(noise: PhotoNoise, clean: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return times * draw(noise, clean, rng)

    with mock.patch.object(PhotoNoise, "draw", stronger):
        yield


class Truth:
    """The middles of photos whose truth is known, and how near to it networks come."""

    def __init__(self, shots: Sequence[tuple[Picture, Picture]], first: Backbone) -> None:
        self._shots = [
            (_middle(noisy), _middle(clean), torch.from_numpy(estimate_noise(noisy).table)) for noisy, clean in shots
        ]
        self._first = [self._psnr(first, *shot) for shot in self._shots]

    def gains(self, network: Backbone) -> list[float]:
        """PSNR gained on each photo, in dB."""
        return [self._psnr(network, *shot) - first for shot, first in zip(self._shots, self._first, strict=True)]

    @staticmethod
    def _psnr(network: Backbone, noisy: torch.Tensor, clean: torch.Tensor, table: torch.Tensor) -> float:
        made = (estimate(network, noisy, table).clamp(0, 1) * 255).round() / 255
        return float(-10 * ((made - clean) ** 2).mean().log10())


def _middle(pixels: Picture) -> torch.Tensor:
    top, left = ((have - SIDE) // 2 for have in pixels.shape[:2])
    part = np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1))
    return torch.from_numpy(part)[None].float() / 255


class Watched(OwnNoiseObjective):
    """The same objective, which notes the truth of every network that it judges, and what its judgement is made of."""

    def __init__(self, *arguments: Any, truth: Truth) -> None:
        super().__init__(*arguments)
        self._truth = truth
        self.seen: list[dict[str, Any]] = []

    def judge(self, network: Backbone) -> Judgement | None:
        """Judge as ever, and note what the judgement does not know."""
        with mock.patch.object(own_judge, "claimed", wraps=claimed) as asked:
            found = super().judge(network)
        (measures,) = asked.call_args.args
        kept = {name: [float(f"{value:.5g}") for value in part] for name, part in asdict(measures).items()}
        assert found
        verdict = compare(found, self.seen[0]["found"] if self.seen else found)
        truth = self._truth.gains(network)
        self.seen.append({"found": found, "case": {"truth": truth, "measures": kept}})
        print(f"{len(self.seen)}: true {np.mean(truth):+.3f}, claimed {found.claim}, {verdict.reason}", flush=True)
        return found


if __name__ == "__main__":
    main()
