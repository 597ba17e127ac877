"""Runs that Dagster has recorded, whoever started them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRun, RunsFilter
from dagster._core.storage.dagster_run import DagsterRunStatus, RunRecord
from dagster._core.storage.tags import PARTITION_NAME_TAG

from dsml.contract.figures import short_id
from dsml.contract.problem import Problem, ProjectError, Where, suggest_run
from dsml.orchestrate.config import op_name

LATEST = "latest"
_LOOKED_AT = 1000  # runs among which an abbreviated id is looked for


@dataclass(frozen=True)
class RunSummary:
    """One run. Times are seconds since 1970, None for what has not happened yet."""

    run_id: str
    pipeline: str
    experiment: str
    status: str
    started: float | None
    ended: float | None
    created: float

    @property
    def short_id(self) -> str:
        """The first part of the id, which is enough to name the run."""
        return short_id(self.run_id)


def list_runs(
    instance: DagsterInstance,
    limit: int,
    *,
    experiment: str | None = None,
    statuses: Sequence[str] = (),
) -> list[RunSummary]:
    """The newest runs first."""
    wanted = RunsFilter(
        statuses=[DagsterRunStatus[status] for status in statuses],
        tags={PARTITION_NAME_TAG: experiment} if experiment else None,
    )
    return [_summary(record) for record in instance.get_run_records(wanted, limit=limit)]


def find_run(instance: DagsterInstance, name: str, command: str = "dsml show") -> RunSummary:
    """The run that an id, the beginning of an id, or ``latest`` means, given to ``command``.

    Raises:
        ProjectError: there is none, or more than one.
    """
    exact = [_summary(record) for record in instance.get_run_records(RunsFilter(run_ids=[name]))]
    runs = exact or list_runs(instance, _LOOKED_AT)
    found = runs[:1] if exact or name == LATEST else [r for r in runs if r.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"there is no run '{name}'" if not found else f"'{name}' begins {len(found)} runs"
    fix = "give more of the id: dsml runs lists them"
    if not found:
        fix = suggest_run(name, (run.run_id for run in runs), "; dsml runs lists them")
    raise ProjectError([Problem(Where(command), what, fix, "unknown-run")])


def step_status(instance: DagsterInstance, run_id: str, steps: Iterable[str]) -> dict[str, str]:
    """Each of ``steps`` that the run got to → its status, in lower case."""
    stats = {stat.step_key: stat.status for stat in instance.get_run_step_stats(run_id)}
    found = {step: stats.get(op_name(step)) for step in steps}
    return {step: status.value.lower() for step, status in found.items() if status is not None}


def _summary(record: RunRecord) -> RunSummary:
    run: DagsterRun = record.dagster_run
    return RunSummary(
        run_id=run.run_id,
        pipeline=run.job_name,
        experiment=run.tags.get(PARTITION_NAME_TAG, ""),
        status=run.status.value,
        started=record.start_time,
        ended=record.end_time,
        created=record.create_timestamp.timestamp(),
    )
