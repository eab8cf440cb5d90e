"""A profile and an engine that halve nothing but time: a 3×3 mean instead of a network, at the engine interface.

As a script it is `nsp` with that engine: `python fake_engine.py denoise IN OUT`. What the network would do is set by
the environment, so that real processes can be slowed down, broken and killed.
"""

import hashlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nsp_pipeline.batch.output.publish
import nsp_pipeline.batch.photo
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import Choice

REFERENCE = "ReferenceCPUProvider"
BROKEN_LEVEL = 7
"""A photo all of whose pixels are this makes the engine fail as a bug would."""
DEADLY_LEVEL = 9
"""A photo all of whose pixels are this makes the system kill the process, as it does where memory runs out."""


def fake_profile(name: str = "fake", sha256: str = "0" * 64) -> Profile:
    """A profile that is accepted wherever one is passed on; NSP_FAKE_TILING says how its network is tiled."""
    tiling = os.environ.get("NSP_FAKE_TILING", "exact")
    spec: Any = SimpleNamespace(name=name, backbone=SimpleNamespace(tiling=tiling), development=None)
    content = dict.fromkeys(("model.onnx", "model-sr.onnx", "model-sr-direct.onnx"), b"")
    return Profile(Path(f"{name}.nsp"), spec, sha256, content)


class FakeEngine:
    """Takes NSP_FAKE_SECONDS for each tile; enlarges by repeating in the sr modes.

    With NSP_FAKE_DEEP it computes for some seconds in foreign code, where Python hears of no signal.
    """

    def __init__(self, profile: Profile, mode: str, provider: str = "FakeCPUProvider") -> None:
        scale = 1 if mode == "denoise" else 2
        self.info = EngineInfo(
            "fake", provider, "fp32", mode, scale, multiple=2, halo=2, profile=profile.name, sha256="0" * 64
        )
        self.closed = False

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Blur by a 3×3 mean."""
        time.sleep(float(os.environ.get("NSP_FAKE_SECONDS", "0")))
        if "NSP_FAKE_DEEP" in os.environ:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000_000)
        if np.all(np.round(image * 255) == DEADLY_LEVEL):
            os.kill(os.getpid(), signal.SIGKILL)
        if np.all(np.round(image * 255) == BROKEN_LEVEL):
            raise ZeroDivisionError("the fake network broke")
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
        height, width = image.shape[2:]
        total = sum(padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3))
        result = (total / np.float32(9)).astype(np.float32)
        return result.repeat(self.info.scale, axis=2).repeat(self.info.scale, axis=3)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def choose_fake(camera: Any, *, on_missing: str, mode: str) -> Choice:
    """Choose among the fakes by the camera's name."""
    if camera.model == "Unknown" and on_missing == "skip":
        return Choice(None, "no profile for Unknown, ISO unknown")
    if camera.model == "Unknown" and on_missing == "error":
        raise UsageError("no profile for Unknown")
    if camera.model == "Other":
        return Choice(fake_profile("other", "1" * 64), "made for Other")
    return Choice(fake_profile("fake", os.environ.get("NSP_FAKE_PROFILE", "0" * 64)), "the only one")


def open_fake(profile: Profile, *, mode: str, **options: Any) -> FakeEngine:
    """Open the fake engine, which says the device that it was opened for."""
    device = options.get("device", "auto")
    return FakeEngine(profile, mode, device if "cuda:" in device else "FakeCPUProvider")


def open_fake_reference(profile: Profile, *, mode: str, **options: Any) -> FakeEngine:
    """Open the fake in the place of the reference."""
    return FakeEngine(profile, mode, REFERENCE)


def fake_sources(**others: Any) -> Sources:
    """The fakes, for a run to take in the place of what is installed; `others` replace single functions."""
    fakes = {
        "choose_profile": choose_fake,
        "find_profile": fake_profile,
        "open_engine": open_fake,
        "open_reference": open_fake_reference,
    }
    return Sources(**{**fakes, **others})


def die_at(moment: str, published: int) -> None:
    """Let this process be killed (or hang) at a moment of publishing, once that many photos are in their places."""
    publish: Any = nsp_pipeline.batch.output.publish
    count = 0

    def die(*args: Any, **kwargs: Any) -> None:
        if count == published:
            os.kill(os.getpid(), signal.SIGKILL)

    def half(frame: Any, file: Any, **kwargs: Any) -> None:
        if count == published:
            file.write(b"half a pho")
            file.flush()
            if moment.startswith("hang"):
                time.sleep(600)
            die()
        write(frame, file, **kwargs)

    def rename(*args: Any) -> None:
        nonlocal count
        if moment == "before-rename":
            die()
        replace(*args)
        if moment == "after-rename":
            die()
        count += 1

    write, replace = publish.write_frame, os.replace
    publish.os = SimpleNamespace(**{**vars(os), "replace": rename})
    if moment.endswith("while-writing"):
        publish.write_frame = half


def die_reading(name: str) -> None:
    """Let this process be killed when a photo of this name is read, and let every read take a while."""
    photo = nsp_pipeline.batch.photo
    read = photo.read_frame

    def deadly(path: Path, **options: Any) -> Any:
        time.sleep(0.3)
        if path.name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path, **options)

    photo.read_frame = deadly


def end_readers_on_interrupt() -> None:
    """Let every read but the first last until an interrupt, and fail of it, faster than Python hears of the signal."""
    photo = nsp_pipeline.batch.photo
    read, ours, theirs = photo.read_frame, *socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    first = True

    def dying(path: Path, **options: Any) -> Any:
        nonlocal first
        if first:
            first = False
            return read(path, **options)
        assert theirs.fileno() >= 0
        ours.recv(1)
        raise PhotoError(path, "LibRaw fails on this RAW file (it ended with code -2)")

    photo.read_frame = dying


if __name__ == "__main__":
    from nsp_pipeline.cli.main import main

    # To load the estimator of noise takes as long as such a run; without its libraries flat patches are measured.
    sys.modules.update({"onnxruntime": None, "openvino": None})  # type: ignore[dict-item]

    if "NSP_FAKE_READER_DIES" in os.environ:
        end_readers_on_interrupt()
    if name := os.environ.get("NSP_FAKE_DEADLY_READ"):
        die_reading(name)
    if death := os.environ.get("NSP_FAKE_DEATH"):
        moment, _, number = death.partition(":")
        die_at(moment, int(number))
    sys.exit(main(given=fake_sources()))
