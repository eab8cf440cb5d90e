"""From a trained network to a profile bundle: judge it against its base, export it, write it."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch

from nsp_pipeline import __version__
from nsp_pipeline.calibration.archive.one_name import of_several_makers
from nsp_pipeline.calibration.card import other_networks, profile_card
from nsp_pipeline.calibration.training.judge import NOISE_LEFT, Judgement, Verdict, compare, compare_errors
from nsp_pipeline.calibration.training.loop import Trained
from nsp_pipeline.calibration.training.photos import Photo
from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.calibration.training.shot_pairs import ShotPairs
from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import build_backbone, load_backbone
from nsp_pipeline.models.widening import can_widen, widen
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, write_profile
from nsp_pipeline.profiles.noise_file import NOISE_FILE, noise_file
from nsp_pipeline.profiles.spec import BackboneSpec, InferenceSpec

MakeOnnx = Callable[[Backbone, str, InferenceSpec, Mapping[str, str]], bytes]
"""(network, mode, PD at inference, metadata) -> checked ONNX file; handed in, as export is a package of its own."""


OF_A_NETWORK = "pairs", "inference", "backbone"
"""What `profile.json` says of one network; all else it says of the photos, and of how it came about."""

MANTISSA = 11
"""Bits that weights keep, as many as float16 has: relative errors of 2^-11 at most, far below what engines change."""


@dataclass(frozen=True)
class InferenceChoice:
    """The way taken, and the squared error (0..1, estimated) that each way leaves."""

    inference: InferenceSpec
    errors: dict[str, float]


@dataclass(frozen=True)
class Origin:
    """What a profile must say of its photos: where they come from and on what terms the weights may be used."""

    description: str
    licence: str


def publish(
    target: Path,
    trained: Trained,
    settings: TrainingSettings,
    fields: Mapping[str, object],
    *,
    choose: Callable[[Backbone], InferenceChoice],
    held_out_photos: int,
    base: Profile | None,
    shot_pairs: ShotPairs | None,
    make_onnx: MakeOnnx,
    camera_noise: CameraNoise | None = None,
    around: Profile | None = None,
) -> Profile:
    """Write a profile to `target` (a folder, or a zip when it ends in `.nsp`).

    With a base, the new weights are taken only if they beat the base's on held-out photos by more than two standard
    errors; otherwise the profile holds the base's weights, and says so. Pairs of shots decide where there are any.

    Args:
        fields: what `profile.json` says of photos, data and pairs.
        choose: says how a network of this training should be run.
        camera_noise: what the photos say of their camera's noise; it serves wherever the profile does.
        around: the profile that holds the base for other noise than its own: all else of it stays.

    Raises:
        OutputError: the target exists or cannot be written.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    _round(trained.network)
    start = base_network(base, settings) if base else None
    choice = choose(trained.network)
    errors = shot_pairs.errors(trained.network, choice.inference) if shot_pairs else None
    verdict = None
    by_pairs = trained.steps > 0 and shot_pairs is not None and errors is not None and len(errors) > 1
    if start and shot_pairs and errors is not None and by_pairs:
        verdict = compare_errors(errors, shot_pairs.errors(start, choice.inference), "squared error on pairs of shots")
    elif start:
        verdict = _verdict(trained)
    network = trained.network
    if start and not (verdict and verdict.accepted):
        network, choice = start, choose(start)
    name = target.name.removesuffix(".nsp")
    backbone = BackboneSpec.of(settings.backbone, settings.backbone_sizes, network)
    # What stays as it was is so to the byte: engines that were built or measured for the base serve it too.
    as_it_was = base.content if base and network is start and _runs_alike(base, backbone, choice.inference) else {}
    weights = as_it_was.get(WEIGHTS_FILE) or _saved(network)
    everything = {
        "name": name,
        **fields,
        "inference": choice.inference.model_dump(),
        "backbone": backbone.model_dump(),
        "training": {
            "settings": settings.model_dump(mode="json"),
            "steps": trained.best_step,
            "seconds": round(trained.seconds, 1),
            "version": __version__,
        },
        "scores": {
            **_scores(held_out_photos, trained, verdict, base, by_pairs=by_pairs),
            "inference_errors": choice.errors or None,
            "pair_gain": shot_pairs.gain(errors) if shot_pairs and errors is not None else None,
        },
    }
    metadata = {"profile": name, "sha256": hashlib.sha256(weights).hexdigest()}
    # What sees every pixel has no PD: its `sr` is its `sr-direct` (see Profile.graph_file).
    modes = {mode: file for mode, file in MODEL_FILES.items() if network.blind or mode != "sr"}
    files = {
        file: as_it_was.get(file) or make_onnx(network, mode, choice.inference, metadata)
        for mode, file in modes.items()
    }
    files[WEIGHTS_FILE] = weights
    known = {NOISE_FILE: noise_file(camera_noise)} if camera_noise else {}
    if around and base:
        return _within(target, around, base.path.name, everything, {**files, **known})
    inner = base.inner if base else []
    # They were not trained: photos with other noise are made as before.
    files |= {part.path.name: base.content[part.path.name] for part in inner if base}
    files[CARD_FILE] = (profile_card(everything) + other_networks(inner)).encode()
    return write_profile(target, everything, files | known)


