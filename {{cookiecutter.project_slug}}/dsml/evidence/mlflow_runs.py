"""The runs of a project in MLflow: one for each run, and below it one for each step or instance.

Everything is found again by the tags that it carries, so that whatever is done twice is done once:
by the process that follows a run, by one of its workers, by ``dsml sync``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml
from upath import UPath

from dsml.contract.figures import short_id
from dsml.evidence.mlflow_values import (
    all_pages,
    batches,
    key_of,
    last_values,
    milliseconds,
    params,
    points,
)
from dsml.evidence.records import FAILED, PASSED, Records, Tried, read_records
from dsml.evidence.stored import copy_folder, local_copy
from dsml.step.models import client_of
from dsml.step.record import MODEL, RECORD_FILE
from dsml.step.reported import entries
from dsml.step.task import LOGGED_FOLDER
from dsml.step.tracking import DAGSTER_URL, DEFAULT_DAGSTER_URL, Tracking
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import HTML_FILE
from dsml.store.runs import CACHED, RUNNING, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run

RUN_TAG, STEP_TAG, INSTANCE_TAG = "dsml.run_id", "dsml.step", "dsml.instance"
STATUS_TAG, SYNCED_TAG, MODEL_TAG = "dsml.status", "dsml.synced", "dsml.model."
PARENT_TAG = "mlflow.parentRunId"
_STATUSES = {PASSED: "FINISHED", CACHED: "FINISHED", FAILED: "FAILED", RUNNING: "RUNNING"}
# MLflow's UI has a face for training, and one for what talks.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_PARENT = ""  # the label of a run as a whole
_POLL = 0.2  # seconds
_BATCH, _PARAMS = 1000, 100  # as many as MLflow takes in one request


@dataclass(frozen=True)
class Pushed:
    """The MLflow run of a step, and its logged models: name → id."""

    run_id: str
    models: Mapping[str, str]


class MlflowRuns:
    """The runs that an MLflow has of a project. Several threads may use it at once.

    Everything raises ``MlflowException`` where MLflow doesn't answer.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self._lock = threading.RLock()
        self._known: dict[str, dict[str, Run]] = {}

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return client_of(self.tracking)

    @cached_property
    def experiment_id(self) -> str:
        """The MLflow experiment, made where there is none yet."""
        from mlflow.exceptions import MlflowException

        name = self.tracking.experiment
        found = self.client.get_experiment_by_name(name)
        if found is None:
            with contextlib.suppress(MlflowException):  # another process has just made it
                made = self.client.create_experiment(name, self.tracking.artefacts, _KIND)
                return str(made)
            found = self.client.get_experiment_by_name(name)
        if found is None:
            raise MlflowException(f"the experiment '{name}' can be neither found nor made")
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def url(self, run_id: str) -> str:
        """The page of an MLflow run."""
        return f"{self.tracking.url}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def wait_for(self, run_id: str, patience: float) -> None:
        """Wait, ``patience`` seconds at most, until another process has begun a run."""
        deadline = time.monotonic() + patience
        while self._find(run_id, _PARENT) is None and time.monotonic() < deadline:
            time.sleep(_POLL)

    def begin(self, record: RunRecord) -> str:
        """The MLflow run of a run as a whole, made where there is none yet."""
        with self._lock:
            found = self._find(record.run_id, _PARENT)
            if found is None:
                name = f"{record.pipeline} {record.experiment} {short_id(record.run_id)}"
                found = self._create(record, _PARENT, name, record.started, _facts(record))
            return str(found.info.run_id)

    def open_step(self, record: RunRecord, address: StepRun, started: str) -> str:
        """The MLflow run of a step or of an instance, made where there is none yet."""
        with self._lock:
            found = self._find(record.run_id, address.label)
            if found is None:
                tags = {STEP_TAG: address.step, INSTANCE_TAG: address.instance or ""}
                tags[PARENT_TAG] = self.begin(record)
                found = self._create(record, address.label, address.label, started, tags)
            return str(found.info.run_id)

    def push_run(
        self, store: Store, run_id: str, known: dict[str, Tried] | None = None
    ) -> Records | None:
        """Bring MLflow up to date with what a run has left in the store; None: nothing.

        ``known`` keeps what has been read, for the next time.
        """
        records = read_records(store, run_id, known)
        if records is None or records.record is None:
            return records
        for tried in _last_attempts(records).values():
            self._push(store, records.record, tried)
        parent = self.begin(records.record)
        if records.outcome != RUNNING:
            ended = records.record.ended or max((t.seen for t in records.tried), default="")
            self._end(parent, records.outcome, ended)
        return records

    def push(self, store: Store, manifest: Manifest) -> Pushed:
        """Bring the MLflow run of one published step or instance up to date.

        Raises:
            FileNotFoundError: the run has left no record.
        """
        records = read_records(store, manifest.run_id)
        if records is None or records.record is None:
            raise FileNotFoundError(f"run {manifest.run_id} has left no record")
        tried = _last_attempts(records)[manifest.address.label]
        return self._push(store, records.record, tried)

    def _find(self, run_id: str, label: str) -> Run | None:
        """An MLflow run of a run; that of the run as a whole has an empty label.

        One that is not known may have been made by another process meanwhile.
        """
        with self._lock:
            known = self._known.setdefault(run_id, {})
            if label not in known:
                for run in self.search(f"tags.`{RUN_TAG}` = '{run_id}'"):
                    known.setdefault(_label(run), run)
            return known.get(label)

    def search(self, query: str = "") -> list[Run]:
        """All MLflow runs that a query finds."""
        return list(all_pages(partial(self.client.search_runs, [self.experiment_id], query)))

    def _create(
        self, record: RunRecord, label: str, name: str, started: str, tags: Mapping[str, str]
    ) -> Run:
        tags = {**_common(record), **{key: text for key, text in tags.items() if text}}
        made = self.client.create_run(self.experiment_id, milliseconds(started), tags, name)
        self._known[record.run_id][label] = made
        return made

    def _push(self, store: Store, record: RunRecord, tried: Tried) -> Pushed:
        address, number = tried.attempt.address, tried.attempt.number
        run_id = self.open_step(record, address, tried.attempt.started)
        run = self._known[record.run_id][address.label]
        done = f"{number} {tried.outcome}"
        if run.data.tags.get(SYNCED_TAG) != done:
            self._push_values(store, record, tried, run_id)
            self.client.set_tag(run_id, "dsml.attempts", str(max(number, 1)))
            self._end(run_id, tried.outcome, tried.seen)
            if tried.is_complete:
                self.client.set_tag(run_id, SYNCED_TAG, done)
            run = self.client.get_run(run_id)
            self._known[record.run_id][address.label] = run
        tags = run.data.tags.items()
        models = {k.removeprefix(MODEL_TAG): v for k, v in tags if k.startswith(MODEL_TAG)}
        return Pushed(run_id, models)

    def _push_values(self, store: Store, record: RunRecord, tried: Tried, run_id: str) -> None:
        parent, prefix = self.begin(record), f"{tried.attempt.address.label}."
        self.log_params(run_id, params(tried))
        self.log_params(parent, params(tried, prefix, mapped=False))
        self.log_metrics(parent, last_values(tried, prefix))
        if tried.attempt.number:
            self._push_logged(store, tried, run_id)
        else:  # nothing was run, and the files are those of another run
            self.log_metrics(run_id, last_values(tried))

    def _push_logged(self, store: Store, tried: Tried, run_id: str) -> None:
        """Push what an attempt has left: curves, files, models."""
        kept = partial(store.attempt_path, tried.attempt.address, tried.attempt.number)
        self.log_metrics(run_id, points(entries(kept(f"{LOGGED_FOLDER}/{RECORD_FILE}"))))
        for file in [HTML_FILE, *(f"{LOGGED_FOLDER}/{f}" for f in tried.logged.files.values())]:
            with local_copy(kept(file)) as local:
                if local is not None:
                    folder = PurePosixPath(file).parent.as_posix()
                    self.client.log_artifact(run_id, str(local), None if folder == "." else folder)
        known = self.client.get_run(run_id).data.tags
        for name, model in tried.logged.models.items():
            if MODEL_TAG + name not in known:
                self._push_model(run_id, name, kept(f"{LOGGED_FOLDER}/{model.folder}"), tried)

    def log_metrics(self, run_id: str, found: Sequence[Metric]) -> None:
        """Log metrics, as many at a time as MLflow takes."""
        for metrics in batches(found, _BATCH):
            self.client.log_batch(run_id, metrics=metrics)

    def log_params(self, run_id: str, found: Sequence[Param]) -> None:
        """Log params; one that is there already, with another value, keeps it."""
        from mlflow.exceptions import MlflowException

        for some in batches(found, _PARAMS):
            try:
                self.client.log_batch(run_id, params=some)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                for each in some:
                    with contextlib.suppress(MlflowException):
                        self.client.log_param(run_id, each.key, each.value)

    def _push_model(self, run_id: str, name: str, folder: UPath, tried: Tried) -> None:
        """Make a logged model of MLflow of a folder that the notebook has saved a model in."""
        tags = {RUN_TAG: tried.attempt.run_id, STEP_TAG: tried.attempt.address.label}
        model = self.client.create_logged_model(
            self.experiment_id, key_of(name).replace("/", "_").replace(".", "_"), run_id, tags
        )
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary, MODEL)
            copy_folder(folder, local)
            described = yaml.safe_load((local / "MLmodel").read_text(encoding="utf-8"))
            described |= {"model_id": model.model_id, "run_id": run_id}
            (local / "MLmodel").write_text(yaml.safe_dump(described), encoding="utf-8")
            self.fill_model(run_id, model.model_id, local)
        self.client.set_tag(run_id, MODEL_TAG + name, model.model_id)

    def fill_model(self, run_id: str, model_id: str, folder: Path) -> None:
        """Give a logged model that has been made its files, and its place in a run."""
        from mlflow.entities import LoggedModelOutput

        self.client.log_model_artifacts(model_id, str(folder))
        self.client.finalize_logged_model(model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])

    def _end(self, run_id: str, outcome: str, ended: str) -> None:
        self.client.set_tag(run_id, STATUS_TAG, outcome)
        status = _STATUSES.get(outcome, "KILLED")
        if status == "RUNNING":
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, milliseconds(ended) if ended else None)


