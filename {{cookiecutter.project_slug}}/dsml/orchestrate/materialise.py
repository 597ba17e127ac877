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
from dsml.orchestrate.executed import HTML_FILE, NOTEBOOK_FILE
from dsml.orchestrate.pipes import pipes_session
from dsml.orchestrate.preview import Metadata, output_metadata, picture_markdown
from dsml.orchestrate.runner import LOG_FILE, LOGGED_FOLDER, Line, Passed, Task, attempt
from dsml.step.context import Setting
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import ATTEMPTS_FOLDER

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
        address=StepRun(step.name, experiment, context.run_id),
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
    if not task.store.path(
        task.address, f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}"
    ).exists():
        return {}  # it failed before its notebook was started
    return _links(context, task, task.number)


def _results(
    context: AssetExecutionContext, task: Task, passed: Passed
) -> Iterator[MaterializeResult[Any]]:
    manifest = passed.manifest
    facts = _facts(manifest)
    yield MaterializeResult(
        asset_key=step_key(manifest.step),
        metadata=facts | _notebook_metadata(context, task, passed),
        data_version=DataVersion(_fingerprint(manifest)),
    )
    for path, name in task.step.artefacts.items():
        output = manifest.outputs[name]
        published = str(task.store.path(task.address, output.file))
        local = task.store.local(task.address, output)
        yield MaterializeResult(
            asset_key=artefact_key(path),
            metadata=facts | output_metadata(output, local, published),
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


def _links(context: AssetExecutionContext, task: Task, number: int) -> Metadata:
    """What was kept of an attempt: a link that the UI opens in a new tab, and the files."""
    notebook = task.kept(number, NOTEBOOK_FILE)
    metadata: Metadata = {
        "notebook": MetadataValue.notebook(notebook),
        "HTML": MetadataValue.path(task.kept(number, HTML_FILE)),
        "log": MetadataValue.path(task.kept(number, LOG_FILE)),
    }
    if task.store.is_local:
        query = urlencode({"path": notebook, "repoLocName": _location(context)})
        return {"executed notebook": MetadataValue.url(f"{_VIEWER}?{query}")} | metadata
    return metadata


def _location(context: AssetExecutionContext) -> str:
    """The name of the code location, which a run from the command line doesn't know."""
    origin = context.run.remote_job_origin
    return _DEFAULT_LOCATION if origin is None else origin.location_name


def _notebook_metadata(context: AssetExecutionContext, task: Task, passed: Passed) -> Metadata:
    manifest = passed.manifest
    metadata = _links(context, task, manifest.attempts)
    for name, value in manifest.metrics.items():
        if isinstance(value, str):  # NaN and the like, which the UI's plots don't take
            metadata[name] = MetadataValue.text(value)
        else:
            metadata[name] = MetadataValue.float(value)
    for name, fact in manifest.logged.items():
        metadata[name] = MetadataValue.text(str(fact))
    for name, file in passed.files.items():
        kept = task.kept(manifest.attempts, f"{LOGGED_FOLDER}/{file}")
        is_picture = task.store.is_local and file.endswith(".png")
        metadata[name] = picture_markdown(Path(kept)) if is_picture else MetadataValue.path(kept)
    return metadata
