"""Whether a student calibrated to a camera beats the one that it started from, without a clean photo.

Two measures that fail in different ways are put to photos kept out of training.

With their own noise put onto clean pictures made of them, the error is known; but pictures and noise are not quite
those of the camera. On the photos as they are, nothing is simulated but a small probe. For noise n, a photo y = x + n,
the first student's D and the second's D + d

    |D + d - x|² - |D - x|² = |d|² + 2·d·(D - y) + 2·d·n,    E[d·n] = E[z·(d(y + εz) - d(y))]/ε

(Stein 1981; Monte Carlo after Ramani, Blu and Unser 2008), z being noise such as the photo's. But what flat places show
is the least: cameras leave more noise in texture, and who takes that for detail seems to gain. So the fall must be one
whether the noise is as in flat places everywhere, or up to MOST_IN_TEXTURE times its variance. Noise that nobody has
smoothed is everywhere as in flat places: of that the formula is right, and need not confirm what simulated noise says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.student.claim import Measures, claimed
from nsp_pipeline.calibration.student.own_means import with_own_means
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.models.backbone import Backbone

PROBE = 0.1
"""ε: small against the noise, and large against rounding."""

MOST_IN_TEXTURE = 5.0

FAINTEST = (0.3 / 255) ** 2
"""Of a piece with less noise than that, a share of the noise means nothing."""

LEAST_ERROR = (0.1 / 255) ** 2
"""Less than that is no error: of a black piece whose noise rounds to nothing there is none, and no share of it."""

BORDER = 16
"""Pixels at a crop's border that do not count."""


SIMULATED, FLAT, TEXTURED = (
    "dB on their own noise put onto clean pictures",
    "dB on the photos themselves, their noise as in flat places",
    "dB on the photos themselves, their noise stronger in texture",
)
"""What each measure says."""


@dataclass(frozen=True, eq=False)
class Pictured:
    """A clean picture with a photo's noise on it: (1, 3, H, W) each in 0..1, and the photo's noise table."""

    noisy: torch.Tensor
    clean: torch.Tensor
    table: torch.Tensor
    photo: int = 0
    """Number of the photo that the picture is of."""
    own_means: bool = False
    """Whether its local means are taken when it is denoised, and not the network's (see NoiseLevel)."""


@dataclass(frozen=True, eq=False)
class Real:
    """A piece of a photo (1, 3, H, W), noise such as it has, and the photo's noise table."""

    noisy: torch.Tensor
    probe: torch.Tensor
    table: torch.Tensor
    photo: int = 0
    """Number of the photo."""
    own_means: bool = False
    """As of what is Pictured."""


@dataclass(frozen=True, eq=False)
class _First:
    """What the first network makes of a piece, and of the piece with the probe on it."""

    plain: torch.Tensor
    moved: torch.Tensor


