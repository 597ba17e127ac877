"""Start a run from the command line, on the instance that the UI uses too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.tags import PARTITION_NAME_TAG

from dsml.contract.project import Project
from dsml.contract.request import RunRequest
from dsml.orchestrate.config import op_name
from dsml.orchestrate.logs import console_in_file
from dsml.orchestrate.pipelines import asset_keys, asset_selection

HOME_FOLDER = ".dagster"
_POLL = 0.2  # seconds between two looks at the event log

Listener = Callable[[EventLogEntry], None]


def open_instance(root: Path) -> DagsterInstance:
    """The project's Dagster instance: ``DAGSTER_HOME``, or ``.dagster`` in the project."""
    home = root / HOME_FOLDER
    home.mkdir(exist_ok=True)
    os.environ.setdefault("DAGSTER_HOME", str(home))
    return DagsterInstance.get()


def create_run(project: Project, request: RunRequest, instance: DagsterInstance) -> DagsterRun:
    """Record the run, so that the UI shows it; nothing is executed yet."""
    job = _reconstructable(project, request)
    keys = _selection(project, request, job)
    subset = job.get_subset(asset_selection=frozenset(keys)) if keys is not None else job
    return instance.create_run_for_job(
        job_def=subset.get_definition(),
        run_config=_run_config(project, request),
        tags={PARTITION_NAME_TAG: request.experiment},
        asset_selection=None if keys is None else frozenset(keys),
        job_code_origin=job.get_python_origin(),
    )


def execute(
    project: Project,
    request: RunRequest,
    run: DagsterRun,
    instance: DagsterInstance,
    listener: Listener,
) -> DagsterRunStatus:
    """Execute a run to its end; ``listener`` gets every event, from a thread of its own."""
    job = _reconstructable(project, request)
    over = threading.Event()
    follower = threading.Thread(
        target=_follow, args=(instance, run.run_id, listener, over), name="events", daemon=True
    )
    follower.start()
    try:
        with console_in_file(Path(instance.root_directory), run.run_id):
            for _ in execute_run_iterator(job, run, instance):
                pass
    finally:
        over.set()
        follower.join()
    ended = instance.get_run_by_id(run.run_id)
    return run.status if ended is None else ended.status


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


def _reconstructable(project: Project, request: RunRequest) -> ReconstructableJob:
    """The job by name, so that worker processes can load it for themselves."""
    repository = ReconstructableRepository.for_module(
        "dag", "defs", working_directory=str(project.root)
    )
    return repository.get_reconstructable_job(request.pipeline)


def _selection(
    project: Project, request: RunRequest, job: ReconstructableJob
) -> Iterable[AssetKey] | None:
    steps = project.registered
    if request.other:
        tokens = [*request.steps, *request.other]
        graph = job.get_definition().asset_layer.asset_graph
        return asset_selection(tokens, steps).resolve(graph)
    return asset_keys(steps[name] for name in request.steps)


def _run_config(project: Project, request: RunRequest) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.values:
        config["ops"] = {op_name(step): {"config": v} for step, v in request.values.items()}
    pipeline = project.catalog.pipelines[request.pipeline]
    if request.workers is not None and pipeline.executor == "multiprocess":
        config["execution"] = {"config": {"max_concurrent": request.workers}}
    return config
