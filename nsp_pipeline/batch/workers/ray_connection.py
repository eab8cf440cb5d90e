"""Ray, started or joined: on the loopback device unless an address is given, and without its usage statistics."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from nsp_pipeline.errors import MissingCapabilityError

AUTO = "auto"
LOOPBACK = "127.0.0.1"


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
    handlers = _handlers()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != AUTO:
            raise MissingCapabilityError(
                f"--cluster {address}: no Ray answers there ({error}); start one with `ray start --head`"
            ) from error
        _start_on_loopback(ray, quiet)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        # Ray tells of workers that died wherever it likes; what a run prints there is one JSON document.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        with redirect_stdout(sys.stderr):
            ray.shutdown()


def _start_on_loopback(ray: Any, quiet: dict[str, Any]) -> None:
    from ray._private import ray_constants

    # Where Ray takes a machine for one of a cluster, it listens on all devices, whatever address it is told.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(address="local", _node_ip_address=LOOPBACK, include_dashboard=False, **quiet)


def _handlers() -> dict[int, Any]:
    """What signals do now: Ray puts its own way to end in their place."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
