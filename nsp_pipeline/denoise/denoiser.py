"""Denoising pictures in memory, for other programs: an engine that stays open, and single calls."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from numpy.typing import NDArray

from nsp_pipeline.core.blend import SMOOTH
from nsp_pipeline.core.modes import MODES
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.denoise.arrays import frame_of, image_of
from nsp_pipeline.denoise.known_noise import known_noise
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.trusted import InferenceContext, denoise_trusted
from nsp_pipeline.engines.choose import open_engine, open_reference
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.engines.of_profile import Open, open_profile_engine
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera, Frame, Kind
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import choose_profile, find_profile
from nsp_pipeline.profiles.spec import PD_WORDS

AUTO = "auto"


class EngineOptions(TypedDict, total=False):
    """What computes, and which of a profile's networks; names, values and defaults are those of `nsp denoise`."""

    mode: str
    """"denoise", or "sr" and "sr-direct", which double the size too."""
    pd: str
    engine: str
    device: str
    precision: str
    threads: int | None
    camera: Camera | None
    """Make, model and ISO, by which profile "auto" chooses, and a profile knows the noise; None: unknown."""


class StrengthOptions(TypedDict, total=False):
    """How much of the noise goes; names, values and defaults are those of `nsp denoise`."""

    chroma: float | None
    """Share of the colour noise to remove, 0 to 1; None: as `strength`."""
    detail: float
    """Share of the finest grain to put back, 0 to 1."""
    look: str
    """"smooth"; or "natural", which keeps some grain and with it texture as weak as the noise. For strength None.

    Strong noise that is surely no texture goes all the same."""
    tile: int | None
    """Side of a tile in pixels; None: one that suits network and memory."""


class DenoiseOptions(EngineOptions, StrengthOptions, total=False):
    """All of the above."""


class Denoiser:
    """A profile on an engine that stays open, for many pictures. A context manager.

    Safe to share between threads: calls wait for each other, for an engine uses all processors it may use by itself.
    Programs that fork must open it in the process that uses it.

    >>> import numpy as np, nsp_pipeline as nsp
    >>> noisy = np.random.default_rng(0).normal(120, 20, (64, 96, 3)).clip(0, 255).astype(np.uint8)
    >>> with nsp.Denoiser("fast", engine="onnx", device="cpu") as denoiser:
    ...     clean = [denoiser.denoise(noisy), denoiser.denoise(noisy, strength=0.5)]
    ...     denoiser.info.provider
    'CPUExecutionProvider'
    >>> bool(clean[0].std() < clean[1].std() < noisy.std())
    True
    """

    def __init__(self, profile: str | Path | Profile = AUTO, **options: Unpack[EngineOptions]) -> None:
        """Open a profile: "auto" (by `camera`), a name, a path, or what `open_profile` returned.

        Raises:
            ProfileError, UsageError: there is no such profile, or it cannot do what is asked.
            MissingCapabilityError: this machine lacks the engine, device or precision.
        """
        _refuse_unknown(options, EngineOptions)
        mode, pd = options.get("mode", "denoise"), options.get("pd", AUTO)
        if mode not in MODES:
            raise UsageError(f"there is no mode '{mode}'; there are: {', '.join(MODES)}")
        if pd not in PD_WORDS or (pd != AUTO and mode != "denoise"):
            raise UsageError(f"pd '{pd}' is not one of {', '.join(PD_WORDS)}, or does not go with mode {mode}")
        self._mode, self._pd, self._options = mode, pd, options
        self._guard = threading.Lock()
        self._reference: Engine | None = None
        self.profile = _profile(profile, options.get("camera"), mode)
        self._engine: Engine | None = self._open(self._open_wanted)

    @property
    def info(self) -> EngineInfo:
        """What computes: back end, provider, precision, and why a faster one does not."""
        return self._opened().info

    def denoise(
        self, image: NDArray[Any], strength: float | None = None, **options: Unpack[StrengthOptions]
    ) -> NDArray[Any]:
        """Denoise a picture; it is not changed.

        Where the engine breaks down, or its result cannot be this picture, it is made again on the reference engine,
        except on a GPU that was asked for.

        Args:
            image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8, uint16, or floats in 0..1, as a camera's JPEG has
                them (not linear light). A fourth channel is alpha, and stays as it is.
            strength: share of the noise to remove, 0 to 1; None measures the noise, and spares fine detail.

        Returns:
            The clean picture, of the same type and dimensions; twice the size in the modes that enlarge.

        Raises:
            TypeError, ValueError: no such picture.
            UsageError: a share that is not from 0 to 1.
            EngineOutOfMemoryError, EngineFailedError, UntrustedResultError: no engine could do it.
        """
        _refuse_unknown(options, StrengthOptions)
        frame = frame_of(image)
        shares = options.get("chroma"), options.get("detail", 0.0)
        look = options.get("look", SMOOTH)
        settings = InferenceSettings(self._mode, strength, options.get("tile"), *shares, self._pd, look=look)
        with self._guard:
            context = InferenceContext(
                self._opened(), self._stand_in, lambda done, total: None, lambda line: None, noise=self._noise_of(frame)
            )
            inferred, _ = denoise_trusted(frame, settings, context, "the image")
        return image_of(inferred.frame, image)

    def close(self) -> None:
        """Give back memory and device; may be called again."""
        with self._guard:
            for engine in (self._engine, self._reference):
                if engine:
                    engine.close()
            self._engine = self._reference = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _noise_of(self, frame: Frame) -> NoiseLevel | None:
        """With what the profile knows of the camera's noise; None leaves it to the estimate from the picture alone."""
        camera = self._options.get("camera")
        known = known_noise(self.profile, Kind.JPEG, camera) if camera else None
        return estimate_noise(frame.pixels, prior=known) if known and not tone_for(frame) else None

    def _opened(self) -> Engine:
        if self._engine is None:
            raise UsageError("this Denoiser is closed; open another")
        return self._engine

    def _stand_in(self) -> Engine | None:
        if self._options.get("device", AUTO).startswith("cuda"):
            return None
        self._reference = self._reference or self._open(self._open_reference)
        return self._reference

    def _open(self, opener: Open) -> Engine:
        return open_profile_engine(self.profile, self._mode, self._pd, opener)

    def _open_wanted(self, profile: Profile, mode: str) -> Engine:
        asked: dict[str, Any] = {name: self._options.get(name, AUTO) for name in ("engine", "device", "precision")}
        return open_engine(profile, mode=mode, threads=self._options.get("threads"), **asked)

    def _open_reference(self, profile: Profile, mode: str) -> Engine:
        return open_reference(profile, mode=mode, threads=self._options.get("threads"))