def publish_base(target: Path, base: Profile, fields: Mapping[str, object], reason: str) -> Profile:
    """Write a profile that holds a base as it is, where a training has not come to anything to be judged.

    Args:
        fields: what `profile.json` says of photos and data.
        reason: why, as a verdict.

    Raises OutputError: the target exists or cannot be written.
    """
    scores = {"held_out_photos": 0, "base": base.name, "accepted": False, "verdict": reason}
    return _as_it_is(target, base, {**fields, "scores": scores}, {})


def _within(
    target: Path, around: Profile, file: str, everything: Mapping[str, object], files: Mapping[str, bytes]
) -> Profile:
    """Write a profile as it is but for one of INNER_FILES, which is this one, and what it says of its photos."""
    of_camera = {name: data for name, data in files.items() if name == NOISE_FILE}
    own = {name: data for name, data in files.items() if name != NOISE_FILE}
    with TemporaryDirectory() as folder:
        card = {CARD_FILE: profile_card(everything).encode()}
        inner = write_profile(Path(folder) / file, everything, {**own, **card})
        content = inner.path.read_bytes()
    said = {name: field for name, field in everything.items() if name not in OF_A_NETWORK}
    return _as_it_is(target, around, said, {**of_camera, file: content}, inner)


def _as_it_is(
    target: Path,
    base: Profile,
    fields: Mapping[str, object],
    files: Mapping[str, bytes],
    trained: Profile | None = None,
) -> Profile:
    """Write a profile with a base's own network, these fields and files, and the networks in it, one trained anew."""
    spec = base.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    everything = {**spec, **fields, "name": target.name.removesuffix(".nsp")}
    inner = [trained if trained and trained.path.name == part.path.name else part for part in base.inner]
    card = profile_card(everything) + other_networks(inner)
    # What the base knows of its camera's noise is not known of these photos.
    content = {name: data for name, data in base.content.items() if name != NOISE_FILE}
    return write_profile(target, everything, {**content, **files, CARD_FILE: card.encode()})


def require_judges(
    base: Profile | None,
    crops: int,
    shot_pairs: ShotPairs | None,
    fewest: str,
    otherwise: str,
) -> None:
    """Raise UsageError where nothing could ever say that new weights beat the base's, before they are trained.

    Args:
        crops: places of held-out photos that are judged; of fewer than two there is no standard error.
        fewest: what photos it would take, in words.
        otherwise: what else can be done, in words.
    """
    if base and crops < 2 and (shot_pairs is None or len(shot_pairs.first) < 2):
        raise UsageError(
            f"these photos are too few to train from {base.name}: none is left to be kept out of training, and nothing "
            f"could say whether the new weights beat the old. Give {fewest}, or two shots of one scene (--pair A B), "
            f"or {otherwise}"
        )


def _runs_alike(base: Profile, backbone: BackboneSpec, inference: InferenceSpec) -> bool:
    """Whether a network is its base's, no wider, and is run like that."""
    ours = backbone.model_dump(mode="json"), inference
    return ours == (base.spec.backbone.model_dump(mode="json"), base.spec.inference)


def _saved(network: Backbone) -> bytes:
    """The weights, as a bundle keeps them."""
    content: bytes = safetensors.torch.save({key: part.contiguous() for key, part in network.state_dict().items()})
    return content


def _round(network: Backbone) -> None:
    """Round the weights to MANTISSA bits, in place: bundles are two thirds as large, and pictures the same."""
    with torch.no_grad():
        for part in network.parameters():
            mantissa, exponent = torch.frexp(part)
            part.copy_(torch.ldexp((mantissa * 2**MANTISSA).round() / 2**MANTISSA, exponent))


