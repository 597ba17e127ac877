"""Start a run from the command line, on the instance that the UI uses too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.events import EngineEventData
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.plan.objects import StepFailureData

from dsml.contract.executors import executor_name
from dsml.contract.lock import locked
from dsml.contract.problem import ProjectError
from dsml.contract.project import Project
from dsml.contract.request import RunRequest, missing_secrets
from dsml.orchestrate import HOME_FOLDER
from dsml.orchestrate.config import op_name, step_config
from dsml.orchestrate.executors import check_executor
from dsml.orchestrate.logs import console_in_file
from dsml.orchestrate.origin import job_origin, loadable_repository
from dsml.orchestrate.partitions import definition
from dsml.orchestrate.pipelines import asset_keys, asset_selection
from dsml.orchestrate.process import fail_gone_runs, process_tag

_POLL = 0.2  # seconds between two looks at the event log
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")

Listener = Callable[[EventLogEntry], None]


def open_instance(root: Path) -> DagsterInstance:
    """The project's Dagster instance: ``DAGSTER_HOME``, or ``.dagster`` in the project."""
    home = root / HOME_FOLDER
    home.mkdir(exist_ok=True)
    os.environ.setdefault("DAGSTER_HOME", str(home))
    with locked(Path(os.environ["DAGSTER_HOME"], "history")):  # creating its databases at once
        return DagsterInstance.get()  # with another process spoils them


def create_run(
    project: Project,
    request: RunRequest,
    instance: DagsterInstance,
    tags: Mapping[str, str] | None = None,
) -> DagsterRun:
    """Record the run, so that the UI shows it; nothing is executed yet.

    Raises:
        ProjectError: a secret that a step needs is not in the environment, or the package that
            the executor needs is not installed.
    """
    problems = missing_secrets(project, request, os.environ)
    if problems:
        raise ProjectError(problems)
    pipeline = project.catalog.pipelines[request.pipeline]
    check_executor(request.executor or executor_name(project.catalog, pipeline))
    fail_gone_runs(instance)
    job = reconstructable_job(project.root, request.pipeline)
    selection = _selection(project, request, job)
    partitions = definition(tuple(project.catalog.experiments), pipeline.partitions)
    return instance.create_run_for_job(
        job_def=job.get_subset(**selection).get_definition(),
        run_config=_run_config(request),
        tags={
            **partitions.get_tags_for_partition_key(request.key),
            **process_tag(),
            **(tags or {}),
        },
        job_code_origin=job.get_python_origin(),
        remote_job_origin=job_origin(request.pipeline),
        asset_selection=selection.get("asset_selection"),
        op_selection=selection.get("op_selection"),
        resolved_op_selection=set(selection.get("op_selection", ())) or None,
    )


def execute(
    project: Project,
    request: RunRequest,
    run: DagsterRun,
    instance: DagsterInstance,
    listener: Listener,
) -> DagsterRunStatus:
    """Execute a run to its end; ``listener`` gets every event, from a thread of its own."""
    job = reconstructable_job(project.root, request.pipeline)
    over = threading.Event()
    failed: list[Exception] = []

    def follow() -> None:
        try:
            _follow(instance, run.run_id, listener, over)
        except Exception as error:  # the database is gone, which the run itself finds, too
            failed.append(error)

    follower = threading.Thread(target=follow, name="events", daemon=True)
    follower.start()
    try:
        with console_in_file(Path(instance.root_directory), run.run_id):
            cancelling = False
            for event in execute_run_iterator(job, run, instance):
                if interrupted(event) and not cancelling:
                    # Dagster takes it for a failure, unless told otherwise
                    instance.report_run_canceling(run)
                    cancelling = True
    finally:
        over.set()
        follower.join()
    if failed:
        raise failed[0]
    ended = instance.get_run_by_id(run.run_id)
    return run.status if ended is None else ended.status


def interrupted(event: DagsterEvent) -> bool:
    """Whether an event tells of a signal that is to end the run (Ctrl-C, SIGTERM)."""
    data = event.event_specific_data
    if isinstance(data, EngineEventData):
        return "steps_interrupted" in data.metadata
    error = data.error if isinstance(data, StepFailureData) else None
    return error is not None and error.cls_name in _INTERRUPTS


def _follow(
    instance: DagsterInstance, run_id: str, listener: Listener, over: threading.Event
) -> None:
    cursor: str | None = None
    while True:
        last = over.wait(_POLL)
        found = instance.get_records_for_run(run_id, cursor=cursor)
        for record in found.records:
            listener(record.event_log_entry)
        cursor = found.cursor
        if last and not found.has_more:
            return


def reconstructable_job(root: Path, pipeline: str) -> ReconstructableJob:
    """The job of a pipeline by name, so that worker processes can load it for themselves."""
    return loadable_repository(root).get_reconstructable_job(pipeline)


def _selection(project: Project, request: RunRequest, job: ReconstructableJob) -> dict[str, Any]:
    """What of the job is to be run, in the words of Dagster: assets, or ops of dagstermill."""
    steps = project.registered
    if project.catalog.pipelines[request.pipeline].engine == "dagstermill":
        return {"op_selection": [op_name(name) for name in request.steps]}
    if request.other:
        graph = job.get_definition().asset_layer.asset_graph
        selection = asset_selection(request.steps, request.other, steps)
        return {"asset_selection": selection.resolve(graph)}
    return {"asset_selection": frozenset(asset_keys(steps[name] for name in request.steps))}


def _run_config(request: RunRequest) -> dict[str, Any]:
    config = step_config(request.values)
    asked = {"executor": request.executor, "max_concurrent": request.workers}
    execution = {name: value for name, value in asked.items() if value is not None}
    if execution:
        config["execution"] = {"config": execution}
    return config
