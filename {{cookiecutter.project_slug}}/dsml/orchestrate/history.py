"""Runs that Dagster has recorded, whoever started them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dagster import DagsterEvent, DagsterInstance, RunsFilter
from dagster._core.execution.stats import StepEventStatus
from dagster._core.storage.dagster_run import DagsterRunStatus, RunRecord
from dagster._core.storage.tags import PARTITION_NAME_TAG, get_multidimensional_partition_tag

from dsml.contract.figures import short_id
from dsml.contract.problem import Problem, ProjectError, Where, suggest_run
from dsml.orchestrate.config import PLAN, op_name, parse_step_key
from dsml.orchestrate.partitions import EXPERIMENT, PARTITION, keys_of

LATEST = "latest"
_LOOKED_AT = 1000  # runs among which an abbreviated id is looked for


@dataclass(frozen=True)
class RunSummary:
    """One run. Times are seconds since 1970, None for what has not happened yet."""

    run_id: str
    pipeline: str
    experiment: str
    partition: str | None
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
    pipeline: str | None = None,
    experiment: str | None = None,
    partition: str | None = None,
    statuses: Sequence[str] = (),
) -> list[RunSummary]:
    """The newest runs first."""
    found: dict[str, RunRecord] = {}
    for tags in _tags(experiment, partition):
        wanted = RunsFilter(
            job_name=pipeline,
            statuses=[DagsterRunStatus[status] for status in statuses],
            tags=tags,
        )
        records = instance.get_run_records(wanted, limit=limit)
        found.update({record.dagster_run.run_id: record for record in records})
    newest = sorted(found.values(), key=lambda record: record.storage_id, reverse=True)
    return [_summary(record) for record in newest[:limit]]


def _tags(experiment: str | None, partition: str | None) -> list[dict[str, str]]:
    """The tags of the runs that are wanted; Dagster tells an experiment alone in another way."""
    names = {EXPERIMENT: experiment, PARTITION: partition}
    both = {get_multidimensional_partition_tag(n): key for n, key in names.items() if key}
    alone = [{PARTITION_NAME_TAG: experiment}] if experiment and not partition else []
    return [both, *alone]


def find_run(instance: DagsterInstance, name: str, command: str = "dsml show") -> RunSummary:
    """The run that an id, the beginning of an id, or ``latest`` means, given to ``command``.

    Raises:
        ProjectError: there is none, or more than one.
    """
    exact = [_summary(record) for record in instance.get_run_records(RunsFilter(run_ids=[name]))]
    runs = exact or list_runs(instance, 1 if name == LATEST else _LOOKED_AT)
    found = runs if exact or name == LATEST else [r for r in runs if r.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"there is no run '{name}'" if not found else f"'{name}' begins {len(found)} runs"
    fix = "give more of the id: dsml runs lists them"
    if not found:
        fix = suggest_run(name, (run.run_id for run in runs), "; dsml runs lists them")
    raise ProjectError([Problem(Where(command), what, fix, "unknown-run")])


def step_status(instance: DagsterInstance, run_id: str, steps: Iterable[str]) -> dict[str, str]:
    """Each of ``steps`` that the run got to → its status, in lower case.

    Of a mapped step each instance by its label, ``train.fit[100]``, and then the step itself.
    """
    found: dict[str, dict[str | None, str]] = {}
    for stat in instance.get_run_step_stats(run_id):
        key = parse_step_key(stat.step_key)
        # a plan that was made says nothing of the step
        is_told = key.part != PLAN or stat.status == StepEventStatus.FAILURE
        if is_told and stat.status is not None:
            found.setdefault(key.op, {})[key.instance] = stat.status.value.lower()
    labels: dict[str, str] = {}
    for step in steps:
        of_step = found.get(op_name(step), {})
        labels |= {f"{step}[{key}]": status for key, status in of_step.items() if key is not None}
        labels |= {step: of_step[None]} if None in of_step else {}
    return labels


def _summary(record: RunRecord) -> RunSummary:
    run = record.dagster_run
    experiment, partition = keys_of(run)
    return RunSummary(
        run_id=run.run_id,
        pipeline=run.job_name,
        experiment=experiment,
        partition=partition,
        status=run.status.value,
        started=record.start_time,
        ended=record.end_time,
        created=record.create_timestamp.timestamp(),
    )


def failure_text(event: DagsterEvent) -> str:
    """What a failed run, step or attempt says: the runner's own message, else the error's.

    Dagster wraps errors; the innermost is the one that a user can do something about.
    """
    data = event.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return "" if error is None else str(error.message).strip()
