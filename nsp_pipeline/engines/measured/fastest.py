"""The order in which "auto" tries the engines of the CPU: by measurement where that is known or worth its time."""

import time
from collections.abc import Sequence
from importlib.util import find_spec

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines.candidates import CANDIDATES, NAMES, Candidate, EngineRequest
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.measured.measure import measure_speeds
from nsp_pipeline.engines.measured.speeds import Speed, known_speeds, speed_key, speed_of
from nsp_pipeline.engines.openvino import engine as openvino_cpu
from nsp_pipeline.engines.parity import probe_image
from nsp_pipeline.profiles.bundle import Profile

WORTH = 30.0
"""Seconds that a run must have before it, by the reference, to measure first: several times what that takes."""

UNKNOWN = "not measured on this machine yet; a long run or nsp doctor does it"

SIDE = 192
SMALL_WORK = 4.0
"""Megapixels; of less no network that ships takes so long, and it is not looked at more closely."""

TINY = 0.25
"""Megapixels that the reference, which is open already, has made before another engine is open: of a network that sees
every pixel, so many turned copies of it together."""

SOONEST = "so little is made before another engine has started"


def in_order(
    profile: Profile, request: EngineRequest, reference: Engine, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], str]:
    """Order the candidates of the CPU, the best first, and say in words why.

    What was measured on this machine decides. What was not is measured now where the work before the run
    (`request.megapixels`) pays that back; else the order of CANDIDATES holds.

    Args:
        candidates: of the CPU, by the order of CANDIDATES; what is not among them is added only by measurement.
    """
    contenders = _installed(request.contenders())
    if len(contenders) < 2:
        return list(candidates), ""
    key = speed_key(profile, reference.info.mode, request.threads)
    speeds = known_speeds(key)
    if (
        not speeds
        and _is_a_moment(profile, request.megapixels, blind=reference.info.blind)
        and CANDIDATES[-1] in candidates
    ):
        return [CANDIDATES[-1], *(one for one in candidates if one != CANDIDATES[-1])], SOONEST
    if not speeds and not _is_worth_it(request.megapixels, reference):
        return list(candidates), UNKNOWN
    # To ask it takes as long as a small photo does.
    contenders = [one for one in contenders if one.precision != "bf16" or openvino_cpu.computes_in_bf16()]
    if not speeds and len(contenders) > 1:
        speeds = measure_speeds(profile, key, contenders, request.on_build)
    if not speeds:
        return list(candidates), UNKNOWN if len(contenders) > 1 else ""
    sound = [one for one in contenders if (speed := speed_of(speeds, one)) and not speed.trouble]
    if not sound:
        return list(candidates), f"no engine could be measured: {_words(speeds)}"
    ranked = sorted(sound, key=lambda one: _speed(speeds, one).seconds(request.megapixels))
    why = f"measured on this machine: {_words([_speed(speeds, one) for one in ranked])}"
    if troubled := [speed for speed in speeds if speed.trouble]:
        why += f"; {_words(troubled)}"
    if ranked[0] != min(sound, key=lambda one: _speed(speeds, one).per_megapixel):
        why += "; what starts sooner is done sooner with so little work"
    # What failed there is not tried again, but for the reference, which all others are measured by.
    tried = [one for one in candidates if one not in ranked and speed_of(speeds, one) is None]
    return [*ranked, *tried], why


def what_is_known(profile: Profile, mode: str, threads: int | None) -> str:
    """What was measured of a profile's network on this machine, in words, the fastest first."""
    speeds = known_speeds(speed_key(profile, mode, threads))
    if not speeds:
        return UNKNOWN
    return _words(sorted(speeds, key=lambda speed: (bool(speed.trouble), speed.per_megapixel)))


def _is_a_moment(profile: Profile, megapixels: float | None, *, blind: bool) -> bool:
    """Whether the work before the run is less than it takes to start another engine."""
    return megapixels is not None and not blind and megapixels * profile.spec.inference.self_ensemble < TINY


def _installed(contenders: Sequence[Candidate]) -> list[Candidate]:
    """Those whose library is there."""
    openvino = find_spec("openvino") is not None
    return [one for one in contenders if one.engine != "openvino" or openvino]


def _is_worth_it(megapixels: float | None, reference: Engine) -> bool:
    """Whether so much work is before the run that a measurement pays; a tiny picture tells how fast the work goes."""
    if megapixels is None or megapixels < SMALL_WORK:
        return False
    multiple = reference.info.multiple
    image = probe_image(-(-SIDE // multiple) * multiple)
    noise = (NoiseLevel.unknown().table,) if reference.info.noise_conditioned else ()
    began = time.monotonic()
    reference.run(image, *noise)
    return bool((time.monotonic() - began) * megapixels * 1e6 / (image.shape[2] * image.shape[3]) > WORTH)


def _speed(speeds: Sequence[Speed], candidate: Candidate) -> Speed:
    found = speed_of(speeds, candidate)
    assert found is not None
    return found


def _words(speeds: Sequence[Speed]) -> str:
    return ", ".join(
        f"{NAMES[speed.engine]} {speed.precision} "
        + (f"is not taken: {speed.trouble}" if speed.trouble else f"{speed.per_megapixel:.2g} s a megapixel")
        for speed in speeds
    )
