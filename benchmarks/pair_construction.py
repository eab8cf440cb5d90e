"""Pair construction, vectorised against a loop over patches, side by side in one run.

    python benchmarks/pair_construction.py [--repeats N]

Batch of 16×3×160×160, s = 5, t = 2, n = 1, `consecutive`: the paper's training step.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.core.pairs import PairGeometry, Strategy, construct_pairs

S, T = 5, 2


def main() -> None:
    """Time both, alternating, and print the best of each and their ratio."""
    parser = argparse.ArgumentParser(description="Time pair construction.")
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    images = torch.rand(16, 3, 160, 160)
    geometry = PairGeometry(S, T, 1, Strategy.CONSECUTIVE)
    rng, numpy_dice = torch.Generator().manual_seed(0), np.random.default_rng(0)

    vectorised, looped = [], []
    for turn in range(repeats):
        vectorised.append(seconds(lambda: construct_pairs(images, geometry, rng)))
        if turn % 5 == 0:
            looped.append(seconds(lambda: loop_over_patches(images.numpy(), numpy_dice)))
    print(f"threads                 {torch.get_num_threads()}")
    print(f"vectorised              {min(vectorised) * 1e3:8.1f} ms")
    print(f"loop over every patch   {min(looped) * 1e3:8.1f} ms")
    print(f"ratio                   {min(looped) / min(vectorised):8.1f}")


def loop_over_patches(images: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
    """The same pairs, one patch after the other, as one would first write it; NumPy, whose calls cost least."""
    batch, channels, height, width = images.shape
    rows, cols = height // S, width // S
    count = S * S - T * T
    inputs = np.empty((batch, count, channels, rows, cols), np.float32)
    target = np.empty((batch, channels, rows * T, cols * T), np.float32)
    for number, row, col in np.ndindex(batch, rows, cols):
        patch = images[number, :, row * S : (row + 1) * S, col * S : (col + 1) * S]
        top, left = rng.integers(S - T + 1, size=2)
        target[number, :, row * T : (row + 1) * T, col * T : (col + 1) * T] = patch[:, top : top + T, left : left + T]
        others = np.ones((S, S), dtype=bool)
        others[top : top + T, left : left + T] = False
        inputs[number, :, :, row, col] = patch[:, others][:, rng.permutation(count)].T
    return inputs, target


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
