"""Where the UI finds a job: with it, runs from the command line can be re-executed there."""

from __future__ import annotations

from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION = "dag"  # the module that `dagster dev` loads, and Dagster's name for it
_REPOSITORY = "__repository__"


def repository_origin() -> RemoteRepositoryOrigin:
    """The definitions of ``dag.py``, as the code location that ``dagster dev`` makes of it."""
    target = LoadableTargetOrigin(module_name=LOCATION)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteRepositoryOrigin(location, _REPOSITORY)


def job_origin(pipeline: str) -> RemoteJobOrigin:
    """The job of a pipeline in that code location."""
    return RemoteJobOrigin(repository_origin(), pipeline)
