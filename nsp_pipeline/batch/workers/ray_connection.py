"""Ray, started or joined: on the loopback device unless an address is given, and without its usage statistics."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any

from nsp_pipeline.errors import MissingCapabilityError

AUTO = "auto"
LOOPBACK = "127.0.0.1"
AUTH_MODE = "RAY_AUTH_MODE"
"""Whether Ray's processes ask each other for a token: "token" or "disabled". What the user says there stands."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join the cluster at an address and yield `ray`; "auto" joins the one of this machine, or starts one for the run.

    Raises MissingCapabilityError where Ray is not installed, or nothing answers at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise MissingCapabilityError(
            "--cluster needs Ray on every machine: pip install 'nsp-pipeline[cluster]'"
        ) from error
    handlers, asked = _handlers(), os.environ.get(AUTH_MODE)
    try:
        _join_or_start(ray, address)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        # Ray tells of workers that died wherever it likes; what a run prints there is one JSON document.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        with redirect_stdout(sys.stderr):
            ray.shutdown()
        if asked is None:
            os.environ.pop(AUTH_MODE, None)


def _join_or_start(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    refusals = (ConnectionError, getattr(ray.exceptions, "AuthenticationError", ConnectionError))
    error: Exception | None = None
    # Without a token first: who joins with one where nobody asks for it seems to be in, and his workers never start.
    for mode in ["disabled", "token"] if AUTH_MODE not in os.environ and _knows_tokens() else [None]:
        if mode:
            _ask_for_tokens(mode)
        try:
            ray.init(address=address, **quiet)
            return
        except refusals as refusal:
            error = error or refusal
    if address != AUTO:
        raise MissingCapabilityError(
            f"--cluster {address}: no Ray answers there ({error}); start one with `ray start --head`, and where it "
            "asks for a token, copy ~/.ray/auth_token from its first machine to this one"
        ) from error
    _start_on_loopback(ray, quiet)


def _knows_tokens() -> bool:
    """Whether Ray is new enough to ask for tokens."""
    return find_spec("ray._private.authentication") is not None


def _ask_for_tokens(mode: str) -> None:
    from ray._raylet import Config

    os.environ[AUTH_MODE] = mode
    Config.initialize("")  # what Ray has read from the environment before, it would keep


def _start_on_loopback(ray: Any, quiet: dict[str, Any]) -> None:
    from ray._private import ray_constants

    # Where Ray takes a machine for one of a cluster, it listens on all devices, whatever address it is told.
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(address="local", _node_ip_address=LOOPBACK, include_dashboard=False, **quiet)
    except Exception as error:  # of no class of its own, where its processes do not come up in time
        raise MissingCapabilityError(
            f"--cluster auto: Ray does not start on this machine ({error}); where it is very busy, try again later, or "
            "start it yourself with `ray start --head`"
        ) from error


def _handlers() -> dict[int, Any]:
    """What signals do now: Ray puts its own way to end in their place."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
