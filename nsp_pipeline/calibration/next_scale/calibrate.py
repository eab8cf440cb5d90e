"""From a set of noisy photos to a profile bundle: load, train, export, write."""

from pathlib import Path

from nsp_pipeline.calibration.archive.survey import camera_noise_of, noise_fields
from nsp_pipeline.calibration.next_scale.inference_choice import choose_inference
from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.publish import (
    InferenceChoice,
    MakeOnnx,
    Origin,
    about_photos,
    base_network,
    publish,
    require_judges,
)
from nsp_pipeline.calibration.training.loop import KNOWING_SHARE, RunOptions, train
from nsp_pipeline.calibration.training.photos import PhotoSet
from nsp_pipeline.calibration.training.shot_pairs import ShotPairs
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.spec import InferenceSpec


def calibrate(
    photos: PhotoSet,
    settings: NextScaleSettings,
    target: Path,
    *,
    origin: Origin,
    make_onnx: MakeOnnx,
    base: Profile | None = None,
    shot_pairs: ShotPairs | None = None,
    noise: NoiseField | None = None,
    pd_by_noise: bool = False,
    run: RunOptions = RunOptions(),  # noqa: B008  frozen
) -> Profile | None:
    """Train on the photos and write a profile to `target` (a folder, or a zip when it ends in `.nsp`).

    With a base, the new weights are taken only if they beat the base's on held-out photos by more than two standard
    errors; otherwise the profile holds the base's weights, and says so. Stopped early, the profile holds the
    network so far. The profile says the measured `noise` of the photos; with `pd_by_noise`, how the network is run (PD,
    none, or a blend) is chosen by it and by the photos kept out, or by others where none were. Returns None in all
    processes of a training but the first, which writes.

    Raises:
        OutputError: the target exists or cannot be written.
        UsageError: the base is of another backbone or other sizes than the settings; or see `train`.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    training, held_out = ([photo.pixels for photo in part] for part in (photos.training, photos.held_out))
    objective = NextScaleObjective(training, held_out, settings, run.torch_device)
    fewest = f"three photos or more, some larger than {settings.crop} pixels a side"
    require_judges(base, objective.judged_crops, shot_pairs, fewest, "start from nothing")
    # Before the training, which ends so that what is left of the time suffices to write the profile.
    shots = [(photo.camera, photo.pixels) for photo in [*photos.training, *photos.held_out]]
    camera_noise = camera_noise_of(shots, run.prepared_by(KNOWING_SHARE)) if run.ranks.first else None
    trained = train(objective, settings, base=base_network(base, settings) if base else None, run=run)
    if not run.ranks.first:
        return None
    pairs: dict[str, object] = {"s": settings.s, "t": settings.t, "n": settings.n, "strategy": str(settings.strategy)}
    if base and base.spec.pairs and base.spec.pairs.clean_targets:
        pairs["clean_targets"] = True
    fields = {
        **about_photos([*photos.training, *photos.held_out]),
        "pairs": pairs,
        **noise_fields(noise),
        "data": {"origin": origin.description, "licence": origin.licence, "photos": len(photos.training)},
        "development": photos.development,
    }
    usual = InferenceChoice(InferenceSpec(pd_factor=settings.pd_factor or settings.t), {})

    def choose(network: Backbone) -> InferenceChoice:
        if noise is None or not pd_by_noise:
            return usual
        found = choose_inference(network.to(run.torch_device), held_out or training, noise)
        network.cpu()
        return found or usual

    return publish(
        target,
        trained,
        settings,
        fields,
        choose=choose,
        held_out_photos=len(photos.held_out),
        base=base,
        shot_pairs=shot_pairs,
        make_onnx=make_onnx,
        camera_noise=camera_noise,
    )
