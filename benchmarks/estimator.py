"""How far off the noise estimator is: through `estimate_noise`, in simulated shots of pictures that it never saw.

    python benchmarks/estimator.py PICTURES... [--shots 60] [--seed 0]

PICTURES are folders of clean photographs; they are shrunk as scenes for training are. Of every shot the standard
deviation over channels and brightnesses is compared with the truth, at the brightnesses that the shot has. Cameras:
their own pictures, and light that is developed without smoothing. Without a flat patch: pieces in which every patch of
16 pixels varies by more than 2 of 255 about its plane, and surfaces, texture from edge to edge. White: noise of σ 2 to
40 of 255 on finished pictures, as they are stored.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.cameras import ShotRange, take_again
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.simulation.scenes import Scenes, clean_scene
from nsp_pipeline.calibration.simulation.shot import Shot, stored
from nsp_pipeline.calibration.simulation.surfaces import surface
from nsp_pipeline.core.noise import patch_statistics
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.noise.estimate import estimate_noise

SIDE, SMALL_SIDE = 512, 256
FLAT = 2 / 255
MOST_DRAWN = 4000
SIGMAS = 2, 5, 10, 25, 40
QUALITY = 85, 99
FAINT = 2
"""Of 255; noise that is weaker hardly shows."""

CAMERAS = {
    "cameras' own pictures": ShotRange(none_share=0, camera_share=1, developed_share=0),
    "developed light": ShotRange(none_share=0, camera_share=0, developed_share=1),
}
OF_EITHER = ShotRange(none_share=0, camera_share=0.5, developed_share=0.5)

Told = tuple[float, float]
"""A shot's true σ, of 255, and the error of the estimate as a share of it."""

Draw = Callable[[], torch.Tensor]
"""Gives a piece of a clean picture (1, 3, H, W) in 0..1."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--shots", type=int, default=60, help="Of each kind.")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    found = [clean_scene(read_frame(path).pixels) for path in find_photos(asked.pictures).paths]
    scenes = [scene for scene in found if scene is not None]
    print(f"{len(scenes)} of {len(found)} pictures")
    drawn = Scenes(scenes, [1.0] * len(scenes), at_full_size=True)
    for name, chosen in CAMERAS.items():
        tell(name, (off(take_again(drawn.draw(SIDE, rng), chosen, rng)) for _ in range(asked.shots)))
    textured = list(without_flat_patch(lambda: drawn.draw(SMALL_SIDE, rng), asked.shots))
    tell("without a flat patch", (off(take_again(piece, OF_EITHER, rng)) for piece in textured))
    surfaces = (surface(drawn.draw(SMALL_SIDE, rng), rng) for _ in range(asked.shots))
    tell("surfaces", (off(take_again(piece, OF_EITHER, rng)) for piece in surfaces))
    for sigma in SIGMAS:
        for name, store in STORED.items():
            shots = (with_white(drawn.draw(SIDE, rng), sigma / 255, rng) for _ in range(max(1, asked.shots // 4)))
            tell(f"white σ {sigma}, {name}", (store(shot, rng) for shot in shots))


def tell(name: str, told: Iterator[Told]) -> None:
    """Print what the errors of a kind of shots come to, and of those with noise above FAINT alone."""
    both = np.array(list(told)).reshape(-1, 2)
    truth, error = both.T
    if not len(error):
        print(f"{name}: there is no such piece")
        return
    size, strong = np.abs(error), truth > FAINT
    of_strong = f"; of {strong.sum()} above {FAINT} {100 * np.median(size[strong]):.1f} %" if strong.any() else ""
    print(
        f"{name}, {len(error)} shots: median error {100 * np.median(size):.1f} %, of nine in ten below "
        f"{100 * np.quantile(size, 0.9):.0f} %; too much by {100 * np.median(error):+.1f} % (median){of_strong}",
        flush=True,
    )


def off(shot: Shot, bits: int = 8) -> Told:
    """The true σ, and by which share of it the estimate is too much."""
    top = 2**bits - 1
    pixels = np.rint(_as_picture(shot.noisy) * top).astype(f"uint{bits}")
    said = estimate_noise(pixels)
    table = noise_tables(shot.clean + shot.flat, shot.clean, torch.ones(1, 1, 1, 1))[0].numpy()
    truth = np.sqrt(np.average(table[0] ** 2 + table[2] ** 2, weights=said.share)) * 255
    return float(truth), float(said.sigma / truth - 1)


def without_flat_patch(draw: Draw, count: int) -> Iterator[torch.Tensor]:
    """Pieces in which nothing is flat; fewer where MOST_DRAWN hold no more."""
    for _ in range(MOST_DRAWN):
        piece = draw()
        strips = _as_picture(piece).reshape(-1, 16, piece.shape[3], 3)
        brightness, variance, _ = patch_statistics(strips)
        if np.isfinite(brightness).all() and variance.mean(1).min() > FLAT**2:
            yield piece
            count -= 1
            if not count:
                return


def with_white(scene: torch.Tensor, sigma: float, rng: np.random.Generator) -> Shot:
    """White noise on a picture; what is cut off at black and white is gone."""
    noise = torch.from_numpy(rng.normal(0, sigma, scene.shape).astype(np.float32))
    noisy = (scene + noise).clamp(0, 1)
    return Shot(noisy, scene, noisy - scene)


def grey(shot: Shot) -> Shot:
    """The first channel in all three."""
    return Shot(*(part[:, :1].expand(part.shape) for part in (shot.noisy, shot.clean, shot.flat)))


STORED: dict[str, Callable[[Shot, np.random.Generator], Told]] = {
    "8 bits": lambda shot, _: off(shot),
    "16 bits": lambda shot, _: off(shot, 16),
    "grey": lambda shot, _: off(grey(shot)),
    "JPEG": lambda shot, rng: off(stored(shot, rng, jpeg_share=1, quality=QUALITY)),
}


def _as_picture(image: torch.Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy(), dtype=np.float32)


if __name__ == "__main__":
    main()
