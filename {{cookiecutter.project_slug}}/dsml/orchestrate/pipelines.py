"""Every pipeline of the catalog as a Dagster job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dagster import AssetKey, AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dsml.contract.catalog import Pipeline
from dsml.contract.project import Project
from dsml.contract.selection import is_plain, select
from dsml.contract.spec import StepSpec
from dsml.orchestrate.assets import artefact_key, step_key
from dsml.orchestrate.executors import executor


def pipeline_job(project: Project, pipeline: Pipeline) -> UnresolvedAssetJobDefinition:
    """The job that materialises what a pipeline selects."""
    return define_asset_job(
        pipeline.name,
        selection=asset_selection(pipeline.select, project.registered),
        description=pipeline.description or None,
        executor_def=executor(pipeline.executor, pipeline.workers),
    )


def asset_selection(tokens: Sequence[str], steps: Mapping[str, StepSpec]) -> AssetSelection:
    """What tokens select, be they of the catalog's own syntax or of Dagster's."""
    plain = select([token for token in tokens if is_plain(token)], steps)
    selection: AssetSelection = AssetSelection.assets(
        *asset_keys(steps[name] for name in sorted(plain.steps))
    )
    for token in tokens:
        if not is_plain(token):
            selection = selection | AssetSelection.from_string(token)
    return selection


def asset_keys(steps: Iterable[StepSpec]) -> list[AssetKey]:
    """The assets of steps."""
    keys: list[AssetKey] = []
    for step in steps:
        keys += [step_key(step.name), *(artefact_key(path) for path in step.artefacts)]
    return keys
