"""The whole of ``dag.py``: a project's notebooks as Dagster definitions."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster import AssetDep, AssetsDefinition, Definitions, JobDefinition
from dagster._core.definitions.assets.definition.asset_dep import CoercibleToAssetDep
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dsml.contract.catalog import Pipeline
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import Project, load_project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.assets import dependencies, step_assets
from dsml.orchestrate.executors import executor_of
from dsml.orchestrate.fanout import mapped_assets
from dsml.orchestrate.notify import failure_sensor
from dsml.orchestrate.partitions import partitions_of
from dsml.orchestrate.pipelines import pipeline_job
from dsml.orchestrate.schedules import pipeline_schedules
from dsml.orchestrate.sensors import pipeline_sensors

MODULE_FILE = "dag.py"
_MANY = 100  # steps; with fewer there is nothing to be gained

Dependencies = Mapping[str, Sequence[CoercibleToAssetDep]]


def load_definitions(
    root: Path | str,
    *,
    after: Dependencies | None = None,
    executor: bool = True,
    host: Path | None = None,
) -> Definitions:
    """Assets of every step that runs, partitioned by experiment, and a job for every pipeline.

    Args:
        root: the folder of the project.
        after: the assets of one's own that steps wait for, by the catalog path of the step.
        executor: whether to say how to execute what is materialised without a job. Only one of
            the definitions that are merged may.
        host: the folder of the code that these definitions are taken into, if not the project's.

    Raises:
        ProjectError: the project is invalid, or has no such step to wait; the text names every
            mistake.
    """
    # Nothing of what is made here is garbage, and all of it stays as long as the process.
    collects = gc.isenabled()
    gc.disable()
    try:
        project = load_project(Path(root).resolve())
        definitions = _definitions(project, after or {}, executor=executor, host=host)
        if len(project.registered) >= _MANY:
            gc.freeze()  # a quarter of the time that a thousand steps take was spent on looking
        return definitions
    finally:
        if collects:
            gc.enable()


def _definitions(
    project: Project, after: Dependencies, *, executor: bool, host: Path | None
) -> Definitions:
    _check_steps(project, after)
    assets = [_assets(project, step, after) for step in project.registered.values()]
    by_itself = Pipeline("all")  # what is materialised outside of all pipelines
    return Definitions(
        assets=assets,
        executor=executor_of(project, by_itself) if executor else None,
        jobs=[_job(project, p, assets) for p in project.catalog.pipelines.values()],
        schedules=pipeline_schedules(project),
        sensors=[*pipeline_sensors(project), failure_sensor(project, host)],
    )


def _check_steps(project: Project, after: Dependencies) -> None:
    known = project.registered
    problems = [
        Problem(
            Where(MODULE_FILE),
            f"after: there is no step '{name}'",
            suggest(name, known),
            "unknown-step",
        )
        for name in after
        if name not in known
    ]
    if problems:
        raise ProjectError(problems)


def _assets(project: Project, step: StepSpec, after: Dependencies) -> AssetsDefinition:
    make = mapped_assets if step.map else step_assets
    others = [AssetDep.from_coercible(each) for each in after.get(step.name, ())]
    deps = [*dependencies(project, step), *others]
    return make(project, step, partitions_of(project, step.name), deps)


def _job(
    project: Project, pipeline: Pipeline, assets: Sequence[AssetsDefinition]
) -> JobDefinition | UnresolvedAssetJobDefinition:
    if pipeline.engine == "dagstermill":
        from dsml.orchestrate.stock import stock_job  # dagstermill takes a second to import

        return stock_job(project, pipeline)
    return pipeline_job(project, pipeline, assets)
