"""Where the UI finds a job: with it, runs from the command line can be re-executed there."""

from __future__ import annotations

from pathlib import Path

from dagster import DagsterRun
from dagster._core.code_pointer import CodePointer, ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION = "dag"  # the module that `dagster dev` loads, and Dagster's name for it
_REPOSITORY = "__repository__"


def loadable_repository(root: Path) -> ReconstructableRepository:
    """The definitions of ``dag.py``, which any process can load for itself."""
    return ReconstructableRepository.for_module(LOCATION, "defs", working_directory=str(root))


def repository_origin() -> RemoteRepositoryOrigin:
    """The definitions of ``dag.py``, as the code location that ``dagster dev`` makes of it."""
    target = LoadableTargetOrigin(module_name=LOCATION)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteRepositoryOrigin(location, _REPOSITORY)


def job_origin(pipeline: str) -> RemoteJobOrigin:
    """The job of a pipeline in that code location."""
    return RemoteJobOrigin(repository_origin(), pipeline)


def location_of(run: DagsterRun) -> str:
    """The name of the code location that the UI has the job of a run in.

    A run that was executed without the UI's knowledge tells only which module it is of: that of a
    project of ``dg`` which hosts this one is called as its folder, unless its settings say
    otherwise.
    """
    if run.remote_job_origin is not None:
        return run.remote_job_origin.location_name
    pointer = code_pointer(run)
    if isinstance(pointer, ModuleCodePointer) and pointer.module != LOCATION:
        return Path(pointer.working_directory or ".").resolve().name
    return LOCATION


def code_pointer(run: DagsterRun) -> CodePointer | None:
    """Where the process that executes a run loads its job from."""
    return run.job_code_origin.repository_origin.code_pointer if run.job_code_origin else None
