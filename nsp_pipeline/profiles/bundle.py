"""The profile bundle: a folder, or the same zipped as `NAME.nsp`; every file is checked against its hash on loading."""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from nsp_pipeline.atomic_file import appearing
from nsp_pipeline.atomic_file import require_writable as require_place
from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.modes import MODES
from nsp_pipeline.core.noise_kind import NoiseKind, noise_kind
from nsp_pipeline.errors import OutputError, ProfileError
from nsp_pipeline.profiles.noise_file import NOISE_FILE, read_noise
from nsp_pipeline.profiles.shared_weights import with_weights, without_weights
from nsp_pipeline.profiles.spec import SCHEMA_VERSION, ProfileSpec

SPEC_FILE = "profile.json"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "CARD.md"
MODEL_FILES = dict(zip(MODES, ("model.onnx", "model-sr.onnx", "model-sr-direct.onnx"), strict=True))
"""The graph of each mode: they share the weights but not the way an image goes through them.

In a bundle they take the weights from WEIGHTS_FILE (profiles/shared_weights.py); a loaded profile's are whole."""

UNSMOOTHED_FILE, WHITE_FILE = "unsmoothed.nsp", "white.nsp"
INNER_FILES = {NoiseKind.UNSMOOTHED: UNSMOOTHED_FILE, NoiseKind.WHITE: WHITE_FILE}
"""Whole profiles inside another, by the kind of noise (core/noise_kind.py) of the photos that they make."""

LARGEST_FILE = 512 << 20
LARGEST_BUNDLE = 1 << 30
"""Bytes, unpacked, of a file and of all files together; a zip that promises more is not unpacked."""

LARGEST_SPEC = 16 << 20

BUNDLE_SUFFIX = ".nsp"

UNREADABLE_ZIP = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError
)  # fmt: skip
"""What Python's zipfile raises of damaged files, sooner or later."""


