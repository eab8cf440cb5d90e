"""Questions to modules of this package in processes of their own: one that crashes takes no other along.

Such a module reads its question as JSON from standard input, and answers with JSON in the last line of its standard
output; an answer of {"refused": why} is a refusal in words for people.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nsp_pipeline.machine.cpus import THREAD_VARIABLES

PACKAGE_ROOT = Path(__file__).parents[2]


class RefusedTrialError(Exception):
    """A measurement could not be made; the text says why, for people."""


def ask_module(module: str, question: Mapping[str, object], *, threads: int | None, longest: float) -> dict[str, Any]:
    """Ask a module in a process of its own and return its answer.

    Args:
        threads: how many CPU threads the process's libraries take; None leaves each its own choice. What the
            environment says of threads is not handed on: some libraries heed it and some do not.
        longest: seconds after which it is taken to hang, and ended.

    Raises RefusedTrialError with the reason the module gave, or because it crashed, hung or could not be started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    if threads:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *([inherited] if inherited else [])])
    try:
        # -P: the module is this package's, wherever the program was started.
        ended = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            env=environment,
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RefusedTrialError(f"it did not end within {longest:.0f} s") from None
    except OSError as error:
        raise RefusedTrialError(f"its process cannot be started: {error.strerror or error}") from None
    if ended.returncode:
        raise RefusedTrialError(_why(ended.returncode, ended.stderr))
    try:
        answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RefusedTrialError("its process gave no answer") from None
    if "refused" in answer:
        raise RefusedTrialError(answer["refused"])
    return answer


def _why(code: int, errors: str) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, most likely for want of memory"
    if code < 0:
        return f"its process crashed ({signal.Signals(-code).name})"
    said = errors.strip().splitlines()
    return f"its process failed: {said[-1] if said else f'exit code {code}'}"