def denoise(
    image: NDArray[Any],
    profile: str | Path | Profile = AUTO,
    strength: float | None = None,
    **options: Unpack[DenoiseOptions],
) -> NDArray[Any]:
    """Denoise one picture; opens an engine for it, which takes a second or more. For many, keep a Denoiser.

    >>> import numpy as np, nsp_pipeline as nsp
    >>> noisy = np.random.default_rng(0).normal(0.5, 0.1, (64, 96, 3)).clip(0, 1)
    >>> clean = nsp.denoise(noisy)
    >>> clean.shape, clean.dtype
    ((64, 96, 3), dtype('float64'))
    >>> bool(clean.std() < noisy.std() / 3)
    True
    >>> nsp.denoise(noisy.astype(np.float32), "fast", mode="sr").shape
    (128, 192, 3)

    Args, result and errors: those of Denoiser and of Denoiser.denoise.
    """
    _refuse_unknown(options, DenoiseOptions)
    opening: Any = {name: value for name, value in options.items() if name in EngineOptions.__annotations__}
    removing: Any = {name: value for name, value in options.items() if name not in opening}
    frame_of(image)  # what is no picture is refused before an engine is opened
    with Denoiser(profile, **opening) as denoiser:
        return denoiser.denoise(image, strength, **removing)


def measure_noise(image: NDArray[Any]) -> NoiseLevel:
    """Estimate how noisy a picture is, by brightness.

    >>> import numpy as np, nsp_pipeline as nsp
    >>> noisy = np.random.default_rng(0).normal(120, 12, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    >>> level = nsp.measure_noise(noisy)
    >>> 9 < level.sigma < 15
    True
    >>> level.brightness.shape[0] == level.variance.shape[0]
    True

    Args:
        image: as Denoiser.denoise takes it.

    Returns:
        The level: `sigma` in 8-bit steps over the whole picture; `variance` (K, C) at each `brightness` (K,), 0..1.

    Raises TypeError or ValueError for what is no such picture.
    """
    return estimate_noise(frame_of(image).pixels)


def open_profile(name_or_path: str | Path) -> Profile:
    """Load a profile and check it: one that ships or is installed, by name, or any by its path.

    >>> import nsp_pipeline as nsp
    >>> profile = nsp.open_profile("fast")
    >>> profile.name, profile.spec.backbone.name
    ('fast', 'unet')

    Raises ProfileError where there is none, or it is damaged.
    """
    return find_profile(str(name_or_path))


def _profile(asked: str | Path | Profile, camera: Camera | None, mode: str) -> Profile:
    if isinstance(asked, Profile):
        return asked
    if asked != AUTO:
        return open_profile(asked)
    chosen = choose_profile(camera or Camera(), on_missing="nearest", mode=mode).profile
    assert chosen is not None
    return chosen


def _refuse_unknown(options: object, known: Any) -> None:
    assert isinstance(options, dict)
    if unknown := set(options) - set(known.__annotations__):
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}; there are: {', '.join(known.__annotations__)}")
