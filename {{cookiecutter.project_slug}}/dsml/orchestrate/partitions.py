"""Experiments and partitions, as Dagster knows them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

from dagster import (
    AssetDep,
    AssetKey,
    BetaWarning,
    DagsterRun,
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    MultiPartitionsDefinition,
    MultiToSingleDimensionPartitionMapping,
    PartitionedConfig,
    PartitionsDefinition,
    StaticPartitionsDefinition,
    WeeklyPartitionsDefinition,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG

from dsml.contract.catalog import Pipeline
from dsml.contract.partitions import Partitions, TimePartitions, split_key
from dsml.contract.project import Project
from dsml.orchestrate.config import step_config

EXPERIMENT, PARTITION = "experiment", "partition"  # the dimensions; their order is that of keys


def keys_of(run: DagsterRun) -> tuple[str, str | None]:
    """The experiment and the partition of a run; "" and None where it has none."""
    return split_key(run.tags.get(PARTITION_NAME_TAG, ""))


def partitions_of(project: Project, step: str) -> PartitionsDefinition[str]:
    """The experiments, for a step that has partitions with each of these."""
    return definition(tuple(project.catalog.experiments), project.partitions.get(step))


@functools.lru_cache
def definition(
    experiments: tuple[str, ...], partitions: Partitions | None
) -> PartitionsDefinition[str]:
    """What an experiment is run for; equal ones are one object, as Dagster likes them."""
    by_experiment = StaticPartitionsDefinition(list(experiments))
    if partitions is None:
        return by_experiment
    return MultiPartitionsDefinition({EXPERIMENT: by_experiment, PARTITION: _of(partitions)})


def _of(partitions: Partitions) -> PartitionsDefinition[str]:
    if not isinstance(partitions, TimePartitions):
        return StaticPartitionsDefinition(list(partitions.keys))
    start, end = partitions.start, partitions.end
    given: dict[str, Any] = {
        "start_date": datetime.combine(start, time()),
        "end_date": None if end is None else datetime.combine(end + timedelta(days=1), time()),
        "timezone": partitions.timezone,
        "fmt": partitions.format,
    }
    if partitions.kind == "hourly":
        return HourlyPartitionsDefinition(**given)
    if partitions.kind == "daily":
        return DailyPartitionsDefinition(**given)
    if partitions.kind == "weekly":  # Dagster counts from Sunday
        return WeeklyPartitionsDefinition(**given, day_offset=start.isoweekday() % 7)
    return MonthlyPartitionsDefinition(**given, day_offset=start.day)


def pipeline_config(
    project: Project, pipeline: Pipeline, steps: Iterable[str]
) -> PartitionedConfig[Any]:
    """What the Launchpad shows of ``steps``, those of a pipeline, when an experiment is chosen.

    A run doesn't depend on it: what an experiment sets is read from the catalog by each step.
    """
    experiments = project.catalog.experiments
    chosen = frozenset(steps)

    def config(key: str) -> dict[str, Any]:
        experiment, _ = split_key(key)
        values = {n: v for n, v in experiments[experiment].config.items() if n in chosen}
        return step_config(values)

    return PartitionedConfig(
        definition(tuple(experiments), pipeline.partitions), run_config_for_partition_key_fn=config
    )


def dependency(key: AssetKey, upstream: Partitions | None, own: Partitions | None) -> AssetDep:
    """What a step with partitions of its own waits for, in a step that may have others.

    Where only one of the two has partitions, all of them belong to one of the other.
    """
    if upstream == own:
        return AssetDep(key)
    # in beta; Dagster is pinned and tested
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        mapping = MultiToSingleDimensionPartitionMapping(EXPERIMENT)
    return AssetDep(key, partition_mapping=mapping)
