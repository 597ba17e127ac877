"""The whole of ``dag.py``: a project's notebooks as Dagster definitions."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from dagster import AssetsDefinition, Definitions, JobDefinition
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dsml.contract.catalog import EXECUTORS, Pipeline
from dsml.contract.project import Project, load_project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.assets import step_assets
from dsml.orchestrate.executors import executor
from dsml.orchestrate.fanout import mapped_assets
from dsml.orchestrate.notify import failure_sensor
from dsml.orchestrate.partitions import partitions_of
from dsml.orchestrate.pipelines import pipeline_job
from dsml.orchestrate.schedules import pipeline_schedules
from dsml.orchestrate.sensors import pipeline_sensors

_MANY = 100  # steps; with fewer there is nothing to be gained


def load_definitions(root: Path | str) -> Definitions:
    """Assets of every step that runs, partitioned by experiment, and a job for every pipeline.

    Raises:
        ProjectError: the project is invalid; the text names every mistake.
    """
    # Nothing of what is made here is garbage, and all of it stays as long as the process.
    collects = gc.isenabled()
    gc.disable()
    try:
        project = load_project(Path(root).resolve())
        definitions = _definitions(project)
        if len(project.registered) >= _MANY:
            gc.freeze()  # a quarter of the time that a thousand steps take was spent on looking
        return definitions
    finally:
        if collects:
            gc.enable()


def _definitions(project: Project) -> Definitions:
    assets = [_assets(project, step) for step in project.registered.values()]
    return Definitions(
        assets=assets,
        executor=executor(project, EXECUTORS[0], None),  # of what is materialised by itself
        jobs=[_job(project, p, assets) for p in project.catalog.pipelines.values()],
        schedules=pipeline_schedules(project),
        sensors=[*pipeline_sensors(project), failure_sensor(project)],
    )


def _assets(project: Project, step: StepSpec) -> AssetsDefinition:
    make = mapped_assets if step.map else step_assets
    return make(project, step, partitions_of(project, step.name))


def _job(
    project: Project, pipeline: Pipeline, assets: Sequence[AssetsDefinition]
) -> JobDefinition | UnresolvedAssetJobDefinition:
    if pipeline.engine == "dagstermill":
        from dsml.orchestrate.stock import stock_job  # dagstermill takes a second to import

        return stock_job(project, pipeline)
    return pipeline_job(project, pipeline, assets)
