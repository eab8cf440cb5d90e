"""How a run works."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nsp_pipeline.batch.assign import AUTO, Task
from nsp_pipeline.batch.job import Shard
from nsp_pipeline.batch.output.manifest import Manifest, settings_hash
from nsp_pipeline.batch.output.publish import Encoding
from nsp_pipeline.batch.output.up_to_date import Decision, Wanted, decide
from nsp_pipeline.core.blend import SMOOTH
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import absolute_name
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED, Development, domain_of
from nsp_pipeline.frames.sniff import RAW_SUFFIXES
from nsp_pipeline.frames.write import OutputKind
from nsp_pipeline.profiles.bundle import Profile

RENDER_VERSION = 1
"""Raised when the same settings come to mean other pixels; finished photos are then made again."""
RAW_RENDER_VERSION = 2
"""The same for RAW files alone."""


@dataclass(frozen=True)
class RunSettings:
    """How a run works; what is decided per photo (paths, kinds of file) stands in its plan."""

    inference: InferenceSettings = field(default_factory=InferenceSettings)
    encoding: Encoding = field(default_factory=Encoding)
    profile: str = AUTO
    on_missing: str = "nearest"
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    require_gpu: bool = False
    memory: int | None = None
    """Bytes that photos in flight may take; None: no bound but their number."""
    workers: int = 1
    """Threads that read."""
    threads: int | None = None
    """CPU threads that compute; None: as many as this process may keep busy."""
    overwrite: bool = False
    retry_failed: bool = False
    damaged: str = "fail"
    """What to do with a photo whose picture is damaged: "fail", or "keep" what can be read of it."""
    max_megapixels: float | None = None
    """Larger photos are refused, by their header where it tells; None: up to what frames/limits.py says."""
    max_seconds: float | None = None
    shard: Shard | None = None
    cluster: str | None = None
    """Address of a Ray cluster that makes the photos, or "auto"; None: this process makes them."""

    development: Mapping[str, Any] = field(default_factory=dict)
    """How RAW is developed, by the names of Development's fields; what is not said is as the profile was calibrated."""
    domain: str = "auto"
    """Where RAW is denoised: "auto", or one of DOMAINS (see frames/development.py)."""
    _hashes: dict[tuple[str, OutputKind, bool, bool], str] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Of settings in words, by all that tells one photo's from another's; a plan has many thousands of photos."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of `device`, which names several GPUs as "cuda:0,1"."""
        kind, _, numbers = self.device.partition(":")
        return tuple(f"{kind}:{number}" for number in numbers.split(",")) if "," in numbers else (self.device,)

    @property
    def in_other_processes(self) -> bool:
        """Whether photos are made by other processes than the one that leads the run."""
        return self.cluster is not None or len(self.devices) > 1

    def domain_of(self, task: Task) -> str:
        """Where a task's photo is denoised, should it be RAW: as the profile was calibrated, else in sensor's colours.

        Enlarging works on developed pictures only.
        """
        if self.domain != "auto":
            return self.domain
        stated = task.profile.spec.development if task.profile else None
        calibrated = domain_of(stated) if stated else "demosaiced"
        if task.job.kind is OutputKind.DNG:
            return "demosaiced" if calibrated == "developed" else calibrated
        plain = self.inference.mode == "denoise" and not self.inference.removes_nothing
        return calibrated if plain else "developed"

    def development_of(self, task: Task) -> Development:
        """How a task's photo is developed in the end, should it be RAW."""
        if task.job.kind is OutputKind.DNG:
            return UNDEVELOPED
        stated = (task.profile.spec.development if task.profile else None) or {}
        if domain_of(stated) != "developed":
            stated = {name: value for name, value in stated.items() if name != "colour_space"}
        return Development(**{**stated, **self.development})

    def require_development(self, profile: Profile) -> None:
        """Raise UsageError where RAW is to be developed otherwise than for the profile's calibration."""
        stated = profile.spec.development or {}
        for name, value in stated.items():
            if domain_of(stated) != "developed" and name == "colour_space":
                continue
            if self.development.get(name, value) != value:
                option = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{option} {self.development[name]}: profile {profile.name} was calibrated with {value}, and "
                    f"serves photos developed so; leave {option} out, or calibrate with it"
                )

    def fingerprint(self, task: Task, *, damaged: bool = False) -> str:
        """What decides a photo's result, in words; where and how fast it is computed is no part of it.

        What is done with damaged photos decides the results of those only.
        """
        parts = {
            "render": RENDER_VERSION,
            "mode": self.inference.mode,
            "strength": "auto" if self.inference.strength is None else float(self.inference.strength),
            "chroma": "auto" if self.inference.chroma is None else float(self.inference.chroma),
            "detail": float(self.inference.detail),
            "format": str(task.job.kind),
            "bit_depth": self.encoding.bit_depth or "keep",
            "quality": self.encoding.quality or "keep",
        }
        for name, usual in (("pd", "auto"), ("light", "auto"), ("look", SMOOTH)):
            if (chosen := getattr(self.inference, name)) != usual:
                parts[name] = chosen
        if self.inference.tile and task.profile and task.profile.spec.backbone.tiling == "blended":
            # A network that looks everywhere sees other surroundings in other tiles.
            parts["tile"] = self.inference.tile
        development = self.development_of(task)
        if development != DEVELOPED or task.job.input.suffix.lower() in RAW_SUFFIXES:
            parts["development"] = {**development.as_json(), "render": RAW_RENDER_VERSION}
            parts["domain"] = self.domain_of(task)
        if damaged:
            parts["damaged"] = self.damaged
        return json.dumps(parts, sort_keys=True)

    def wanted(self, task: Task, *, damaged: bool = False) -> tuple[str, str]:
        """Hashes of the settings and the profile that a photo, sound or damaged, is to be made with."""
        assert task.profile is not None
        profile, is_raw = task.profile.sha256, task.job.input.suffix.lower() in RAW_SUFFIXES
        kind = profile, task.job.kind, is_raw, damaged
        if kind not in self._hashes:
            self._hashes[kind] = settings_hash(self.fingerprint(task, damaged=damaged))
        return self._hashes[kind], profile

    def decide(self, task: Task, manifest: Manifest | None) -> Decision:
        """Decide whether a photo is made, skipped or refused (see batch.decide)."""
        settings, profile = self.wanted(task)
        if_damaged, _ = self.wanted(task, damaged=True)
        wanted = Wanted(settings, if_damaged, profile, None if self.precision == "auto" else self.precision)
        job = task.job
        row = manifest.find(job.key) if manifest else None
        unmade = manifest.find_unmade(job.key, absolute_name(job.input)) if manifest else None
        return decide(job, row, unmade, wanted, overwrite=self.overwrite, retry_failed=self.retry_failed)