class OwnJudge:
    """Compares networks with the one that training starts from, on the same crops; all errors are in dB beside it."""

    def __init__(
        self,
        first: Backbone,
        pictured: Sequence[Pictured],
        real: Sequence[Real],
        between: Sequence[Real] = (),
        *,
        unsmoothed: bool = False,
    ) -> None:
        """Run the first network over all crops; there must be some of either kind.

        What is `between` is of other photos, and may be learnt from: it tells how much photos differ. `unsmoothed` says
        that nobody has smoothed the photos' noise.
        """
        self._unsmoothed = unsmoothed
        self._pictured, self._real = pictured, [*real, *between]
        self._held_out = len(real)
        self._errors = np.array([_error(first, crop)[0] for crop in pictured])
        self._first = [
            _First(*(_made(first, image, crop) for image in (crop.noisy, crop.noisy + PROBE * crop.probe)))
            for crop in self._real
        ]
        # What the first network leaves of real photos nobody knows: as much of their noise as of simulated noise.
        left = float(
            np.mean(
                [
                    error / max(_power(crop.noisy - crop.clean), FAINTEST)
                    for error, crop in zip(self._errors, pictured, strict=True)
                ]
            )
        )
        self._left = np.array([left * max(_power(crop.probe), FAINTEST) for crop in self._real])

    def __len__(self) -> int:
        return len(self._pictured) + self._held_out

    def judge(self, network: Backbone) -> Judgement:
        """The errors of a network by all measures, in dB above those of the first."""
        found = [_error(network, crop) for crop in self._pictured]
        errors, absolute, biases = (np.array(part) for part in zip(*found, strict=True))
        told = judged_by(self._measures(network, errors), unsmoothed=self._unsmoothed)
        return replace(told, l1=float(absolute.mean()), drift=float(np.abs(biases.mean(0)).max() * 255))

    def _measures(self, network: Backbone, errors: NDArray[np.float64]) -> Measures:
        """What all crops show; `errors` are those of the pictures."""
        parts = [self._part(network, *pair) for pair in zip(self._real, self._first, strict=True)]
        rest, follows = np.array(parts).T
        left = [self._left_by(*pair) for pair in zip(self._real, self._first, strict=True)]
        apart, known = np.array(left).T
        return Measures(
            pictured_photo=np.array([crop.photo for crop in self._pictured]),
            first=self._errors,
            this=errors,
            real_photo=np.array([crop.photo for crop in self._real]),
            rest=rest,
            follows=follows,
            apart=apart,
            known=known,
            left=self._left,
            held_out=np.arange(len(self._real)) < self._held_out,
        )

    @staticmethod
    def _part(network: Backbone, crop: Real, first: _First) -> tuple[float, float]:
        """By how much the squared error of a piece rises: what does not depend on the noise, and what does."""
        plain = _made(network, crop.noisy, crop)
        moved = _made(network, crop.noisy + PROBE * crop.probe, crop)
        d = plain - first.plain
        follows = float(_inner(crop.probe * (moved - first.moved - d)).mean()) / PROBE
        return float(_inner(d**2 + 2 * d * (first.plain - crop.noisy)).mean()), 2 * follows

    @staticmethod
    def _left_by(crop: Real, first: _First) -> tuple[float, float]:
        """What the first network leaves of a piece: its distance from the photo, and what of that is noise taken."""
        follows = float(_inner(crop.probe * (first.moved - first.plain)).mean()) / PROBE
        return _power(first.plain - crop.noisy), _power(crop.probe) - 2 * follows


def judged_by(seen: Measures, *, unsmoothed: bool = False) -> Judgement:
    """What measures say of a network: its errors in dB above those of the first network, and what photos gain."""
    strengths = {FLAT: 1.0} if unsmoothed else {FLAT: 1.0, TEXTURED: MOST_IN_TEXTURE}
    others = {
        what: _decibels(1 + ((seen.rest + share * seen.follows) / seen.left)[seen.held_out])
        for what, share in strengths.items()
    }
    unknown = float("nan")
    return Judgement(
        mse=_decibels(seen.this / seen.first),
        l1=unknown,
        drift=unknown,
        leak=unknown,
        edges=unknown,
        what=SIMULATED,
        others=others,
        unbiased=unsmoothed,
        claim=claimed(seen),
    )


def _error(network: Backbone, crop: Pictured) -> tuple[float, float, NDArray[np.float32]]:
    """Mean squared and mean absolute error, and the mean of each channel."""
    difference = _inner(_made(network, crop.noisy, crop) - crop.clean)
    return (
        max(float((difference**2).mean()), LEAST_ERROR),
        float(difference.abs().mean()),
        difference.mean((0, 2, 3)).numpy(),
    )


def _decibels(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 * np.log10(np.clip(shares, 0.1, 10)), dtype=np.float64)


def _power(noise: torch.Tensor) -> float:
    return float((_inner(noise) ** 2).mean())


def _made(network: Backbone, image: torch.Tensor, crop: Pictured | Real) -> torch.Tensor:
    """What comes of an image when a photo such as the crop's is denoised: with its own means, where these are taken."""
    made = estimate(network, image, crop.table)
    return with_own_means(image, made) if crop.own_means else made


@torch.inference_mode()
def estimate(network: Backbone, image: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """What a student makes of (1, 3, H, W), told a noise table: on its own device, from the CPU and back."""
    device = next(network.parameters()).device
    told = (table.to(device),) if network.noise_conditioned else ()
    return network.cell_means(image.to(device), *told).float().cpu()


def _inner(image: torch.Tensor) -> torch.Tensor:
    return image[..., BORDER:-BORDER, BORDER:-BORDER]