def about_photos(photos: Sequence[Photo]) -> dict[str, object]:
    """What `profile.json` says of the camera: make and model where all photos are of one, and the range of ISO.

    Photos that state no camera do not speak against one that at least half of them state. Cameras of several makers are
    not one, whatever the user calls them.
    """
    isos = [photo.camera.iso for photo in photos if photo.camera.iso]
    # Spellings of one camera are one, the user's own among them; the first photo's stands for all.
    aliases = _aliases()
    named = [photo.camera for photo in photos if camera_name(photo.camera, aliases)]
    one = len({camera_name(camera, aliases) for camera in named}) == 1 and 2 * len(named) >= len(photos)
    one = one and not of_several_makers(named, aliases)
    return {
        "camera_make": named[0].make if one else None,
        "camera_model": named[0].model if one else None,
        "iso_min": min(isos, default=None),
        "iso_max": max(isos, default=None),
    }


def _aliases() -> Mapping[str, str]:
    """The user's names for cameras; a table that cannot be read is no reason to lose a training."""
    try:
        return read_aliases(aliases_file())
    except UsageError:
        return {}


def base_network(base: Profile, settings: TrainingSettings) -> Backbone:
    """Load a base's network, widened where the settings ask for more channels: it gives the same pictures.

    Raises UsageError when it is of another backbone, or differs from the settings in more than being narrower.
    """
    spec = base.spec.backbone
    wanted = {"backbone": settings.backbone, **settings.backbone_sizes}
    given = {"backbone": spec.name, **spec.sizes}
    network = load_backbone(spec.name, spec.sizes, base.read(WEIGHTS_FILE))
    if json.loads(json.dumps(wanted)) == given:
        return network
    torch.manual_seed(settings.seed)  # of what new channels start from
    wide = build_backbone(settings.backbone, settings.backbone_sizes).eval()
    if not can_widen(network, wide):
        other = ", ".join(f"{key} {given.get(key)}" for key in wanted if wanted[key] != given.get(key))
        raise UsageError(f"base {base.path} is another network than the recipe asks for: it has {other}")
    widen(network, wide)
    return wide


def _verdict(trained: Trained) -> Verdict:
    """Compare with the base. Without time to train, or without held-out photos, the new weights are not accepted."""
    if not trained.steps:
        return Verdict(False, 0.0, float("inf"), "there was no time to train and to judge what comes of it; allow more")
    if trained.judgement is None or trained.base_judgement is None:
        return Verdict(False, 0.0, float("inf"), "no photo could be kept out of training to compare with the base")
    return compare(trained.judgement, trained.base_judgement)


def _scores(
    held_out: int, trained: Trained, verdict: Verdict | None, base: Profile | None, *, by_pairs: bool
) -> dict[str, object]:
    scores: dict[str, object] = {"held_out_photos": held_out}
    # JSON has no NaN: what could not be measured is left out.
    scores["history"] = [(step, float(f"{error:.6g}")) for step, error in trained.history if math.isfinite(error)]
    found, first = trained.judgement, trained.base_judgement
    if found:
        scores |= {name: value for name, value in _errors(found).items() if math.isfinite(value)}
        scores |= {name: value for name in ("drift", "leak", "edges") if math.isfinite(value := getattr(found, name))}
    if verdict and base:
        scores |= {"base": base.name, "accepted": verdict.accepted, "verdict": verdict.reason}
        if first:
            scores |= {f"base_{name}": value for name, value in _errors(first).items() if name != "noisy_l1"}
    if found and found.relative:
        scores["measures"] = _measures(found)
    # Where pairs of shots decided, theirs is the gain that is told.
    if verdict and verdict.accepted and verdict.claim and not by_pairs:
        scores |= {"gain": round(verdict.claim.gain, 3), "gain_error": round(verdict.claim.error, 3)}
    return scores


def _measures(found: Judgement) -> dict[str, tuple[float, float]]:
    """The gain by each measure, in dB beside the base, and its standard error over crops."""
    told = {}
    for what, errors in {found.what: found.mse, **found.others}.items():
        measured = compare_errors(errors, 0 * errors, what)
        if math.isfinite(measured.gain) and math.isfinite(measured.standard_error):
            told[what] = (round(measured.gain, 3), round(measured.standard_error, 3))
    return told


def _errors(found: Judgement) -> dict[str, float]:
    """What `profile.json` calls a network's own errors; those in dB beside its base say nothing by themselves."""
    if found.relative:
        return {}
    return {"noise_left": found.mean} if found.what == NOISE_LEFT else {"noisy_l1": found.l1, "noisy_mse": found.mean}
