"""The engines of this machine side by side, in a process of their own: what each takes to start, and for a megapixel.

The process is asked and answers as machine/apart.py says; see engines/measured, which asks it. Engines take turns, so
that whatever else the machine does disturbs all of them alike.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.parity import probe_image
from nsp_pipeline.errors import NspError
from nsp_pipeline.profiles.bundle import load_profile

FIRST_SIDE, LARGEST_SIDE = 192, 1280
"""The first picture says how large the next may be. No larger than tiles are: an engine that is the faster on small
pictures may be the slower on large ones, which do not fit into a processor's cache."""

PASS_SECONDS = 0.8
ROUNDS = 2

UNDISTURBED = 0.8
"""Of the processors' time: where an engine had less, other programs had them, and the clock says little about it."""


def measure(profile: str, mode: str, engines: Sequence[Sequence[str]], threads: int) -> dict[str, Any]:
    """Time engines, each given by its name and precision.

    Returns {"speeds": [...]}, for each in turn {"start": seconds, "per_megapixel": seconds} or {"trouble": why}.
    """
    began = time.perf_counter()
    from nsp_pipeline.engines.choose import open_engine

    loaded = load_profile(Path(profile))
    base = time.perf_counter() - began
    opened: dict[int, Engine] = {}
    answers: list[dict[str, Any]] = []
    for number, (name, precision) in enumerate(engines):
        began = time.perf_counter()
        try:
            engine = open_engine(loaded, mode=mode, engine=name, precision=precision, device="cpu", threads=threads)
        except NspError as error:
            answers.append({"trouble": str(error)})
            continue
        answers.append({"start": base + time.perf_counter() - began})
        if (engine.info.name, engine.info.precision) == (name, precision):
            opened[number] = engine
        else:
            answers[number] = {"trouble": engine.info.fallback or f"{engine.info.name} came in its place"}
    for number, seconds in _take_turns(opened, threads).items():
        answers[number]["per_megapixel"] = seconds
    return {"speeds": answers}


def _take_turns(opened: dict[int, Engine], threads: int) -> dict[int, float]:
    """Seconds a megapixel of each engine: of its fastest pass."""
    if not opened:
        return {}
    multiple = max(engine.info.multiple for engine in opened.values())
    first = _rounded(FIRST_SIDE, multiple)
    for engine in opened.values():
        _seconds(engine, first, threads)
    rate = max(_seconds(engine, first, threads) for engine in opened.values()) / first**2
    side = _rounded(min(LARGEST_SIDE, max(first, int(math.sqrt(PASS_SECONDS / max(rate, 1e-12))))), multiple)
    best = dict.fromkeys(opened, math.inf)
    for _ in range(ROUNDS):
        for number, engine in opened.items():
            best[number] = min(best[number], _seconds(engine, side, threads))
    return {number: seconds * 1e6 / side**2 for number, seconds in best.items()}


def _seconds(engine: Engine, side: int, threads: int) -> float:
    """What a picture of that side takes by the clock; by processor time, where other programs had the processors."""
    image = probe_image(side)
    noise = (NoiseLevel.unknown().table,) if engine.info.noise_conditioned else ()
    began, computed = time.perf_counter(), time.process_time()
    engine.run(image, *noise)
    seconds, busy = time.perf_counter() - began, (time.process_time() - computed) / threads
    return seconds if busy >= UNDISTURBED * seconds else busy


def _rounded(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def main() -> None:
    """Read the question, measure, and print the answer, as JSON."""
    try:
        answer = measure(**json.load(sys.stdin))
    except NspError as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {"refused": "not enough memory"}
    # Libraries may have printed and not ended their line.
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