@dataclass(frozen=True)
class Profile:
    """A loaded bundle, its hashes already checked.

    `sha256` is the hash of `profile.json`, and through the hashes in it that of the whole content. Graphs in `content`
    hold all their weights, wherever those are in the bundle.
    """

    path: Path
    spec: ProfileSpec
    sha256: str
    content: Mapping[str, bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """The profile's name, as its makers gave it."""
        return self.spec.name

    def graph_file(self, mode: str) -> str:
        """Name of the file with the graph of a mode, whether or not the bundle has it.

        A student has no PD, so that its `sr` is its `sr-direct`: it need not hold the same graph twice.
        """
        file = MODEL_FILES[mode]
        twin = mode == "sr" and file not in self.content and self.spec.pairs is None
        return MODEL_FILES["sr-direct"] if twin else file

    @cached_property
    def by_noise(self) -> Mapping[NoiseKind, "Profile"]:
        """This profile, for noise that a camera has smoothed, and those for other noise that the bundle holds.

        Raises ProfileError when one of them is damaged, or cannot take this one's place.
        """
        return {NoiseKind.SMOOTHED: self} | {
            kind: self._inner(file) for kind, file in INNER_FILES.items() if file in self.content
        }

    @property
    def inner(self) -> "Sequence[Profile]":
        """The profiles that the bundle holds for other noise than its own."""
        return list(self.by_noise.values())[1:]

    def require_mode(self, mode: str) -> None:
        """Raise ProfileError where photos with some noise could not be made in a mode."""
        for part in self.by_noise.values():
            part.read(part.graph_file(mode))

    @property
    def unsmoothed(self) -> "Profile | None":
        """The profile for photos whose noise nobody has smoothed, if the bundle holds one."""
        return self.by_noise.get(NoiseKind.UNSMOOTHED)

    def suiting(self, table: NDArray[np.float32]) -> "Profile":
        """The profile for photos with such a noise table (1, TABLE_ROWS, TABLE_NODES): this one, or one in it."""
        return self.by_noise[noise_kind(table, self.by_noise)]

    def _inner(self, file: str) -> "Profile":
        path = self.path / file
        inner = _checked(path, _unzipped(path, io.BytesIO(self.content[file])))
        if _kind(inner.spec) != _kind(self.spec):
            raise ProfileError(f"{path}: it is another kind of network than the profile around it; get a fresh copy")
        return inner

    @cached_property
    def camera_noise(self) -> CameraNoise | None:
        """What is known of the camera's noise, if the bundle says it; raises ProfileError where that is no noise."""
        if NOISE_FILE not in self.content:
            return None
        try:
            return read_noise(self.content[NOISE_FILE])
        except ValueError as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ProfileError(
                f"{self.path}: {NOISE_FILE}: it does not say a camera's noise ({reason}); get a fresh copy"
            ) from None

    def read(self, file: str) -> bytes:
        """Return one file of the bundle; raises ProfileError when the bundle has no such file."""
        try:
            return self.content[file]
        except KeyError:
            raise ProfileError(f"{self.path}: this profile has no {file}; it was made for other modes") from None


def load_profile(path: Path) -> Profile:
    """Load a bundle and check every hash in it.

    A profile inside a bundle has a path inside it, as if that were a folder.

    Raises ProfileError when it is missing, cut short, changed since it was made, or of a newer schema.
    """
    if path.name in INNER_FILES.values() and path.parent.is_file():
        for inner in load_profile(path.parent).by_noise.values():
            if inner.path == path:
                return inner
    return _checked(path, _read(path))


def _checked(path: Path, content: dict[str, bytes]) -> Profile:
    if SPEC_FILE not in content:
        raise ProfileError(f"{path}: not a profile: it has no {SPEC_FILE}")
    spec_bytes = content.pop(SPEC_FILE)
    spec = _parse_spec(path, spec_bytes)
    for file, expected in spec.files.items():
        if file not in content:
            raise ProfileError(f"{path}: the profile is incomplete: {file} is missing; get a fresh copy")
        if hashlib.sha256(content[file]).hexdigest() != expected:
            raise ProfileError(f"{path}: {file} was changed or damaged since the profile was made; get a fresh copy")
    unknown = sorted(set(content) - set(spec.files))
    if unknown:
        raise ProfileError(f"{path}: the profile holds files that {SPEC_FILE} does not vouch for: {', '.join(unknown)}")
    profile = Profile(path, spec, hashlib.sha256(spec_bytes).hexdigest(), _with_whole_graphs(path, content))
    _ = profile.camera_noise  # refused now, and not in the middle of a run
    return profile


def _with_whole_graphs(path: Path, content: dict[str, bytes]) -> dict[str, bytes]:
    """Give each graph the weights that it takes from the weights file."""
    weights = content.get(WEIGHTS_FILE, b"")
    for file in set(MODEL_FILES.values()) & set(content):
        try:
            content[file] = with_weights(content[file], weights, WEIGHTS_FILE, LARGEST_FILE)
        except (ValueError, IndexError) as error:
            raise ProfileError(f"{path}: {file} does not fit {WEIGHTS_FILE} ({error}); get a fresh copy") from None
        _require_size(path, sum(map(len, content.values())))
    return content


def read_spec(path: Path) -> ProfileSpec:
    """Read what a bundle says about itself, and nothing else of it: whether it is whole, `load_profile` finds.

    Raises ProfileError when there is no bundle, or its `profile.json` cannot be read.
    """
    try:
        if path.is_dir():
            with (path / SPEC_FILE).open("rb") as file:
                data = file.read(LARGEST_SPEC + 1)
        else:
            _require_file(path)
            with zipfile.ZipFile(path) as bundle, bundle.open(SPEC_FILE) as packed:
                data = packed.read(LARGEST_SPEC + 1)
    except (FileNotFoundError, KeyError):
        raise ProfileError(f"{path}: not a profile: it has no {SPEC_FILE}") from None
    except OSError as error:
        raise ProfileError(f"{path}: the profile cannot be read: {error.strerror or error}") from None
    except UNREADABLE_ZIP as error:
        raise ProfileError(_damaged(path, error)) from None
    if len(data) > LARGEST_SPEC:
        raise ProfileError(f"{path}: not a profile: its {SPEC_FILE} is too large")
    return _parse_spec(path, data)


def write_profile(target: Path, spec_fields: Mapping[str, object], files: Mapping[str, bytes]) -> Profile:
    """Write a bundle: a folder, or a zip when the target ends in `.nsp`; then load it back.

    Args:
        target: must not exist yet; it appears complete or not at all.
        spec_fields: the fields of ProfileSpec but `schema_version` and `files`.
        files: contents by file name, graphs with all their weights.

    Raises:
        OutputError: the target exists, or cannot be written.
    """
    require_writable(target)
    stored = dict(files)
    for name in set(MODEL_FILES.values()) & set(files):
        stored[name] = without_weights(files[name], files.get(WEIGHTS_FILE, b""), WEIGHTS_FILE)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(stored.items())}
    version = 1 if stored == files else SCHEMA_VERSION
    spec = ProfileSpec.model_validate({**spec_fields, "schema_version": version, "files": hashes})
    everything = {SPEC_FILE: (spec.model_dump_json(indent=2) + "\n").encode(), **stored}
    return _publish(target, everything)


