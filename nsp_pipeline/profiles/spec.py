"""`profile.json`: everything a bundle says about itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from nsp_pipeline.core.claim import Claim
from nsp_pipeline.errors import UsageError

if TYPE_CHECKING:
    from nsp_pipeline.models.backbone import Backbone

SCHEMA_VERSION = 2
"""Of bundles whose graphs take their weights from the weights file; in those of version 1 each graph holds them."""

PD_WORDS = ("auto", "off", "on", "blend")
"""What a user may ask for instead of the profile's own way (auto); see `ProfileSpec.inference_with`."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    # Built when a profile is first read, not at every start.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class PairSpec(_Strict):
    """The pair construction that the profile was trained with (paper, Sec. 3.2)."""

    s: int
    t: int
    n: int
    strategy: str
    clean_targets: bool = False
    """Whether targets came from clean pictures, in this training or in that of what it started from: a base of
    simulated shots."""

    @model_serializer(mode="wrap")
    def _as_before_where_none_is_clean(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An nsp that does not know of it reads all profiles but those that it is said of.
        return {name: value for name, value in serialise(self).items() if name != "clean_targets" or value}


class InferenceSpec(_Strict):
    """How the network denoises: with PD by a factor, or without (1), or by a blend of both."""

    pd_factor: Annotated[int, Field(ge=1, le=8)]
    shifted_grids: bool = False
    """Whether the mean is over all placements of the PD grid; it takes no longer."""
    whole_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the estimate without PD in a blend with the one with PD; it takes twice as long."""
    self_ensemble: Annotated[Literal[1, 2, 4, 8], Field(validation_alias=AliasChoices("self_ensemble", "turns"))] = 1
    """Self-ensemble: the estimate is the mean over so many rotated and mirrored copies; each takes as long as one."""

    @model_validator(mode="after")
    def _no_self_ensemble_with_pd(self) -> Self:
        if self.self_ensemble > 1 and self.pd_factor > 1:
            raise ValueError(
                f"a self-ensemble of {self.self_ensemble} with PD by {self.pd_factor}: it is possible without PD only"
            )
        return self

    @property
    def in_words(self) -> str:
        """Describe in words how the network is run."""
        if self.pd_factor == 1:
            copies = f", mean over {self.self_ensemble} rotated and mirrored copies" * (self.self_ensemble > 1)
            return "none: the network sees the whole image" + copies
        words = f"by {self.pd_factor}" + ", on shifted grids" * self.shifted_grids
        return words + f", with {self.whole_share:.0%} of the estimate without PD" * bool(self.whole_share)


class BackboneSpec(_Strict):
    """Name in the registry, and the sizes that build it."""

    name: str
    sizes: dict[str, Any]
    multiple: Annotated[int, Field(ge=1)]
    halo: Annotated[int, Field(ge=0)]
    scale: Annotated[int, Field(ge=1)]
    tiling: Literal["exact", "blended", "none"]

    @classmethod
    def of(cls, name: str, sizes: Mapping[str, Any], network: "Backbone") -> Self:
        """Describe a network that was built from a name in the registry and sizes."""
        return cls(
            name=name,
            sizes=dict(sizes),
            multiple=network.multiple,
            halo=network.halo,
            scale=network.scale,
            tiling=network.tiling,
        )

    @field_validator("sizes")
    @classmethod
    def _by_present_names(cls, sizes: dict[str, Any]) -> dict[str, Any]:
        """Bundles of nsp 0.1 say `told_noise` for `noise_conditioned`."""
        return {"noise_conditioned" if name == "told_noise" else name: value for name, value in sizes.items()}


class NoiseSpec(_Strict):
    """Noise of one channel: variance = a·x + b at brightness x, both for values in 0..1.

    Where a tone curve bends it (`straight` is False), the broken line through (`brightness`, `variance`) describes it,
    and a·x + b is no more than the nearest line.
    """

    a: float
    b: float
    straight: bool = True
    brightness: list[float] = []
    variance: list[float] = []


class DataSpec(_Strict):
    """Where the training photos came from, and what that means for using the weights."""

    origin: str
    licence: str
    photos: int


class TrainingSpec(_Strict):
    """The settings as used and how the training went."""

    settings: dict[str, Any]
    steps: int
    seconds: float
    version: str


class ScoreSpec(_Strict):
    """Scores on photos held out of training."""

    held_out_photos: int
    noisy_l1: float | None = None
    """Mean L1 between prediction and noisy target, values in 0..1."""
    noisy_mse: float | None = None
    """Mean squared error between prediction and noisy target, the target's noise included."""
    noise_left: float | None = None
    """Of a student: RMS error over that of the noisy crop, mean of held-out crops with simulated noise."""
    base: str | None = None
    """Name of the profile that training started from."""
    base_noisy_mse: float | None = None
    """The base's `noisy_mse` on the same crops."""
    base_noise_left: float | None = None
    """The same of a student's base."""
    gain: float | None = None
    """Of a student calibrated to a camera that was accepted: PSNR in dB that photos gain over its base. Where there are
    no `measures`, an older nsp wrote it: then it is what crops with simulated noise gain, accepted or not."""
    gain_error: float | None = None
    """How far the gain may be off, in dB, in nine cases of ten; an older nsp's is a standard error."""
    measures: dict[str, tuple[float, float]] | None = None
    """Of such a student: what it is judged by, and in dB by how much each says that it is better, with its standard
    error. No photo gains that: see `gain`."""
    accepted: bool | None = None
    """Whether the network beat its base; where it did not, the profile holds the base's weights."""
    verdict: str | None = None
    inference_errors: dict[str, float] | None = None
    """Squared error (0..1, estimated without clean photos) that each way to run the network leaves on noisy photos."""
    pair_gain: float | None = None
    """PSNR gained over a single shot, in dB, measured on pairs of shots of one scene."""
    drift: float | None = None
    """Largest mean difference of a colour channel, in 8-bit steps."""
    leak: float | None = None
    """Residual in flat places over the noise variance measured there."""
    edges: float | None = None
    """Residual at the strongest edges over that in flat places."""
    history: list[tuple[int, float]] = Field(default=[], validation_alias=AliasChoices("history", "course"))
    """Training step and held-out error (`noisy_mse`, `noise_left`, or dB beside the base) of each judged checkpoint."""

    @model_serializer(mode="wrap")
    def _as_before_where_nothing_was_calibrated(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An nsp that does not know of it reads all profiles but those that it is said of.
        return {name: value for name, value in serialise(self).items() if name != "measures" or value is not None}

    @property
    def claim(self) -> Claim | None:
        """What photos gain over its base; None where its weights stay, or that was never told."""
        if not self.accepted or self.measures is None or self.gain is None or self.gain_error is None:
            return None
        return Claim(self.gain, self.gain_error)

    @property
    def base_error(self) -> float | None:
        """Where the history of a training that had a base started."""
        if self.gain is not None or self.measures is not None:
            return 0.0
        return self.base_noise_left if self.base_noisy_mse is None else self.base_noisy_mse


class ProfileSpec(_Strict):
    """The whole of `profile.json`."""

    schema_version: Literal[1, 2]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    camera_make: str | None = None
    camera_model: str | None = None
    iso_min: int | None = None
    iso_max: int | None = None
    pairs: PairSpec | None
    """None for a student, which is not trained on pairs of scales."""
    inference: InferenceSpec
    backbone: BackboneSpec
    noise: list[NoiseSpec] | None = None
    """Red, green, blue; None where nothing was measured."""
    noise_correlation: list[float] | None = None
    """Autocorrelation of the noise at lags 1, 2, ... pixels."""
    training: TrainingSpec
    scores: ScoreSpec
    data: DataSpec
    development: dict[str, str | float] | None = None
    """How RAW photos were developed for calibration, by the names of Development's fields; None: photos were no RAW."""
    files: dict[str, Sha256]
    """SHA-256 of every other file of the bundle."""

    @property
    def network(self) -> str:
        """Name of the profile whose weights it has: its own, or its base's where a training made none that are better.

        In the latter case it is better than its base by nothing but what it knows of its camera's noise.
        """
        base = self.scores.base
        return base if base and self.scores.accepted is False else self.name

    @property
    def has_own_weights(self) -> bool:
        """Whether its weights are no other profile's."""
        return self.network == self.name

    def inference_with(self, pd: str) -> InferenceSpec:
        """Return how to run the network as one of PD_WORDS asks: without PD, with it, or half and half.

        Raises UsageError when a student is asked for anything but "auto": it sees every pixel and has no PD.
        """
        if pd == "auto":
            return self.inference
        if self.pairs is None:
            raise UsageError(f"--pd {pd}: profile {self.name} is a student, which has no PD; leave --pd out")
        if pd == "off":
            return InferenceSpec(pd_factor=1)
        share = (self.inference.whole_share or 0.5) if pd == "blend" else 0.0
        return InferenceSpec(pd_factor=self.backbone.scale, shifted_grids=True, whole_share=share)
