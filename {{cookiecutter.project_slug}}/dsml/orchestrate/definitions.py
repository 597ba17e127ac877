"""The whole of ``dag.py``: a project's notebooks as Dagster definitions."""

from __future__ import annotations

from pathlib import Path

from dagster import Definitions, StaticPartitionsDefinition

from dsml.contract.project import load_project
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
        jobs=[pipeline_job(project, p) for p in project.catalog.pipelines.values()],
    )
