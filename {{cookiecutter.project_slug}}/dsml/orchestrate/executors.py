"""How the steps of a run are executed: where they are, and how many at once."""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import (
    Enum,
    EnumValue,
    Executor,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    Permissive,
    String,
    multiple_process_executor_requirements,
)
from dagster._core.definitions.executor_definition import ExecutorRequirement
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.multiprocess import MultiprocessExecutor

from dsml.contract.catalog import CATALOG_FILE, Pipeline
from dsml.contract.executors import EXECUTORS, REMOTE, executor_name, executors_for, workers_of
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.project import Project
from dsml.orchestrate.threads import ThreadExecutor
from dsml.orchestrate.warm import IN_PROCESS, warm_up

# What a worker needs, imported once in the process that all workers are forked from.
_PRELOADED = ["dsml.orchestrate.preload"]
# 104 bytes for a socket on macOS, the shortest limit there is, less what multiprocessing appends.
_LONGEST_TEMPORARY = 104 - len("/pymp-12345678/listener-12345678") - 1


def executor_of(project: Project, pipeline: Pipeline) -> ExecutorDefinition:
    """The executor of a pipeline. What it executes leaves a record and a trace.

    A run may choose another, and another limit:
    ``execution: {config: {executor: dask, max_concurrent: 1}}``.
    """
    name = executor_name(project.catalog, pipeline)
    workers = workers_of(project.catalog, pipeline)

    def create(init: InitExecutorContext) -> Executor:
        from dsml.orchestrate.recorded import Recorded  # only a run needs it

        chosen = str(init.executor_config["executor"])
        return Recorded(
            project, make_executor(project.root, init), lambda: warm_up(project, chosen)
        )

    return ExecutorDefinition(
        name=name,
        config_schema=config_schema(name, workers, executors_for(pipeline)),
        requirements=_requirements,
        executor_creation_fn=create,
    )


def check_executor(name: str) -> None:
    """Look whether the package is there that an executor needs.

    Raises:
        ProjectError: it is not, with the extra that it comes with.
    """
    package = REMOTE.get(name)
    if package is not None and importlib.util.find_spec(package.name) is None:
        what = f"executor: {name} needs the package {package.name}"
        fix = f'install it: uv sync --extra {package.extra}, or pip install -e ".[{package.extra}]"'
        raise ProjectError([Problem(Where(CATALOG_FILE), what, fix, "no-package")])


def config_schema(
    name: str, workers: int | None, able: Sequence[str] = EXECUTORS
) -> dict[str, Field]:
    """What a run may say of how it is executed; ``name`` and ``workers`` are the defaults."""
    is_stock = "" if tuple(able) == EXECUTORS else "Stock"
    names = Enum(f"{is_stock}Executor", [EnumValue(each) for each in able])
    return {
        "executor": Field(
            names, default_value=name, is_required=False, description="how steps are executed"
        ),
        "max_concurrent": Field(
            Noneable(Int),
            default_value=workers,
            is_required=False,
            description="how many steps run at once; null means one for each core, or as many as "
            "a cluster takes",
        ),
        "address": Field(
            String,
            is_required=False,
            description="of a cluster of Dask or Ray; else that of DASK_SCHEDULER_ADDRESS or "
            "RAY_ADDRESS, else one is started for the run",
        ),
        "k8s": Field(
            Permissive(),
            is_required=False,
            description="what dagster-k8s takes: job_namespace, job_image, step_k8s_config, ...",
        ),
    }


def _requirements(config: Mapping[str, object]) -> Sequence[ExecutorRequirement]:
    is_here = config["executor"] in IN_PROCESS  # the others need what another process can load
    return [] if is_here else multiple_process_executor_requirements()


def make_executor(root: Path, init: InitExecutorContext) -> Executor:
    """The executor that a run's configuration names.

    Raises:
        ProjectError: a package is missing, or no cluster answers.
    """
    config: Mapping[str, Any] = init.executor_config
    name, given = config["executor"], config["max_concurrent"]
    workers = given if given and given > 0 else None
    check_executor(name)
    if name == "threads":
        return ThreadExecutor(workers or os.cpu_count() or 1)
    if name == "in_process":
        return InProcessExecutor(RetryMode.ENABLED)
    if name == "multiprocess":
        return MultiprocessExecutor(RetryMode.ENABLED, workers, **_start_method())
    if name == "k8s":
        from dsml.orchestrate.remote.k8s import k8s_executor

        return k8s_executor(init, config.get("k8s") or {}, workers)
    return _of_cluster(root, name, config.get("address"), workers)


def _of_cluster(root: Path, name: str, address: str | None, workers: int | None) -> Executor:
    from dsml.orchestrate.remote.dask import connect_dask
    from dsml.orchestrate.remote.executor import RemoteExecutor
    from dsml.orchestrate.remote.ray import connect_ray

    connect = connect_dask if name == "dask" else connect_ray
    return RemoteExecutor(root, functools.partial(connect, address, workers), workers)


def _start_method() -> dict[str, Any]:
    # the forkserver listens on a socket in the temporary folder, whose path has to be short
    is_short = len(tempfile.gettempdir()) <= _LONGEST_TEMPORARY
    if is_short and "forkserver" in multiprocessing.get_all_start_methods():
        return {"start_method": "forkserver", "explicit_forkserver_preload": _PRELOADED}
    return {"start_method": "spawn"}
