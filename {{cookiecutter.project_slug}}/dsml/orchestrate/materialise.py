"""Running a step inside of Dagster: one attempt in, materialisations and their metadata out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from dagster import AssetExecutionContext, DataVersion, Failure, MaterializeResult, MetadataValue

from dsml.contract.problem import ProjectError
from dsml.contract.project import Project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.assets import artefact_key, step_key
from dsml.orchestrate.config import resolve_values
from dsml.orchestrate.pipes import pipes_session
from dsml.orchestrate.preview import Metadata, output_metadata, picture_markdown
from dsml.orchestrate.runner import Line, Passed, attempt
from dsml.step.context import Setting
from dsml.step.task import LOGGED_FOLDER, Task
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import HTML_FILE, LOG_FILE, NOTEBOOK_FILE

# The web server's own page that shows a notebook as HTML.
_VIEWER = "/notebook"
_DEFAULT_LOCATION = "dag"


def materialise_step(
    context: AssetExecutionContext, project: Project, step: StepSpec
) -> Iterator[MaterializeResult[Any]]:
    """Run a step for the experiment that is the run's partition.

    Raises:
        Failure: with the message for the user; what was kept of the attempt is in its metadata.
    """
    store = Store.open(project.root, project.catalog)
    experiment = context.partition_key
    task = Task(
        root=project.root,
        step=step,
        store=store,
        address=StepRun(step.name, experiment, context.run.run_id),
        number=context.retry_number + 1,
        values=resolve_values(
            step,
            project.catalog.experiments[experiment].config.get(step.name, {}),
            context.run.run_config,
        ),
    )
    yield from _results(context, task, _published(context, task))


def _published(context: AssetExecutionContext, task: Task) -> Passed:
    # an attempt of this run that published and was then killed before it could say so
    earlier = task.store.manifest(task.address)
    if earlier is not None:
        return Passed(earlier, {})

    @contextmanager
    def connect(setting: Setting, private: Path) -> Iterator[Line]:
        with pipes_session(context, setting, private) as session:
            yield Line(
                session.get_bootstrap_env_vars(), session.message_handler.get_custom_messages
            )

    try:
        return attempt(task, context.log, connect)
    except ProjectError as error:
        raise Failure(description=str(error), metadata=_failure_metadata(context, task)) from None


def _failure_metadata(context: AssetExecutionContext, task: Task) -> Metadata:
    if not task.store.attempt_path(task.address, task.number, NOTEBOOK_FILE).exists():
        return {}  # it failed before its notebook was started
    return _viewer(context, task, task.number) | _files(task, task.number)


def _results(
    context: AssetExecutionContext, task: Task, passed: Passed
) -> Iterator[MaterializeResult[Any]]:
    manifest = passed.manifest
    facts = _facts(manifest) | _viewer(context, task, manifest.attempts)
    yield MaterializeResult(
        asset_key=step_key(manifest.step),
        metadata=facts | _files(task, manifest.attempts) | _logged(task, passed, facts),
        data_version=DataVersion(_fingerprint(manifest)),
    )
    for path, name in task.step.artefacts.items():
        output = manifest.outputs[name]
        published = str(task.store.path(task.address, output.file))
        local = task.store.local(task.address, output)
        yield MaterializeResult(
            asset_key=artefact_key(path),
            metadata=output_metadata(output, local, published) | facts,
            data_version=DataVersion(output.sha256),
        )


def _fingerprint(manifest: Manifest) -> str:
    """What an executed notebook depends on: its code, its parameters, the content of its inputs."""
    parts = {
        "code": manifest.code,
        "parameters": {name: value.value for name, value in manifest.parameters.items()},
        "inputs": {name: found.sha256 for name, found in manifest.inputs.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _facts(manifest: Manifest) -> Metadata:
    spent = datetime.fromisoformat(manifest.ended) - datetime.fromisoformat(manifest.started)
    return {
        "experiment": MetadataValue.text(manifest.experiment),
        "seconds": MetadataValue.float(round(spent.total_seconds(), 3)),
        "parameters": MetadataValue.json(
            {name: value.value for name, value in manifest.parameters.items()}
        ),
    }


def _viewer(context: AssetExecutionContext, task: Task, number: int) -> Metadata:
    """A link to the executed notebook, which the UI opens as a page."""
    if not task.store.is_local:
        return {}  # the web server reads notebooks from its own disk only
    origin = context.run.remote_job_origin  # unknown to a run from the command line
    location = _DEFAULT_LOCATION if origin is None else origin.location_name
    query = urlencode({"path": task.kept(number, NOTEBOOK_FILE), "repoLocName": location})
    return {"executed notebook": MetadataValue.url(f"{_VIEWER}?{query}")}


def _files(task: Task, number: int) -> Metadata:
    """Where the evidence of an attempt is kept."""
    return {
        "notebook": MetadataValue.notebook(task.kept(number, NOTEBOOK_FILE)),
        "HTML": MetadataValue.path(task.kept(number, HTML_FILE)),
        "log": MetadataValue.path(task.kept(number, LOG_FILE)),
    }


def _logged(task: Task, passed: Passed, facts: Metadata) -> Metadata:
    """What the notebook logged; a name that is taken by a fact is set apart."""
    manifest = passed.manifest
    found: Metadata = {name: _figure(value) for name, value in manifest.metrics.items()}
    for name, fact in manifest.logged.items():
        found[name] = MetadataValue.text(str(fact))
    for name, file in passed.files.items():
        kept = task.kept(manifest.attempts, f"{LOGGED_FOLDER}/{file}")
        is_picture = task.store.is_local and file.endswith(".png")
        found[name] = picture_markdown(Path(kept)) if is_picture else MetadataValue.path(kept)
    taken = {*facts, *_files(task, manifest.attempts)}
    return {f"{name} (logged)" if name in taken else name: v for name, v in found.items()}


def _figure(value: float | str) -> MetadataValue[Any]:
    """A metric; NaN and the like come as text, since the UI's plots don't take them."""
    return MetadataValue.text(value) if isinstance(value, str) else MetadataValue.float(value)
