"""Workers of Ray: those of a cluster that is there, or of one that a run starts for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsml.contract.needs import Needs
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.orchestrate.remote import worker
from dsml.orchestrate.remote.executor import Cluster, Done
from dsml.orchestrate.remote.worker import Request, on_ray

VARIABLE = "RAY_ADDRESS"  # Ray's own
_LOST = 3  # how often a step is executed again whose worker is lost
_LOCAL = "local"
_MODE = "RAY_AUTH_MODE"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_STARTS = 3  # Ray gives its processes 15 seconds; under load that is not always enough
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
    is_local = address == _LOCAL
    count = workers or os.cpu_count() or 1
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if is_local:
        options |= {"num_cpus": count, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with _environment(ALONE if is_local else _token()):
        import ray

        ray.cloudpickle.register_pickle_by_value(worker)
        _begin(address, options)
    try:
        where = f"{count} cores of this machine" if is_local else address
        yield _Ray(f"Ray, {where}", count if is_local else None)
    finally:
        ray.shutdown()


def _begin(address: str, options: dict[str, Any]) -> None:
    import ray
    from ray._private import ray_constants

    starts = 1
    if address == _LOCAL:
        starts = _STARTS
        ray_constants.ENABLE_RAY_CLUSTER = False  # where it was imported before
    for left in reversed(range(starts)):
        try:
            ray.init(address, **options)
        except Exception as error:  # plain ones are among them
            ray.shutdown()
            if not left:
                raise ProjectError([_problem(address, error)]) from None
        else:
            return


def _token() -> dict[str, str]:
    """What has a token shown that is there: a cluster that is begun where there is one wants it."""
    known = [*filter(None, map(os.environ.get, _TOKENS))]
    if _MODE in os.environ or not (known or (Path.home() / ".ray" / "auth_token").is_file()):
        return {}
    return {_MODE: "token"}


def _problem(address: str, error: Exception) -> Problem:
    what = f"no cluster of Ray answers at {address}: {error}"
    fix = (
        f"start it, or name another: {VARIABLE}=host:6379; where it asks for a token: "
        f"{_TOKENS[0]}; without an address a run has a cluster of its own"
    )
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
        import ray

        function = ray.remote(max_retries=_LOST, **self._options(needs))(on_ray)
        task = function.options(name=name).remote(request)
        self._tasks.append(task)
        task.future().add_done_callback(lambda over: done(over.result))

    def stop(self, run_id: str) -> None:  # noqa: ARG002 - a cluster knows a run by its tasks
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
