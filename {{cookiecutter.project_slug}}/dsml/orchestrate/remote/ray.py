"""Workers of Ray: those of a cluster that is there, or of one that a run starts for itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from dsml.contract.needs import Needs
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.orchestrate.remote import worker
from dsml.orchestrate.remote.executor import Cluster, Done
from dsml.orchestrate.remote.worker import Request, on_ray

VARIABLE = "RAY_ADDRESS"  # Ray's own
_LOST = 3  # how often a step is executed again whose worker is lost
_LOCAL = "local"
_START_TIMEOUT = 300.0  # seconds
_TICK = 0.1  # seconds between two looks
_PORTS = (
    "dashboard_agent_listen_port",
    "metrics_agent_port",
    "runtime_env_agent_port",
)
# Of a cluster that is started here: it listens on 127.0.0.1 alone, as Ray has it by itself where a
# cluster is of one machine at all times, and tells its makers nothing.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def connect_ray(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """The workers of the cluster at an address, or of one that is started here.

    Without an address that of the environment is taken. Of a cluster that is started here
    ``workers`` is the number of cores that its steps may take; None: all.

    Raises:
        ProjectError: nobody answers at the address.
    """
    address = address or os.environ.get(VARIABLE) or _LOCAL
    count = workers or os.cpu_count() or 1
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == _LOCAL:
        options |= {"num_cpus": count, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1", "_metrics_export_port": _free_port()}
    with _environment(ALONE if address == _LOCAL else {}):
        import ray

        ray.cloudpickle.register_pickle_by_value(worker)
        _begin(address, options)
    try:
        if address == _LOCAL:
            yield _Ray(f"Ray, {count} cores of this machine", count)
        else:
            yield _Ray(f"Ray, {address}", None)
    finally:
        ray.shutdown()


def _begin(address: str, options: dict[str, Any]) -> None:
    import ray

    try:
        with _patience() if address == _LOCAL else nullcontext():
            ray.init(address, **options)
    except Exception as error:  # plain ones are among them
        raise ProjectError([_problem(address, error)]) from None


@contextmanager
def _patience() -> Iterator[None]:
    """Have Ray wait for the processes that it starts, and have them listen on 127.0.0.1 alone.

    It gives them half a minute, and 15 seconds to tell the ports that they have chosen themselves:
    on a machine with much to do that is not enough. There are no options for either.
    """
    from ray._private import parameter, ray_constants, services

    saved = ray_constants.ENABLE_RAY_CLUSTER, parameter.RayParams, services.get_node
    ray_constants.ENABLE_RAY_CLUSTER = False  # where it was imported before
    parameter.RayParams = partial(saved[1], **{name: _free_port() for name in _PORTS})
    services.get_node = partial(_wait_for_node, saved[2])
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, parameter.RayParams, services.get_node = saved


def _wait_for_node(look: Callable[..., Any], *arguments: Any) -> Any:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            return look(*arguments)
        except RuntimeError:  # it is not there yet
            if time.monotonic() > deadline:
                raise
            time.sleep(_TICK)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _problem(address: str, error: Exception) -> Problem:
    what = f"no cluster of Ray answers at {address}: {error}"
    fix = f"start it, or name another: {VARIABLE}=host:6379; without one a run has its own"
    if address == _LOCAL:
        what = f"Ray could not be started on this machine: {error}"
        fix = "look at /tmp/ray/session_latest/logs; where there is less to do it starts sooner"
    return Problem(Where(VARIABLE), what, fix, "no-cluster")


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Ray:
    """Hands steps to the workers of a cluster; it tries those of lost workers again itself."""

    def __init__(self, where: str, limit: int | None) -> None:
        self.where = where
        self.limit = limit
        self._tasks: list[Any] = []

    def submit(self, request: Request, name: str, needs: Needs, done: Done) -> None:
        """Have a worker execute a step."""
        import ray

        function = ray.remote(max_retries=_LOST, **self._options(needs))(on_ray)
        task = function.options(name=name).remote(request)
        self._tasks.append(task)
        task.future().add_done_callback(lambda over: done(over.result))

    def stop(self, run_id: str) -> None:  # noqa: ARG002 - a cluster knows a run by its tasks
        """Have the steps of a run end."""
        import ray

        for task in self._tasks:
            ray.cancel(task)

    def end(self, run_id: str) -> None:
        """Do nothing: a worker of Ray is of one run, and ends with it."""

    def _options(self, needs: Needs) -> dict[str, Any]:
        """What is reserved for a step; of this machine no more than there is."""
        import ray

        there = ray.cluster_resources() if self.limit is not None else {}
        asked = {"CPU": needs.cpu or 1.0, "GPU": needs.gpu or 0, "memory": needs.memory or 0}
        if self.limit is not None:
            asked = {name: min(value, there.get(name, 0)) for name, value in asked.items()}
        return {
            "num_cpus": asked["CPU"],
            "num_gpus": asked["GPU"],
            "memory": asked["memory"] or None,
        }
