"""What a run of the past was made of, and may be no more when it is to be done again."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from dsml.contract.catalog import CATALOG_FILE
from dsml.contract.problem import Problem, Where, suggest
from dsml.contract.project import Project
from dsml.contract.request import RunRequest, resolve_partition
from dsml.contract.selection import possible_steps_of


def gone(project: Project, where: Where, run: RunRequest) -> list[Problem]:
    """What a run needs that is not there any more: its names, and the places of its steps."""
    catalog, registered = project.catalog, project.registered
    named: list[tuple[str, str, Collection[str]]] = [
        ("step", name, registered) for name in run.steps
    ]
    named.append(("experiment", run.experiment, catalog.experiments))
    if run.pipeline != IMPLICIT_ASSET_JOB_NAME:
        named.append(("pipeline", run.pipeline, catalog.pipelines))
    problems = [
        Problem(where, f"there is no {kind} '{name}' any more", suggest(name, known), "gone")
        for kind, name, known in named
        if name not in known
    ]
    if not problems and run.pipeline in catalog.pipelines:
        problems += _misplaced(project, where, run)
    return problems


def _misplaced(project: Project, where: Where, run: RunRequest) -> Iterator[Problem]:
    """Steps and a partition that the pipeline, which is still there, doesn't have any more."""
    pipeline = project.catalog.pipelines[run.pipeline]
    outside = sorted(set(run.steps) - possible_steps_of(pipeline, project.registered))
    if outside:
        what = f"the pipeline '{run.pipeline}' does not run {', '.join(outside)} any more"
        fix = f"add it to pipelines.{run.pipeline}.select in {CATALOG_FILE}"
        yield Problem(where, what, fix, "gone")
    if run.partition is None and pipeline.partitions is not None:
        what = f"the pipeline '{run.pipeline}' has partitions now, and the run has none"
        yield Problem(where, what, f"start anew: dsml run {run.pipeline}", "gone")
    elif run.partition is not None:
        problems: list[Problem] = []
        resolve_partition(pipeline, run.partition, where, problems, "partition")
        yield from problems
