"""Every pipeline of the catalog as a Dagster job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dagster import AssetKey, AssetsDefinition, AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dsml.contract.catalog import Pipeline
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import Project
from dsml.contract.selection import is_plain, steps_of
from dsml.contract.spec import StepSpec
from dsml.orchestrate.executors import executor_of
from dsml.orchestrate.keys import output_assets, step_key
from dsml.orchestrate.partitions import pipeline_config


def pipeline_job(
    project: Project, pipeline: Pipeline, assets: Sequence[AssetsDefinition]
) -> UnresolvedAssetJobDefinition:
    """The job that materialises the steps of a pipeline, which are among ``assets``.

    Raises:
        ProjectError: it selects, in Dagster's own syntax, steps with other partitions.
    """
    steps, chosen = project.registered, steps_of(pipeline, project.registered)
    others = [token for token in pipeline.select if not is_plain(token)]
    selection = asset_selection(chosen, others, steps)
    if others:  # what these are can be told only now
        keys = selection.resolve(assets)
        chosen = frozenset(name for name in steps if step_key(name) in keys)
        _check_partitions(project, pipeline, chosen)
    return define_asset_job(
        pipeline.name,
        selection=selection,
        config=pipeline_config(project, pipeline, chosen),
        description=pipeline.description or None,
        executor_def=executor_of(project, pipeline),
    )


def _check_partitions(project: Project, pipeline: Pipeline, steps: Iterable[str]) -> None:
    with_others = sorted(set(steps) & project.partitions.keys())
    if with_others:
        keys = ("pipelines", pipeline.name, "select")
        what = f"{'.'.join(keys)}: {', '.join(with_others)} has partitions in another pipeline"
        fix = "select steps without partitions"
        raise ProjectError([Problem(project.catalog.where(*keys), what, fix, "partitions")])


def asset_selection(
    names: Iterable[str], others: Iterable[str], steps: Mapping[str, StepSpec]
) -> AssetSelection:
    """The assets of the named steps, and what ``others`` select in Dagster's own syntax."""
    selection: AssetSelection = AssetSelection.assets(
        *asset_keys(steps[name] for name in sorted(names))
    )
    for token in others:
        selection = selection | AssetSelection.from_string(token)
    return selection


def asset_keys(steps: Iterable[StepSpec]) -> list[AssetKey]:
    """The assets of steps."""
    return [key for step in steps for key in output_assets(step).values()]