def _last_attempts(records: Records) -> dict[str, Tried]:
    """The last attempt at each step or instance by its label."""
    return {tried.attempt.address.label: tried for tried in records.tried}


def _label(run: Run) -> str:
    tags = run.data.tags
    step, instance = tags.get(STEP_TAG, _PARENT), tags.get(INSTANCE_TAG)
    return f"{step}[{instance}]" if instance else step


def _common(record: RunRecord) -> dict[str, str]:
    """What every MLflow run of a run is tagged with."""
    found = {
        RUN_TAG: record.run_id,
        "dsml.experiment": record.experiment,
        "dsml.partition": record.partition or "",
        "dsml.pipeline": record.pipeline,
        "mlflow.user": record.user,
        "mlflow.source.name": record.pipeline,
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": str(record.git.get("commit") or ""),
        "mlflow.source.git.branch": str(record.git.get("branch") or ""),
    }
    return {name: text for name, text in found.items() if text}


def _facts(record: RunRecord) -> dict[str, str]:
    """What the MLflow run of a run as a whole says beside: who began it, and where it is."""
    dagster = os.environ.get(DAGSTER_URL, DEFAULT_DAGSTER_URL).rstrip("/")
    note = (
        f"Run of the pipeline `{record.pipeline}`, experiment `{record.experiment}`, started by "
        f"{record.started_by}.\n\n- In Dagster: [{record.run_id}]({dagster}/runs/{record.run_id})\n"
        f"- On the command line: `dsml show {short_id(record.run_id)}`\n"
    )
    return {"mlflow.note.content": note}
