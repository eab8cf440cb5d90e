"""The stages of a calibration: a blind-spot network is trained on the noisy photos alone, then a student."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.cli.calibrate.plan import Plan, suited
from nsp_pipeline.cli.shared.exporting import make_onnx
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training import inherited_licence, preparing, progress
from nsp_pipeline.cli.shared.training_folder import (
    TEACHER_FILE,
    TEACHER_FOLDER,
    forget_checkpoint,
    is_half_trained,
)
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.profiles.bundle import Profile, load_profile

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.photos import PhotoSet

TEACHER_SHARE = 0.35
"""Part of a time limit that training the teacher may take; its targets, and the student, take the rest."""


def calibrate_student(plan: Plan, photos: "PhotoSet", noise: NoiseField | None, out: Path, this: Run) -> Profile | None:
    """Train the student that a calibration ends in, its teacher first if it has one.

    Stopped before the student is begun, the profile holds the weights that it would have started from. Returns None in
    all processes of a training but the first, which writes.
    """
    from nsp_pipeline.calibration.publish import Origin, publish_base
    from nsp_pipeline.calibration.student.distill import Sources, distill, student_fields

    assert plan.student
    settings, start = plan.student.settings, plan.student.start
    teacher = _teacher(plan, photos, noise, this) if plan.student.taught else None
    sources = Sources(noisy=photos, teacher=teacher)
    origin = Origin(plan.origin, inherited_licence(plan.licence, start, teacher))
    if this.ranks.first_says(this.stop.asked()):
        fields = student_fields(sources, origin, noise)
        whole = plan.student.around or start
        return publish_base(out, whole, fields, "it was stopped before") if this.ranks.first else None
    say(
        this.console,
        f"training on {len(photos.training)} photos, {len(photos.held_out)} held out, recipe {plan.recipe}, a student "
        f"from {start.name}, {settings.steps} steps on {plan.device}; first, pieces of the photos are denoised",
    )
    with this.stop.finishing_first(), progress(this.console, settings.steps, start.name) as on_step:
        resume = plan.resume and is_half_trained(this.folder)
        return distill(
            sources,
            settings,
            out,
            origin=origin,
            make_onnx=make_onnx,
            base=start,
            shot_pairs=plan.shot_pairs,
            noise=noise,
            around=plan.student.around,
            on_prepared=preparing(this.console),
            run=this.options(plan.device, resume, plan.max_time, on_step),
            on_trained=this.on_trained,
        )


def _teacher(plan: Plan, photos: "PhotoSet", noise: NoiseField | None, this: Run) -> Profile:
    """Train the teacher, or take the one that this training has made already."""
    target, folder = this.folder / TEACHER_FILE, this.folder / TEACHER_FOLDER
    begun = plan.resume and is_half_trained(folder)
    if begun or not (plan.resume and target.exists()):
        if this.ranks.first:
            remove(target)  # of an earlier training, or of this one before it was stopped
            folder.mkdir(exist_ok=True)
        this.ranks.first_says(0)
        ours = replace(plan, resume=begun, max_time=plan.max_time and TEACHER_SHARE * plan.max_time)
        train_blind_spot(ours, photos, noise, target, replace(this, folder=folder))
        # All go on when the first has written it; what was stopped may be resumed.
        if this.ranks.first and not this.stop.asked():
            forget_checkpoint(folder)
        this.ranks.first_says(0)
    return load_profile(target)


def train_blind_spot(plan: Plan, photos: "PhotoSet", noise: NoiseField | None, out: Path, this: Run) -> Profile | None:
    """Train a blind-spot network on the noisy photos alone, and write its profile."""
    from nsp_pipeline.calibration.next_scale.calibrate import calibrate
    from nsp_pipeline.calibration.publish import Origin

    settings = suited(plan, noise, this.console)
    say(
        this.console,
        f"training on {len(photos.training)} photos, {len(photos.held_out)} held out, recipe {plan.recipe}, "
        f"from {plan.start.name if plan.start else 'nothing'}, {settings.steps} steps on {plan.device}",
    )
    if not photos.held_out and not plan.shot_pairs:
        say(this.console, "no photo can be kept out of training: nothing will speak for the profile", style="yellow")
    with this.stop.finishing_first(), progress(this.console, settings.steps) as on_step:
        return calibrate(
            photos,
            settings,
            out,
            origin=Origin(plan.origin, inherited_licence(plan.licence, plan.start)),
            make_onnx=make_onnx,
            base=plan.start,
            shot_pairs=plan.shot_pairs,
            noise=noise,
            pd_by_noise="pd_factor" in plan.measured,
            run=this.options(plan.device, plan.resume, plan.max_time, on_step),
        )
