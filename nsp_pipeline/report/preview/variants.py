"""The ways to denoise that a preview compares, and the command line of each."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from nsp_pipeline.core.blend import NATURAL, SMOOTH
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.errors import UsageError

AUTO = "auto"
USUAL = (
    InferenceSettings(),
    InferenceSettings(look=NATURAL),
    InferenceSettings(strength=0.5),
    InferenceSettings(strength=1.0),
)
"""What is compared where nobody asks for anything: the rest is up to strength."""
MOST = 24


@dataclass(frozen=True)
class Variant:
    """One way to denoise: `profile` is AUTO, or a name or path."""

    profile: str
    settings: InferenceSettings

    @property
    def options(self) -> list[str]:
        """What makes it on the command line of `nsp denoise`."""
        given = ["--profile", self.profile] if self.profile != AUTO else []
        for name in ("strength", "chroma", "detail"):
            share = getattr(self.settings, name)
            if share is not None and not (name == "detail" and share == 0):
                given += [f"--{name}", f"{share:g}"]
        return [*given, "--look", self.settings.look] if self.settings.look != SMOOTH else given

    def command(self, photo: str) -> str:
        """The whole command, to be copied."""
        return shlex.join(["nsp", "denoise", photo, "clean", *self.options])

    def label(self, profile: str) -> str:
        """A few words for it; `profile` is the name of the profile that it came to."""
        parts = [
            f"{name} {share:g}"
            for name in ("strength", "chroma")
            if (share := getattr(self.settings, name)) is not None
        ]
        parts += [f"detail {self.settings.detail:g}"] if self.settings.detail else []
        parts += [f"look {self.settings.look}"] if self.settings.look != SMOOTH else []
        return f"{profile}, {', '.join(parts) or 'auto'}"


def usual_variants(profiles: Sequence[str]) -> list[Variant]:
    """The photo's own profile in several ways, then `profiles`, each as it would be used."""
    return [Variant(AUTO, settings) for settings in USUAL] + [Variant(name, USUAL[0]) for name in profiles]


def asked_variants(
    profiles: Sequence[str], shares: Sequence[Sequence[float | None]], looks: Sequence[str]
) -> list[Variant]:
    """All that were asked for, with each other; where only profiles were named, each in the usual ways.

    Args:
        profiles: empty: the photo's own.
        shares: strengths (None: auto), chromas (None: auto) and details; empty: not asked for.
        looks: empty: not asked for. `natural` goes with strength auto alone.

    Raises UsageError for more than a page can show, and for a combination that there is not.
    """
    strengths, chromas, details = shares
    profiles = profiles or (AUTO,)
    if not any((*shares, looks)):
        ways = list(USUAL)
    else:
        ways = [
            InferenceSettings(strength=strength, chroma=chroma, detail=detail or 0.0, look=look)
            for strength, chroma, detail, look in product(
                strengths or (None,), chromas or (None,), details or (0.0,), looks or (SMOOTH,)
            )
            if look == SMOOTH or strength is None or len(strengths) == 1
        ]
    variants = list(dict.fromkeys(Variant(profile, way) for profile, way in product(profiles, ways)))
    if len(variants) > MOST:
        raise UsageError(f"{len(variants)} variants are more than a page can show; ask for {MOST} or fewer")
    return variants
