"""Which profile each photo gets, settled for all photos before the first is touched."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.errors import DecoderFailedError, PhotoError
from nsp_pipeline.frames.frame import Camera, Facts
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import ANY_CAMERA, Choice

AUTO = "auto"
AS_ASKED = "as you asked"
"""Why a photo gets the profile that was named."""

METADATA_READERS = 4
AT_A_TIME = 32
"""Photos that a reader is handed at once: handing over costs as much as reading the head of a small file."""


@dataclass(frozen=True)
class Task:
    """A job and its profile (None: the photo is left out), with the reason in words.

    `trouble` is why the photo could not be asked for its camera, where that is no fault of the photo. `facts` is what
    its header said, where it was asked.
    """

    job: Job
    profile: Profile | None
    why: str
    trouble: DecoderFailedError | None = None
    facts: Facts | None = None


def assign_profiles(jobs: Sequence[Job], sources: Sources, *, profile: str, on_missing: str, mode: str) -> list[Task]:
    """Give every job its profile, and put jobs of one profile together.

    Args:
        profile: "auto", or the name or path of the one for all.
        on_missing: see profiles.choose.choose_profile.
        mode: what the profile must have a graph for.

    Raises:
        ProfileError: a profile does not exist, is damaged, or lacks the mode.
        UsageError: no profile fits and `on_missing` is "error".
    """
    if profile == AUTO:
        tasks = []
        choices: dict[Camera, Choice] = {}
        for job, facts in zip(jobs, _facts(jobs), strict=True):
            if isinstance(facts, DecoderFailedError):
                tasks.append(Task(job, None, facts.reason, facts))
                continue
            camera = facts.camera if facts else Camera()
            if camera not in choices:
                choices[camera] = sources.choose_profile(camera, on_missing=on_missing, mode=mode)
            choice = choices[camera]
            tasks.append(Task(job, choice.profile, choice.why, facts=facts))
    else:
        found = sources.find_profile(profile)
        tasks = [Task(job, found, AS_ASKED) for job in jobs]
    distinct = {task.profile.sha256: task.profile for task in tasks if task.profile}
    for found in distinct.values():
        found.require_mode(mode)
    order = {sha256: place for place, sha256 in enumerate(distinct)}
    return sorted(tasks, key=lambda task: order[task.profile.sha256] if task.profile else len(order))


def reasons(tasks: Sequence[Task]) -> dict[str, str]:
    """Why each profile is used, by its hash; where cameras differ, the first reason and how many more there are."""
    found: dict[str, dict[str, None]] = {}
    for task in tasks:
        if task.profile:
            found.setdefault(task.profile.sha256, {}).setdefault(task.why)
    return {sha256: _first_and_number(list(whys)) for sha256, whys in found.items()}


def _first_and_number(whys: Sequence[str]) -> str:
    more = len(whys) - 1
    if more and all(why.startswith(ANY_CAMERA) for why in whys):
        return ANY_CAMERA  # which needs no reason; -v has it for every photo
    return whys[0] if not more else f"{whys[0]}, and for {more} other cameras or ISO; -v tells of each"


def _facts(jobs: Sequence[Job]) -> list[Facts | DecoderFailedError | None]:
    readers = ThreadPoolExecutor(METADATA_READERS)
    parts = [jobs[start : start + AT_A_TIME] for start in range(0, len(jobs), AT_A_TIME)]
    try:
        return [facts for part in readers.map(lambda part: [*map(_facts_of, part)], parts) for facts in part]
    finally:
        # At once, also on Ctrl-C with thousands of files to go.
        readers.shutdown(wait=False, cancel_futures=True)


def _facts_of(job: Job) -> Facts | DecoderFailedError | None:
    """What the header says; None for a photo that cannot be read, which is reported when its turn comes.

    Where our own reader broke down, a photo must not be made with the profile of a camera that is not its own.
    """
    try:
        return read_facts(job.input)
    except DecoderFailedError as error:
        return error
    except PhotoError:
        return None
