"""Schedules and sensors as the Dagster instance has them: whether they run, and their last ticks.

What is turned on or off here is what a daemon obeys at its next look, as after a click in the UI.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.remote_origin import CodeLocationOrigin
from dagster._core.remote_representation.external import RemoteSchedule, RemoteSensor
from dagster._core.remote_representation.external_data import ScheduleSnap, SensorSnap
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    SensorInstigatorData,
)
from dagster._core.workspace.load_target import (
    ModuleTarget,
    PyProjectFileTarget,
    WorkspaceFileTarget,
)
from dagster._time import get_current_timestamp

from dsml.contract.cron import in_words
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.orchestrate.origin import LOCATION, loadable_repository
from dsml.orchestrate.sensors import WATCH

_HEARTBEAT = 120.0  # seconds; a daemon that is well gives one every 30
_DAEMONS = {"schedule": "SCHEDULER", "sensor": "SENSOR"}


@dataclass(frozen=True)
class Tick:
    """One look at whether there is something to run.

    ``status`` is success, skipped, failure or started, ``detail`` the reason where nothing was
    run; ``time`` is in seconds since 1970.
    """

    time: float
    status: str
    detail: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """A schedule or a sensor. ``next_tick`` is in seconds since 1970, None while it is stopped."""

    name: str
    kind: str
    pipeline: str
    when: str
    cron: str = ""
    timezone: str = ""
    running: bool = False
    next_tick: float | None = None
    last_tick: Tick | None = None


Remote = RemoteSchedule | RemoteSensor


def read_switches(root: Path, instance: DagsterInstance) -> list[Switch]:
    """All schedules and sensors of the project, those of its own in ``dag.py`` among them."""
    return [_switch(remote, instance) for remote in _remotes(root)]


def turn(root: Path, instance: DagsterInstance, names: Sequence[str], *, on: bool) -> list[Switch]:
    """Start or stop schedules and sensors; without names all of them.

    Raises:
        ProjectError: there are no such; none is changed then.
    """
    remotes = {remote.name: remote for remote in _remotes(root)}
    problems = [
        Problem(
            Where(f"dsml schedules {'start' if on else 'stop'}"),
            f"there is no schedule and no sensor '{name}'",
            suggest(name, remotes, "" if remotes else "declare one in catalog.yml"),
            "unknown-schedule",
        )
        for name in names
        if name not in remotes
    ]
    if problems:
        raise ProjectError(problems)
    chosen = [remotes[name] for name in names] or list(remotes.values())
    for remote in chosen:
        (_start if on else _stop)(remote, instance)
    return [_switch(remote, instance) for remote in chosen]


def missing_daemons(instance: DagsterInstance, switches: Iterable[Switch]) -> list[str]:
    """The kinds of running switches that nothing looks at, since no daemon runs."""
    beats = instance.get_daemon_heartbeats()
    oldest = get_current_timestamp() - _HEARTBEAT
    kinds = dict.fromkeys(switch.kind for switch in switches if switch.running)
    return [
        kind
        for kind in kinds
        if (beat := beats.get(_DAEMONS[kind])) is None or beat.timestamp < oldest
    ]


def _start(remote: Remote, instance: DagsterInstance) -> None:
    if isinstance(remote, RemoteSchedule):
        instance.start_schedule(remote)
    else:
        instance.start_sensor(remote)


def _stop(remote: Remote, instance: DagsterInstance) -> None:
    origin, selector = remote.get_remote_origin_id(), remote.selector_id
    if isinstance(remote, RemoteSchedule):
        instance.stop_schedule(origin, selector, remote)
    else:
        instance.stop_sensor(origin, selector, remote)


def _remotes(root: Path) -> list[Remote]:
    """Schedules and sensors as a daemon knows them, without starting a server to ask it."""
    repository = loadable_repository(root).get_definition()
    handle = RepositoryHandle(
        repository_name=repository.name,
        code_location_origin=_origin(root),
        repository_python_origin=None,
        display_metadata={},
    )
    schedules = [
        RemoteSchedule(ScheduleSnap.from_def(schedule, repository), handle)
        for schedule in repository.schedule_defs
    ]
    sensors = [
        RemoteSensor(SensorSnap.from_def(sensor, repository), handle)
        for sensor in repository.sensor_defs
    ]
    by_name = attrgetter("name")
    return [*sorted(schedules, key=by_name), *sorted(sensors, key=by_name)]


def _origin(root: Path) -> CodeLocationOrigin:
    """The code location as `dagster dev` finds it in the project's folder; its name counts."""
    workspace, settings = root / "workspace.yaml", root / "pyproject.toml"
    found: Sequence[CodeLocationOrigin] = ()
    if workspace.is_file():
        found = WorkspaceFileTarget([str(workspace)]).create_origins()
    elif settings.is_file():
        found = PyProjectFileTarget(str(settings)).create_origins()
    return next(iter(found or ModuleTarget(LOCATION, None, str(root), None).create_origins()))


def _switch(remote: Remote, instance: DagsterInstance) -> Switch:
    origin, selector = remote.get_remote_origin_id(), remote.selector_id
    state = remote.get_current_instigator_state(instance.get_instigator_state(origin, selector))
    ticks = instance.get_ticks(origin, selector, limit=1)
    found = _schedule(remote) if isinstance(remote, RemoteSchedule) else _sensor(remote, state)
    return replace(
        found,
        running=state.is_running,
        next_tick=found.next_tick if state.is_running else None,
        last_tick=_tick(ticks[0]) if ticks else None,
    )


def _schedule(remote: RemoteSchedule) -> Switch:
    """A schedule as it would be if it ran; likewise ``_sensor``."""
    declared = remote.cron_schedule
    crons = [declared] if isinstance(declared, str) else list(declared)
    coming = next(remote.execution_time_iterator(get_current_timestamp()))
    return Switch(
        remote.name,
        "schedule",
        remote.job_name,
        when=", ".join(map(in_words, crons)),
        cron=", ".join(crons),
        timezone=remote.execution_timezone or "UTC",
        next_tick=coming.timestamp(),
    )


def _sensor(remote: RemoteSensor, state: InstigatorState) -> Switch:
    when = f"every {remote.min_interval_seconds} s"
    standard = remote.metadata.standard_metadata if remote.metadata is not None else None
    watched = (standard or {}).get(WATCH)
    if watched is not None:
        when = f"{watched.value}, {when}"
    data, now = state.instigator_data, get_current_timestamp()
    last = data.last_tick_start_timestamp if isinstance(data, SensorInstigatorData) else None
    coming = now if last is None else max(now, last + remote.min_interval_seconds)
    pipelines = ", ".join(target.job_name for target in remote.get_targets())
    return Switch(remote.name, "sensor", pipelines, when, next_tick=coming)


def _tick(tick: InstigatorTick) -> Tick:
    detail = tick.tick_data.skip_reason or ""
    error = tick.tick_data.error
    if error is not None:
        while error.cause is not None:
            error = error.cause
        detail = error.message.partition(": ")[2].strip() or error.message.strip()
    return Tick(tick.timestamp, tick.status.value.lower(), detail, tuple(tick.run_ids))
