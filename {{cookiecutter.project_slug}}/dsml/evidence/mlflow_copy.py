"""What notebooks have logged by MLflow itself while its server was down, sent to the server."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dsml.evidence.mlflow_runs import INSTANCE_TAG, RUN_TAG, STEP_TAG, MlflowRuns
from dsml.evidence.mlflow_values import batches
from dsml.step.tracking import BESIDE_TAG, DATABASE
from dsml.store import StepRun, Store
from dsml.store.runs import read_run

if TYPE_CHECKING:
    from mlflow.entities import Run

_SENT_TAG = "dsml.sent"
_PARENT_TAG = "mlflow.parentRunId"
_BATCH, _PARAMS = 1000, 100


def send_offline(store: Store, runs: MlflowRuns) -> int:
    """Send what is kept offline to the server; how many MLflow runs that were.

    Raises:
        MlflowException: the server doesn't take it; what it has taken is not sent again.
    """
    tracking = runs.tracking.offline()
    if tracking.folder is None or not (tracking.folder / DATABASE).exists():
        return 0
    offline = MlflowRuns(tracking)
    sent: dict[str, str] = {}
    for run in _steps_first(offline):
        known = run.data.tags.get(_SENT_TAG)
        sent[run.info.run_id] = known or _send(store, offline, runs, run, sent)
    return len(sent)


def _steps_first(offline: MlflowRuns) -> list[Run]:
    """The MLflow runs of steps, and then those that notebooks have started beside them."""
    token, found = None, []
    while True:
        page = offline.client.search_runs([offline.experiment_id], page_token=token)
        found += [run for run in page if {STEP_TAG, BESIDE_TAG} & run.data.tags.keys()]
        token = page.token
        if not token:
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
    for model in _models(run):
        _copy_model(offline, runs, model, target)
    offline.client.set_tag(run.info.run_id, _SENT_TAG, target)
    return target


def _target(store: Store, runs: MlflowRuns, run: Run, sent: dict[str, str]) -> str:
    """The MLflow run at the server."""
    tags = run.data.tags
    if STEP_TAG not in tags:
        own = {key: text for key, text in tags.items() if key != _PARENT_TAG}
        parent = sent.get(tags.get(_PARENT_TAG, ""))
        own |= {_PARENT_TAG: parent} if parent else {}
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
    from mlflow.exceptions import MlflowException

    for name in run.data.metrics:
        history = offline.client.get_metric_history(run.info.run_id, name)
        for metrics in batches(history, _BATCH):
            runs.client.log_batch(target, metrics=metrics)
    for params in batches([Param(k, v) for k, v in run.data.params.items()], _PARAMS):
        with contextlib.suppress(MlflowException):  # the step's own parameters are there already
            runs.client.log_batch(target, params=params)
    for name, text in run.data.tags.items():
        if not name.startswith(("mlflow.", "dsml.")):
            runs.client.set_tag(target, name, text)


def _models(run: Run) -> Iterator[str]:
    """The ids of the models that the run has logged."""
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:
        yield output.model_id


def _copy_model(offline: MlflowRuns, runs: MlflowRuns, model_id: str, target: str) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.entities import LoggedModelOutput

    known = offline.client.get_logged_model(model_id)
    with tempfile.TemporaryDirectory() as folder:
        local = download_artifacts(
            artifact_uri=known.artifact_location, dst_path=str(Path(folder, "model"))
        )
        made = runs.client.create_logged_model(
            runs.experiment_id, known.name, target, dict(known.tags), dict(known.params)
        )
        runs.client.log_model_artifacts(made.model_id, local)
    runs.client.finalize_logged_model(made.model_id, "READY")
    runs.client.log_outputs(target, [LoggedModelOutput(made.model_id, 0)])
