"""What a profile is, in words for whoever wants to use it."""

import textwrap

from nsp_pipeline.engines.measured.speeds import known_speeds, speed_key
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.profiles.bundle import UNSMOOTHED_FILE, WHITE_FILE, Profile
from nsp_pipeline.profiles.choose import DEFAULT, installed_profiles, shipped_profiles
from nsp_pipeline.profiles.gains import gain_in_words, is_of_a_camera
from nsp_pipeline.profiles.noise import isos_in_words
from nsp_pipeline.profiles.noise_file import NOISE_FILE
from nsp_pipeline.profiles.spec import ProfileSpec

PURPOSES = {
    DEFAULT: "any photo",
    "fast": "large archives",
    "quality": "best results",
    "dbsn": "nsp calibrate",
}
"""Of those that ship."""
GAINS = {DEFAULT: 2.8, "fast": 2.7, "quality": 2.8, "dbsn": 1.7}
"""PSNR that they gain, in dB, on the mean of seven noisy photos with ground truth (docs/quality.md)."""
INNER = {
    UNSMOOTHED_FILE: "and another for developed RAW, whose noise nobody has smoothed",
    WHITE_FILE: "and another for white noise: scans, stars, photos made smaller",
}
LONGEST_LICENCE = 24
LABEL, WIDTH = 13, 80


def camera_of(spec: ProfileSpec) -> str:
    """The camera by the name that it has everywhere; "any" for a student, or a base, of no camera of its own."""
    called = camera_name(Camera(spec.camera_make, spec.camera_model), read_aliases(aliases_file()))
    return called or ("any" if spec.pairs is None or (spec.pairs.clean_targets and not spec.scores.base) else "several")


def isos_of(spec: ProfileSpec) -> str:
    """The ISO that it was made for."""
    if not spec.iso_min:
        return "any"
    return f"{spec.iso_min}" if spec.iso_min == spec.iso_max else f"{spec.iso_min}-{spec.iso_max}"


def purpose_of(name: str, spec: ProfileSpec) -> str:
    """What it is for, in a few words."""
    if name in shipped_profiles():
        return PURPOSES.get(name, "photos of any camera")
    if spec.camera_model is not None:
        alone = NOISE_FILE in spec.files and not spec.has_own_weights
        return f"this camera's noise; weights of {spec.network}" if alone else "photos of this camera"
    return "photos of any camera" if spec.pairs is None else "photos like its own"


def gain_of(name: str, spec: ProfileSpec) -> str:
    """How much nearer to the truth photos come by it, in dB: of those that ship as published, of others as measured."""
    gain = GAINS.get(name) if name in shipped_profiles() else spec.scores.pair_gain
    return "" if gain is None else f"{gain:+.1f} dB"


def rate_of(profile: Profile) -> str:
    """Seconds a megapixel on this machine, where an earlier run has measured it."""
    known = [speed for speed in known_speeds(speed_key(profile, "denoise", None)) or () if not speed.trouble]
    return f"{min(speed.per_megapixel for speed in known):.2g}" if known else ""


def licence_of(spec: ProfileSpec) -> str:
    """The licence, no longer than a table holds."""
    short = spec.data.licence.partition(":")[0].partition(",")[0].removesuffix(" use only")
    return short if len(short) <= LONGEST_LICENCE else f"{short[: LONGEST_LICENCE - 1]}…"


def noise_lines(profile: Profile) -> list[tuple[str, str]]:
    """What it knows of its camera's noise, as a labelled line; none where it knows nothing."""
    known = profile.camera_noise
    if known is None:
        return []
    photos = sum(known.photos)
    return [("noise", f"known at {isos_in_words(known)} from {photos} photo{'s' * (photos > 1)}, and used with it")]


TRAINED = {
    None: "of smoothed noise, as cameras' own JPEGs have it",
    UNSMOOTHED_FILE: "for developed RAW and other noise that nobody has smoothed",
    WHITE_FILE: "for white noise: scans, stars, photos made smaller",
}
"""Networks of a student, by the file that they lie in; None is the profile itself."""


def trained_lines(profile: Profile) -> list[tuple[str, str]]:
    """Which of its networks a calibration trained, where it has several."""
    if not (profile.inner and is_of_a_camera(profile.spec.scores)):
        return []
    # A training of a network inside is written both there and on the profile around it.
    of = profile.spec.training, profile.spec.scores
    file = next((part.path.name for part in profile.inner if (part.spec.training, part.spec.scores) == of), None)
    kept = "the others are as they were" if profile.spec.scores.accepted else "it stays as it was, like the others"
    return [("calibrated", f"its network {TRAINED[file]}; {kept}")]


def _taught_by(spec: ProfileSpec) -> str:
    if not (spec.pairs and spec.pairs.clean_targets):
        return "noisy photos alone"
    return f"noisy photos, and simulated shots before ({spec.scores.base})" if spec.scores.base else "simulated shots"


def described(profile: Profile) -> str:
    """The profile in a paragraph of labelled lines: for what, from what, how good, how to use it."""
    spec = profile.spec
    name = profile.path.name.removesuffix(".nsp")
    typed = name if installed_profiles().get(name) == profile.path else printable(profile.path)
    if spec.pairs is None:
        kind = "a student: fast, sees every pixel"
    else:
        kind = f"a blind-spot network, from {_taught_by(spec)}"
    lines = [
        ("for", purpose_of(name, spec)),
        ("camera", f"{camera_of(spec)}, ISO {isos_of(spec)}"),
        ("network", kind),
        *[("", INNER[inner.path.name]) for inner in profile.inner],
        *noise_lines(profile),
        *trained_lines(profile),
        ("made from", f"{spec.data.photos} photos: {spec.data.origin}"),
        ("licence", spec.data.licence),
        *[("judged", line) for line in _scores(spec)],
    ]
    indent = " " * (LABEL + 2)
    body = "\n".join(
        textwrap.fill(
            f"  {label:<{LABEL}}{text}", WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for label, text in lines
    )
    use = f"  {'use it':<{LABEL}}nsp denoise PHOTOS CLEAN --profile {typed}"  # to be copied: never broken in two
    return f"{spec.name}\n{body}\n{use}\n  -v shows the card: noise, training and all settings"


def _scores(spec: ProfileSpec) -> list[str]:
    # The share of simulated noise that is left differs with what was simulated, and compares no two profiles.
    scores, lines = spec.scores, list[str]()
    if scores.pair_gain is not None:
        lines.append(f"{scores.pair_gain:+.1f} dB on pairs of shots of one scene")
    if scores.drift is not None:
        lines.append(f"colours move by {scores.drift:.1f} of 255 at most")
    if is_of_a_camera(scores):
        lines.append(gain_in_words(scores))
    elif scores.accepted is False and not spec.training.steps:
        lines.append(f"not trained, for want of time: the weights are those of {scores.base}")
    elif scores.accepted is False:
        lines.append(f"training made it no better than {scores.base}, whose weights it has")
    return lines
