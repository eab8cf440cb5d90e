"""Measurements in processes of their own: one that runs out of memory, or crashes, takes no other along."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nsp_pipeline.machine.cpus import THREAD_VARIABLES

PACKAGE_ROOT = Path(__file__).parents[2]
LONGEST_TRIAL = 3600.0
"""Seconds after which a measurement is taken to hang."""


class RefusedTrialError(Exception):
    """A measurement could not be made; the text says why, for people."""


def ask(task: str, *, threads: int | None, **fields: object) -> dict[str, Any]:
    """Run one task of `trial` in a process of its own and return its answer.

    Args:
        threads: how many CPU threads the process's libraries take; None leaves each its own choice. What the
            environment says of threads is not handed on: some libraries heed it and some do not.

    Raises RefusedTrialError with the reason the task gave, or because it crashed or hung.
    """
    asked = {"task": task, **fields} if task == "work" else {"task": task, "threads": threads, **fields}
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    if threads:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *([inherited] if inherited else [])])
    try:
        # -P: the module is this package's, wherever the program was started.
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "nsp_pipeline.speed.trial"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=environment,
            timeout=LONGEST_TRIAL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RefusedTrialError(f"it did not end within {LONGEST_TRIAL:.0f} s") from None
    if ended.returncode:
        raise RefusedTrialError(_why(ended.returncode, ended.stderr))
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    if "refused" in answer:
        raise RefusedTrialError(answer["refused"])
    return answer


def _why(code: int, errors: str) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, most likely for want of memory; try a smaller --size"
    if code < 0:
        return f"its process crashed ({signal.Signals(-code).name})"
    said = errors.strip().splitlines()
    return f"its process failed: {said[-1] if said else f'exit code {code}'}"
