"""Built engines in the user's cache folder: built once, found again, and never trusted for their name alone."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nsp_pipeline.atomic_file import PART_SUFFIX
from nsp_pipeline.engines.cache_folder import FOLDER_VARIABLE
from nsp_pipeline.engines.tensorrt.sealed_file import DamagedError, seal, unseal
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_lock import try_lock

ENGINE_SUFFIX, TIMING_SUFFIX, RUNTIME_SUFFIX = ".engine", ".timing", ".runtime"
LOCK_FILE = "lock"
LOCK_BYTES = 1 << 20
POLL_SECONDS = 0.2
ABANDONED_SECONDS = 3600.0
"""A half-written file this old belongs to no build that still runs."""

OnLine = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class EngineKey:
    """All that an engine's bytes depend on; another value in any of these makes another engine."""

    flavour: str
    version: str
    """Of the TensorRT library."""
    nsp: str
    """Version of this program, whose conversion to float16 is part of what was built."""
    gpu: str
    compute_capability: str
    driver: str
    profile: str
    mode: str
    precision: str
    sizes: str
    model_sha256: str

    @property
    def digest(self) -> str:
        """Hash of the whole key."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def stem(self) -> str:
        """File name without its ending: something to recognise, and a part of the digest."""
        readable = "".join(letter if letter.isalnum() else "-" for letter in self.profile)[:40]
        return f"{self.flavour}-{readable}-{self.mode}-{self.precision}-{self.digest[:16]}"

    @property
    def hardware(self) -> dict[str, str]:
        """What timings and compiled kernels depend on: library, driver and GPU."""
        names = ("flavour", "version", "gpu", "compute_capability", "driver")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its identity, or the reason why it has none."""

    path: Path
    size: int
    used: float
    """Seconds since the epoch, of the last time it was written or taken."""
    identity: Mapping[str, str] | None
    trouble: str = ""


class EngineCache:
    """The cache folder, which need not exist and need not be writable."""

    def __init__(self, folder: Path, on_line: OnLine) -> None:
        self.folder = folder
        self._on_line = on_line
        self._complained = False

    def engine(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """Return the engine of a key, built with `build` unless it is there and whole.

        Of several processes that want the same engine, one builds and the others wait for it. What cannot be kept is
        built all the same, and the user is informed.
        """
        path = self._path(key)
        found = self._whole(path, asdict(key))
        if found is not None:
            return found
        with self._turn(key) as waited:
            found = self._whole(path, asdict(key)) if waited else None
            return found if found is not None else self._built(path, key, build)

    def rebuilt(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """Build the engine of a key anew, whatever is there."""
        with self._turn(key):
            return self._built(self._path(key), key, build)

    def timings(self, key: EngineKey) -> bytes:
        """What earlier builds measured on this GPU; empty where there is nothing."""
        return self._whole(self._timing_path(key), key.hardware) or b""

    def keep_timings(self, key: EngineKey, content: bytes) -> None:
        """Keep what a build measured."""
        self._keep(self._timing_path(key), key.hardware, content)

    def kernels(self, key: EngineKey) -> bytes:
        """What TensorRT-RTX compiled for this GPU when the engine ran before; empty where there is nothing."""
        return self._whole(self._path(key, RUNTIME_SUFFIX), asdict(key)) or b""

    def keep_kernels(self, key: EngineKey, content: bytes) -> None:
        """Keep what an engine compiled while it ran."""
        self._keep(self._path(key, RUNTIME_SUFFIX), asdict(key), content)

    def _path(self, key: EngineKey, suffix: str = ENGINE_SUFFIX) -> Path:
        return self.folder / f"{key.stem}{suffix}"

    def _timing_path(self, key: EngineKey) -> Path:
        digest = hashlib.sha256(json.dumps(key.hardware, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key.flavour}-{digest[:16]}{TIMING_SUFFIX}"

    def _whole(self, path: Path, identity: Mapping[str, str]) -> bytes | None:
        """The content of a file, or None where it is missing, damaged, or another's."""
        try:
            sealed = unseal(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._on_line(f"{path}: cannot be read ({error.strerror or error}); made anew")
            return None
        except DamagedError as error:
            self._on_line(f"{path}: {error}; made anew")
            return None
        if sealed.identity != identity:
            self._on_line(f"{path}: it belongs under another name; made anew")
            return None
        with suppress(OSError):
            os.utime(path)
        return sealed.body

    def _built(self, path: Path, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        body = build()
        self._keep(path, asdict(key), body)
        return body

    def _keep(self, path: Path, identity: Mapping[str, str], body: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            seal(path, identity, body)
        except (OSError, OutputError) as error:
            if self._complained:
                return
            self._complained = True
            self._on_line(
                f"{self.folder}: engines cannot be kept there ({error}), so the next run makes them "
                f"anew; {FOLDER_VARIABLE} names another folder"
            )

    @contextmanager
    def _turn(self, key: EngineKey) -> Iterator[bool]:
        """Wait until no other process builds this engine, and say whether one did; without locks there is no wait."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            yield False
            return
        try:
            yield self._waited(descriptor, int(key.digest[:8], 16) % LOCK_BYTES)
        finally:
            os.close(descriptor)

    def _waited(self, descriptor: int, place: int) -> bool:
        waited = False
        with suppress(OSError):  # a disk without locks: both build, and the later file stays
            while not try_lock(descriptor, place, 1):
                if not waited:
                    self._on_line("another nsp is building this engine; waiting for it")
                waited = True
                time.sleep(POLL_SECONDS)
        return waited


def entries(folder: Path) -> list[Entry]:
    """Every engine, and what goes with engines, in a cache folder, by name; empty where there is none."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    suffixes = (ENGINE_SUFFIX, TIMING_SUFFIX, RUNTIME_SUFFIX, PART_SUFFIX)
    found = [_entry(path) for path in paths if path.suffix in suffixes]
    return [entry for entry in found if entry is not None]


def _entry(path: Path) -> Entry | None:
    """Look at one file; None where it is gone by now."""
    try:
        facts = path.stat()
        if path.suffix == PART_SUFFIX:
            return Entry(path, facts.st_size, facts.st_mtime, None, "left over from a build that did not end")
        return Entry(path, facts.st_size, facts.st_mtime, unseal(path).identity)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Entry(path, 0, 0.0, None, error.strerror or str(error))
    except DamagedError as error:
        return Entry(path, facts.st_size, facts.st_mtime, None, str(error))


def useless(entry: Entry, here: Mapping[str, Mapping[str, Collection[str]]]) -> str:
    """Say why nothing will take a file again; empty where something may.

    Args:
        here: by flavour, the values that parts of a key can have on this machine; what is not known is left out.
    """
    if entry.path.suffix == PART_SUFFIX:
        return entry.trouble if time.time() - entry.used > ABANDONED_SECONDS else ""
    if entry.identity is None:
        return entry.trouble
    for name, values in here.get(entry.identity.get("flavour", ""), {}).items():
        if name in entry.identity and entry.identity[name] not in values:
            return f"made for {name.replace('_', ' ')} {entry.identity[name]}; here it is {', '.join(sorted(values))}"
    return ""
