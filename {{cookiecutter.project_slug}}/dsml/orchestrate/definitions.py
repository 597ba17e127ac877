"""The whole of ``dag.py``: a project's notebooks as Dagster definitions."""

from __future__ import annotations

from pathlib import Path

from dagster import (
    Definitions,
    JobDefinition,
    PartitionsDefinition,
    StaticPartitionsDefinition,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dsml.contract.catalog import Pipeline
from dsml.contract.project import Project, load_project
from dsml.orchestrate.assets import step_assets
from dsml.orchestrate.pipelines import pipeline_job


def load_definitions(root: Path | str) -> Definitions:
    """Assets of every registered step, partitioned by experiment, and a job for every pipeline.

    Raises:
        ProjectError: the project is invalid; the text names every mistake.
    """
    project = load_project(Path(root).resolve())
    partitions = StaticPartitionsDefinition(list(project.catalog.experiments))
    return Definitions(
        assets=[step_assets(project, step, partitions) for step in project.registered.values()],
        jobs=[_job(project, p, partitions) for p in project.catalog.pipelines.values()],
    )


def _job(
    project: Project, pipeline: Pipeline, partitions: PartitionsDefinition[str]
) -> JobDefinition | UnresolvedAssetJobDefinition:
    if pipeline.engine == "dagstermill":
        from dsml.orchestrate.stock import stock_job  # dagstermill takes a second to import

        return stock_job(project, pipeline, partitions)
    return pipeline_job(project, pipeline)
