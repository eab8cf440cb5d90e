"""What was measured of the engines, and the file in the cache that keeps it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nsp_pipeline import __version__
from nsp_pipeline.atomic_file import write_atomically
from nsp_pipeline.engines.cache_folder import cache_folder
from nsp_pipeline.engines.candidates import Candidate
from nsp_pipeline.errors import OutputError
from nsp_pipeline.machine.cpus import cpu_features, cpu_name, usable_cpus
from nsp_pipeline.profiles.bundle import Profile

LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino", "numpy")
"""What the speed, or a verdict of parity, may change with; also whether a library is there at all."""

LONGEST_FILE = 1 << 16


@dataclass(frozen=True)
class Speed:
    """One engine on this machine; `trouble` says why it is not to be taken, and then the numbers mean nothing."""

    engine: str
    precision: str
    start: float = 0.0
    """Seconds to open it in a process that has imported nothing yet, the parity check included."""
    per_megapixel: float = 0.0
    """Seconds of a megapixel that its tiles read."""
    trouble: str = ""

    def seconds(self, megapixels: float | None) -> float:
        """To open it and run so many megapixels; None: of very many, so that only the rate counts."""
        return self.per_megapixel if megapixels is None else self.start + self.per_megapixel * megapixels


@dataclass(frozen=True)
class SpeedKey:
    """All that a measurement depends on; another value in any of these asks for another one."""

    nsp: str
    libraries: Mapping[str, str]
    cpu: str
    features: tuple[str, ...]
    threads: int
    mode: str
    profile: str
    """Whose network it is (see ProfileSpec.network)."""
    graph: str
    """Hash of the network's file."""

    @property
    def path(self) -> Path:
        """The file in the cache."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return cache_folder() / "speed" / f"{digest[:24]}.json"


def speed_key(profile: Profile, mode: str, threads: int | None) -> SpeedKey:
    """The key of a profile's network on this machine."""
    return SpeedKey(
        nsp=__version__,
        libraries={name: found for name in LIBRARIES if (found := _installed(name))},
        cpu=cpu_name(),
        features=cpu_features(),
        threads=threads or usable_cpus(),
        mode=mode,
        profile=profile.spec.network,
        graph=hashlib.sha256(profile.read(profile.graph_file(mode))).hexdigest(),
    )


def _installed(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def known_speeds(key: SpeedKey) -> list[Speed] | None:
    """What was measured; None where nothing was, or what is kept of it cannot be read, is damaged or another's."""
    try:
        content = key.path.read_bytes()
    except OSError:
        return None
    try:
        stored = json.loads(content[:LONGEST_FILE])
        if stored["key"] != json.loads(json.dumps(asdict(key))):
            return None
        return [_speed(fields) for fields in stored["speeds"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_speeds(key: SpeedKey, speeds: Sequence[Speed]) -> str:
    """Keep a measurement; returns why it cannot be kept, or ""."""
    document = {"key": asdict(key), "speeds": [asdict(speed) for speed in speeds]}
    try:
        key.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(key.path, (json.dumps(document, indent=1).encode(),))
    except OutputError as error:
        return str(error)
    except OSError as error:
        return f"{key.path.parent}: {error.strerror or error}"
    return ""


def speed_of(speeds: Sequence[Speed], candidate: Candidate) -> Speed | None:
    """What was measured of a candidate."""
    return next((one for one in speeds if (one.engine, one.precision) == (candidate.engine, candidate.precision)), None)


def _speed(fields: Any) -> Speed:
    """A measurement as it was kept; raises ValueError, KeyError or TypeError for anything else."""
    speed = Speed(
        engine=str(fields["engine"]),
        precision=str(fields["precision"]),
        start=float(fields["start"]),
        per_megapixel=float(fields["per_megapixel"]),
        trouble=str(fields["trouble"]),
    )
    if not all(math.isfinite(value) and value >= 0 for value in (speed.start, speed.per_megapixel)):
        raise ValueError("a time that is none")
    return speed
