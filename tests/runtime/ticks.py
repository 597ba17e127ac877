"""The daemon's looks at schedules and sensors, driven one by one: nothing is slept for.

What runs are asked for is recorded as queued; the daemon that starts them is left out.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster_graphql.test.utils import execute_dagster_graphql

from dsml.orchestrate.launch import open_instance

LOGGER = logging.getLogger("ticks")


@dataclass
class Daemon:
    """A daemon that looks when it is told to. ``now`` is its clock."""

    context: WorkspaceProcessContext
    now: datetime
    root: Path

    @property
    def instance(self) -> DagsterInstance:
        return self.context.instance

    @property
    def runs(self) -> list[DagsterRun]:
        """All runs, the oldest first."""
        return list(self.instance.get_runs())[::-1]

    def start(self, name: str) -> None:
        with freeze_time(self.now):
            if self._repository.has_schedule(name):
                self.instance.start_schedule(self._repository.get_schedule(name))
            else:
                self.instance.start_sensor(self._repository.get_sensor(name))

    def look_at_schedules(self, at: datetime) -> None:
        self.now = at
        with freeze_time(at):
            # without memory of the looks before, as after a restart
            list(launch_scheduled_runs(self.context, LOGGER, at, iteration_times={}))

    def look_at_sensors(self, later: float = 60) -> None:
        """Look after some seconds."""
        self.now += timedelta(seconds=later)
        with freeze_time(self.now):
            list(execute_sensor_iteration(self.context, LOGGER, None, None))

    def look_at_backfills(self) -> None:
        """Look at the backfills that somebody has asked for."""
        failures = list(execute_backfill_iteration(self.context, LOGGER))
        assert [failure for failure in failures if failure is not None] == []

    def run_queued(self) -> list[DagsterRun]:
        """Run what is queued, the oldest first, in this process; the runs when they are over."""
        repository = ReconstructableRepository.for_file(str(self.root / "dag.py"), "defs")
        queued = [run for run in self.runs if run.status == DagsterRunStatus.QUEUED]
        for run in queued:
            starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
            self.instance.report_dagster_event(starting, run.run_id)
            job = repository.get_reconstructable_job(run.job_name)
            ready = self.instance.get_run_by_id(run.run_id)
            assert ready is not None
            list(execute_run_iterator(job, ready, self.instance))
        return [run for run in self.runs if run.run_id in {started.run_id for started in queued}]

    def ask(self, query: str, **variables: Any) -> Any:
        """What the UI's server answers to a query."""
        result = execute_dagster_graphql(self.context.create_request_context(), query, variables)
        assert not result.errors, result.errors
        return result.data

    def look_at(self, sensor: str) -> InstigatorTick:
        """Look after a minute; the tick of a sensor that is started."""
        self.look_at_sensors()
        tick = self.ticks(sensor)[0]
        assert tick.timestamp == self.now.timestamp(), "it did not look"
        return tick

    def ticks(self, name: str) -> list[InstigatorTick]:
        """The ticks of a schedule or sensor, the newest first."""
        return list(self.instance.get_ticks(*self._ids(name)))

    def interrupt(self, name: str) -> None:
        """Leave the last tick as it stands when the daemon dies in the middle of it."""
        self.instance.update_tick(self.ticks(name)[0].with_status(TickStatus.STARTED))

    def forget(self, name: str) -> None:
        """Delete a sensor's cursor, as the UI does."""
        state = self.instance.get_instigator_state(*self._ids(name))
        data = state.instigator_data._replace(cursor=None)
        self.instance.update_instigator_state(state.with_data(data))

    def _ids(self, name: str) -> tuple[str, str]:
        repository = self._repository
        get: Any = (
            repository.get_schedule if repository.has_schedule(name) else repository.get_sensor
        )
        return get(name).get_remote_origin_id(), get(name).selector_id

    @property
    def _repository(self) -> RemoteRepository:
        location = self.context.create_request_context().get_code_location("dag")
        return location.get_repository("__repository__")


@contextmanager
def daemon(root: Path, now: datetime | None = None) -> Iterator[Daemon]:
    """The daemon of a project, with its code in this process."""
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        python_file=str(root / "dag.py"),
        working_directory=str(root),
        attribute="defs",
    )
    origin = InProcessCodeLocationOrigin(target, location_name="dag")
    load = InProcessWorkspaceLoadTarget(origin)
    with open_instance(root) as instance, WorkspaceProcessContext(instance, load) as context:
        yield Daemon(context, now or datetime.now(UTC), root)
