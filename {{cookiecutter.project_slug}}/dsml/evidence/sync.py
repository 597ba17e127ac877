"""Telling MLflow what it has missed: runs of a time when it was down, or not asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsml.contract.problem import ProjectError
from dsml.evidence.mlflow_copy import send_offline
from dsml.evidence.mlflow_runs import MlflowRuns
from dsml.evidence.mlflow_state import is_synced, keep_synced, not_reached, not_written, reaches
from dsml.evidence.records import KILLED
from dsml.step.tracking import Tracking
from dsml.store import Store
from dsml.store.runs import RUNNING, read_run, run_ids


@dataclass(frozen=True)
class Sent:
    """A run that MLflow has all of now, and its page there."""

    run_id: str
    outcome: str
    url: str


def sync(store: Store, tracking: Tracking, run_id: str | None = None) -> Iterator[Sent]:
    """Send what MLflow doesn't have yet, of one run or of all; give the runs as they are done.

    Raises:
        ProjectError: MLflow doesn't answer, or doesn't take it.
    """
    if not reaches(tracking):
        raise ProjectError([not_reached(tracking)])
    runs = MlflowRuns(tracking)
    try:
        for run in _missing(store, tracking) if run_id is None else [run_id]:
            records = runs.push_run(store, run)
            if records is None or records.record is None:
                continue
            keep_synced(store, tracking, records)
            yield Sent(run, records.outcome, runs.url(runs.begin(records.record)))
        send_offline(store, runs)
    except OSError as error:
        raise ProjectError([not_written(tracking, error)]) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "mlflow":
            raise
        raise ProjectError([not_written(tracking, error)]) from None


def _missing(store: Store, tracking: Tracking) -> list[str]:
    """The runs that MLflow doesn't have all of, the oldest first."""
    found = []
    for run_id in run_ids(store):
        record = read_run(store, run_id)
        if record is None:
            continue
        outcome = KILLED if record.status == RUNNING else record.status
        if not is_synced(store, tracking, run_id, outcome):
            found.append(record)
    return [record.run_id for record in sorted(found, key=lambda record: record.started)]
