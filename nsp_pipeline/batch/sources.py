"""Where a run's profiles and engines come from; whoever starts a run may hand in others."""

from collections.abc import Callable
from dataclasses import dataclass

from nsp_pipeline.engines.choose import open_engine, open_reference
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import Choice, choose_profile, find_profile


@dataclass(frozen=True)
class Sources:
    """Four functions with the arguments, results and errors of those that stand here as defaults."""

    choose_profile: Callable[..., Choice] = choose_profile
    find_profile: Callable[[str], Profile] = find_profile
    open_engine: Callable[..., Engine] = open_engine
    open_reference: Callable[..., Engine] = open_reference
