"""Measurements in processes of their own: one that runs out of memory, or crashes, takes no other along."""

from typing import Any

from nsp_pipeline.machine.apart import ask_module

LONGEST_TRIAL = 3600.0
"""Seconds after which a measurement is taken to hang."""


def ask(task: str, *, threads: int | None, **fields: object) -> dict[str, Any]:
    """Run one task of `trial` in a process of its own and return its answer; arguments and errors as `ask_module`."""
    asked = {"task": task, **fields} if task == "work" else {"task": task, "threads": threads, **fields}
    return ask_module("nsp_pipeline.speed.trial", asked, threads=threads, longest=LONGEST_TRIAL)
