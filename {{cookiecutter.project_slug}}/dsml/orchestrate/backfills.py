"""Backfills from the command line, recorded so that the UI shows their runs together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRun
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import RemotePartitionSetOrigin
from dagster._core.remote_representation.external_data import (
    partition_set_snap_name_for_job_name,
)
from dagster._core.utils import make_new_backfill_id

from dsml.orchestrate.origin import repository_origin


@dataclass(frozen=True)
class Backfill:
    """A backfill that is under way."""

    instance: DagsterInstance
    backfill_id: str

    @property
    def tags(self) -> Mapping[str, str]:
        """What each of its runs is tagged with."""
        return DagsterRun.tags_for_backfill_id(self.backfill_id)

    def end(self, *, passed: bool, cancelled: bool) -> None:
        """Record how it ended."""
        status = BulkActionStatus.COMPLETED_SUCCESS if passed else BulkActionStatus.COMPLETED_FAILED
        if cancelled:
            status = BulkActionStatus.CANCELED
        found = self.instance.get_backfill(self.backfill_id)
        if found is not None:
            ended = found.with_status(status).with_end_timestamp(time.time())
            self.instance.update_backfill(ended)


def start_backfill(instance: DagsterInstance, pipeline: str, keys: Sequence[str]) -> Backfill:
    """Record a backfill of a pipeline over some of Dagster's partition keys.

    To the daemon all of its runs are submitted already, so that it starts none of them itself.
    """
    origin = RemotePartitionSetOrigin(
        repository_origin=repository_origin(),
        partition_set_name=partition_set_snap_name_for_job_name(pipeline),
    )
    made = PartitionBackfill(
        make_new_backfill_id(),
        BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
        partition_set_origin=origin,
        partition_names=list(keys),
        last_submitted_partition_name=keys[-1],
    )
    instance.add_backfill(made)
    return Backfill(instance, made.backfill_id)
