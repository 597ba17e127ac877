"""Pipelines that are run at set times: the schedules of the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)

from dsml.contract.catalog import Pipeline
from dsml.contract.partitions import Partitions, StaticPartitions, join_key
from dsml.contract.project import Project
from dsml.contract.triggers import EACH, Schedule

TRIGGER_TAG = "dsml/trigger"


def pipeline_schedules(project: Project) -> list[ScheduleDefinition]:
    """The schedule of each pipeline that has one; all are stopped until somebody starts them."""
    pipelines = project.catalog.pipelines.values()
    return [_schedule(project, p, p.schedule) for p in pipelines if p.schedule is not None]


def _schedule(project: Project, pipeline: Pipeline, declared: Schedule) -> ScheduleDefinition:
    def requests(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        at = context.scheduled_execution_time
        keys = partition_keys(project, pipeline, declared.experiment, at)
        if not keys:
            yield SkipReason(f"no partition is over yet: there are {pipeline.partitions}")
        for key in keys:
            # a tick that is evaluated twice asks for the same runs
            run_key = f"{at.isoformat()} {key}"
            yield RunRequest(run_key, partition_key=key, tags={TRIGGER_TAG: "schedule"})

    return ScheduleDefinition(
        name=f"{pipeline.name}_schedule",
        job_name=pipeline.name,
        cron_schedule=declared.cron.strip(),
        execution_timezone=declared.timezone,
        execution_fn=requests,
        default_status=DefaultScheduleStatus.STOPPED,
        description=pipeline.description or None,
    )


def partition_keys(
    project: Project, pipeline: Pipeline, experiment: str, at: datetime
) -> list[str]:
    """The partitions that a pipeline is run for when nobody names one, in Dagster's words.

    ``experiment`` is a name, "" for the first, or ``all`` for each. Beside it stands the newest
    partition of time that is over at ``at``, or each partition of a list.
    """
    catalog = project.catalog
    names = [experiment or catalog.default_experiment]
    if experiment == EACH and EACH not in catalog.experiments:
        names = list(catalog.experiments)
    partitions = _partitions_at(pipeline.partitions, at)
    return [join_key(name, partition) for name in names for partition in partitions]


def _partitions_at(partitions: Partitions | None, at: datetime) -> list[str | None]:
    if partitions is None:
        return [None]
    if isinstance(partitions, StaticPartitions):
        return list(partitions.keys)
    newest = partitions.default(at)
    return [] if newest is None else [newest]
