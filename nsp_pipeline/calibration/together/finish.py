"""From weights that were trained together to what ships: means of several trainings, and a student's profile."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file

from nsp_pipeline.calibration.card import OTHERS, other_networks
from nsp_pipeline.calibration.publish import InferenceChoice, MakeOnnx, Origin, publish
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.loop import Trained
from nsp_pipeline.core.noise_kind import NoiseKind
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.models.unet import UNet, sizes_of
from nsp_pipeline.profiles.bundle import (
    CARD_FILE,
    INNER_FILES,
    MODEL_FILES,
    WEIGHTS_FILE,
    Profile,
    copy_profile,
    write_profile,
)
from nsp_pipeline.profiles.spec import InferenceSpec


def mixed(base: Path, others: Sequence[tuple[float, Path]]) -> dict[str, torch.Tensor]:
    """The weights of a file moved by a share of the way towards each of others (Ilharco et al. 2023).

    Trainings that went on from one base on different photos keep, in their mean, most of what each has learnt.
    """
    start = {key: part.float() for key, part in load_file(base).items()}
    weights = dict(start)
    for share, path in others:
        for key, part in load_file(path).items():
            weights[key] = weights[key] + share * (part.float() - start[key])
    return weights


def with_others(camera: Profile, others: Mapping[NoiseKind, Profile], target: Path) -> Profile:
    """Write a profile that is `camera`, and holds others for photos with other kinds of noise.

    Raises:
        OutputError: the target exists or cannot be written.
        ProfileError: one cannot take the other's place.
    """
    files = {name: data for name, data in camera.content.items() if name not in INNER_FILES.values()}
    with TemporaryDirectory() as folder:
        inner = [copy_profile(other, Path(folder) / INNER_FILES[kind]) for kind, other in others.items()]
        files |= {profile.path.name: profile.path.read_bytes() for profile in inner}
        alone = files[CARD_FILE].decode().partition(OTHERS)[0]
        files[CARD_FILE] = (alone + other_networks(inner)).encode()
    made = write_profile(target, camera.spec.model_dump(exclude={"schema_version", "files"}), files)
    assert len(made.by_noise) == 1 + len(others)
    return made


def exported_anew(profile: Profile, target: Path, make: MakeOnnx) -> Profile:
    """Write a profile whose graphs are exported anew from its weights, in the networks that it holds as well.

    All else stays as it is: for a profile made before graphs were written as they are now.

    Raises:
        OutputError: the target exists or cannot be written.
        NspError: an exported graph does not agree with the network; nothing is written then.
    """
    spec = profile.spec
    network = load_backbone(spec.backbone.name, spec.backbone.sizes, profile.read(WEIGHTS_FILE))
    metadata = {"profile": profile.name, "sha256": spec.files[WEIGHTS_FILE]}
    files = dict(profile.content)
    for mode, file in MODEL_FILES.items():
        if file in files:
            files[file] = make(network, mode, spec.inference, metadata)
    with TemporaryDirectory() as folder:
        for inner in profile.inner:
            made = exported_anew(inner, Path(folder) / inner.path.name, make)
            files[inner.path.name] = made.path.read_bytes()
    return write_profile(target, spec.model_dump(exclude={"schema_version", "files"}), files)


def student_profile(
    weights: Path, target: Path, settings: StudentSettings, figures: Mapping[str, float], origin: Origin, make: MakeOnnx
) -> Profile:
    """Write a student's profile.

    Args:
        weights: NAME.safetensors, of a U-Net of any size.
        figures: `step`, `seconds` and the student's `loss` of its training.

    Raises:
        OutputError: the target exists or cannot be written.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    parts = load_file(weights)
    channels, pairs = sizes_of(parts)
    network = UNet.of_weights(parts, settings.scale)
    steps = int(figures["step"])
    trained = Trained(network.eval(), steps, steps, figures["seconds"], figures["loss"], None, None)
    fields = {
        "camera_make": None,
        "camera_model": None,
        "iso_min": None,
        "iso_max": None,
        "pairs": None,
        "data": {"origin": origin.description, "licence": origin.licence, "photos": 0},
    }
    return publish(
        target,
        trained,
        settings.model_copy(update={"channels": channels, "pairs": pairs}),
        fields,
        choose=lambda network: InferenceChoice(InferenceSpec(pd_factor=1, self_ensemble=settings.self_ensemble), {}),
        held_out_photos=0,
        base=None,
        shot_pairs=None,
        make_onnx=make,
    )