def copy_profile(profile: Profile, target: Path) -> Profile:
    """Copy a loaded profile, every byte of its content: to a folder, or a zip when the target ends in `.nsp`.

    Raises:
        OutputError: the target exists, or cannot be written.
        ProfileError: the profile was changed since it was loaded.
    """
    require_writable(target)
    everything = _read(profile.path)
    if hashlib.sha256(everything.get(SPEC_FILE, b"")).hexdigest() != profile.sha256:
        raise ProfileError(f"{profile.path}: the profile was changed while it was copied; try again")
    return _publish(target, everything)


def _publish(target: Path, everything: Mapping[str, bytes]) -> Profile:
    with appearing(target, "the profile", replace=False, check=load_profile) as partial:
        if target.suffix == BUNDLE_SUFFIX:
            _write_zip(partial, everything)
        else:
            partial.mkdir()
            for name, data in everything.items():
                (partial / name).write_bytes(data)
    return load_profile(target)


def require_writable(target: Path) -> None:
    """Raise OutputError if `write_profile` could not write there; call it before hours of training."""
    if os.path.lexists(target):
        raise OutputError(f"{target}: exists already; a profile is never overwritten, name another")
    require_place(target, "the profile")


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in files.items():
            # A fixed date: the same content gives the same file.
            bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def _read(path: Path) -> dict[str, bytes]:
    return _read_folder(path) if path.is_dir() else _read_zip(path)


def _read_folder(path: Path) -> dict[str, bytes]:
    try:
        return {entry.name: entry.read_bytes() for entry in sorted(path.iterdir()) if entry.is_file()}
    except OSError as error:
        raise ProfileError(f"{path}: the profile cannot be read: {error.strerror or error}") from None


def _read_zip(path: Path) -> dict[str, bytes]:
    _require_file(path)
    return _unzipped(path, path)


def _unzipped(path: Path, source: Path | io.BytesIO) -> dict[str, bytes]:
    """Unpack a bundle that `path` names in messages."""
    try:
        with zipfile.ZipFile(source) as bundle:
            entries = bundle.infolist()
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile(f"{entry.filename} is packed as nsp never packs")
                if entry.file_size > LARGEST_FILE or "/" in entry.filename or "\\" in entry.filename:
                    raise ProfileError(f"{path}: not a profile: it holds {entry.filename} ({entry.file_size} bytes)")
            _require_size(path, sum(entry.file_size for entry in entries))
            return {entry.filename: bundle.read(entry) for entry in entries}
    except UNREADABLE_ZIP as error:
        raise ProfileError(_damaged(path, error)) from None


def _require_size(path: Path, size: int) -> None:
    """Raise ProfileError for a bundle of too many bytes, unpacked."""
    if size > LARGEST_BUNDLE:
        raise ProfileError(f"{path}: not a profile: it would unpack to {size} bytes")


def _require_file(path: Path) -> None:
    """Raise ProfileError where there is no file."""
    if not path.exists():
        raise ProfileError(f"{path}: there is no such profile")
    if not path.is_file():
        raise ProfileError(f"{path}: not a profile: it is neither a file nor a folder")


def _damaged(path: Path, error: Exception) -> str:
    return f"{path}: the profile is damaged or cut short ({error}); get a fresh copy"


def _kind(spec: ProfileSpec) -> tuple[object, ...]:
    """What two networks must have in common for one to take the other's place in any tile of a photo."""
    backbone = spec.backbone
    return backbone.scale, backbone.tiling, bool(backbone.sizes.get("noise_conditioned")), spec.pairs is None


def _parse_spec(path: Path, data: bytes) -> ProfileSpec:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path}: {SPEC_FILE} is damaged: {error}") from None
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ProfileError(
            f"{path}: made by a newer nsp (profile schema {version}, this one reads {SCHEMA_VERSION}); update nsp"
        )
    try:
        return ProfileSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ProfileError(f"{path}: {SPEC_FILE}: {field}: {first['msg']}") from None
