"""What notebooks have logged by MLflow itself while its server was down, sent to the server."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dsml.evidence.mlflow_runs import INSTANCE_TAG, PARENT_TAG, RUN_TAG, STEP_TAG, MlflowRuns
from dsml.evidence.mlflow_state import is_empty
from dsml.step.tracking import BESIDE_TAG
from dsml.store import StepRun, Store
from dsml.store.runs import read_run

if TYPE_CHECKING:
    from mlflow.entities import Run

_SENT_TAG = "dsml.sent"


def send_offline(store: Store, runs: MlflowRuns) -> None:
    """Send what is kept offline to the server.

    Raises:
        MlflowException: the server doesn't take it; what it has taken is not sent again.
    """
    tracking = runs.tracking.offline()
    if is_empty(tracking):
        return
    offline = MlflowRuns(tracking)
    sent: dict[str, str] = {}
    for run in _steps_first(offline):
        known = run.data.tags.get(_SENT_TAG)
        sent[run.info.run_id] = known or _send(store, offline, runs, run, sent)


def _steps_first(offline: MlflowRuns) -> list[Run]:
    """The MLflow runs of steps, and then those that notebooks have started beside them."""
    found = [run for run in offline.search() if {STEP_TAG, BESIDE_TAG} & run.data.tags.keys()]
    return sorted(found, key=lambda run: STEP_TAG not in run.data.tags)


def _send(
    store: Store, offline: MlflowRuns, runs: MlflowRuns, run: Run, sent: dict[str, str]
) -> str:
    target = _target(store, runs, run, sent)
    _copy_values(offline, runs, run, target)
    with tempfile.TemporaryDirectory() as folder:
        for file in offline.client.list_artifacts(run.info.run_id):
            offline.client.download_artifacts(run.info.run_id, file.path, folder)
        runs.client.log_artifacts(target, folder)
    for model in run.outputs.model_outputs if run.outputs else []:
        _copy_model(offline, runs, model.model_id, target)
    offline.client.set_tag(run.info.run_id, _SENT_TAG, target)
    return target


def _target(store: Store, runs: MlflowRuns, run: Run, sent: dict[str, str]) -> str:
    """The MLflow run at the server."""
    tags = run.data.tags
    if STEP_TAG not in tags:
        own = {key: text for key, text in tags.items() if key != PARENT_TAG}
        parent = sent.get(tags.get(PARENT_TAG, ""))
        own |= {PARENT_TAG: parent} if parent else {}
        made = runs.client.create_run(
            runs.experiment_id, run.info.start_time, own, run.info.run_name
        )
        runs.client.set_terminated(made.info.run_id, run.info.status, run.info.end_time)
        return str(made.info.run_id)
    record = read_run(store, tags[RUN_TAG])
    if record is None:
        raise FileNotFoundError(f"run {tags[RUN_TAG]} has left no record")
    address = StepRun(
        tags[STEP_TAG], record.experiment, record.run_id, record.partition, tags.get(INSTANCE_TAG)
    )
    return runs.open_step(record, address, record.started)


def _copy_values(offline: MlflowRuns, runs: MlflowRuns, run: Run, target: str) -> None:
    from mlflow.entities import Param

    for name in run.data.metrics:
        runs.log_metrics(target, offline.client.get_metric_history(run.info.run_id, name))
    runs.log_params(target, [Param(name, text) for name, text in run.data.params.items()])
    for name, text in run.data.tags.items():
        if not name.startswith(("mlflow.", "dsml.")):
            runs.client.set_tag(target, name, text)


def _copy_model(offline: MlflowRuns, runs: MlflowRuns, model_id: str, target: str) -> None:
    from mlflow.artifacts import download_artifacts

    known = offline.client.get_logged_model(model_id)
    with tempfile.TemporaryDirectory() as folder:
        local = download_artifacts(
            artifact_uri=known.artifact_location, dst_path=str(Path(folder, "model"))
        )
        made = runs.client.create_logged_model(
            runs.experiment_id, known.name, target, dict(known.tags), dict(known.params)
        )
        runs.fill_model(target, made.model_id, Path(local))
