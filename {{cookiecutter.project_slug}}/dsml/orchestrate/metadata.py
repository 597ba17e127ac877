"""What Dagster's UI shows of a step: facts, links to the evidence, what the notebook logged."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from dagster import AssetExecutionContext, MetadataValue, OpExecutionContext

from dsml.contract.figures import short_id
from dsml.orchestrate.origin import location_of
from dsml.orchestrate.preview import Metadata, picture_markdown
from dsml.step.record import RECORD_FILE
from dsml.step.reported import Reported, entries
from dsml.step.task import LOGGED_FOLDER, UNCHANGED
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import HTML_FILE, LOG_FILE, NOTEBOOK_FILE

StepContext = AssetExecutionContext | OpExecutionContext

# The web server's own page that shows a notebook as HTML.
_VIEWER = "/notebook"
# Under this name every asset of a step links to the page.
EXECUTED_NOTEBOOK = "executed notebook"


def facts(manifest: Manifest) -> Metadata:
    """What is said of every asset of a step."""
    spent = datetime.fromisoformat(manifest.ended) - datetime.fromisoformat(manifest.started)
    found: Metadata = {
        "experiment": MetadataValue.text(manifest.experiment),
        "seconds": MetadataValue.float(round(spent.total_seconds(), 3)),
        "parameters": MetadataValue.json(
            {name: value.value for name, value in manifest.parameters.items()}
        ),
    }
    if manifest.partition is not None:
        found["partition"] = MetadataValue.text(manifest.partition)
    if manifest.cached:
        found["cached"] = MetadataValue.text(f"{UNCHANGED} {short_id(manifest.cached)}")
    return found


def evidence(context: StepContext, store: Store, address: StepRun, number: int) -> Metadata:
    """Where the evidence of an attempt is kept, with a link that the UI opens as a page."""
    kept = {
        name: str(store.attempt_path(address, number, name))
        for name in (NOTEBOOK_FILE, HTML_FILE, LOG_FILE)
    }
    found: Metadata = {}
    if store.is_local:  # the web server reads notebooks from its own disk only
        found[EXECUTED_NOTEBOOK] = MetadataValue.url(viewer(context, kept[NOTEBOOK_FILE]))
    # the first can be opened; of the others the UI shows paths
    return found | {
        "notebook": MetadataValue.notebook(kept[NOTEBOOK_FILE]),
        "HTML": MetadataValue.path(kept[HTML_FILE]),
        "log": MetadataValue.path(kept[LOG_FILE]),
    }


def viewer(context: StepContext, notebook: str) -> str:
    """The address, in the UI, of the page that shows a notebook."""
    location = location_of(context.run)
    return f"{_VIEWER}?{urlencode({'path': notebook, 'repoLocName': location})}"


def logged(store: Store, manifest: Manifest, taken: Metadata) -> Metadata:
    """What the notebook logged; a name that is ``taken`` is set apart."""

    def kept(file: str) -> str:
        path = f"{LOGGED_FOLDER}/{file}"
        return str(store.attempt_path(manifest.origin, manifest.attempts, path))

    found: Metadata = {}

    def add(kind: str, values: Metadata) -> None:
        for name, value in values.items():
            found[name if name not in taken | found else f"{name} ({kind})"] = value

    add("logged", {name: figure(value) for name, value in manifest.metrics.items()})
    add("logged fact", {n: MetadataValue.text(str(f)) for n, f in manifest.logged.items()})
    files = {name: _file(store, kept(file)) for name, file in manifest.files.items()}
    add("logged file", files)
    models = {name: kept(model.folder) for name, model in manifest.models.items()}
    add("logged model", {name: MetadataValue.path(path) for name, path in models.items()})
    if manifest.curves:
        curves = {name: asdict(curve) for name, curve in manifest.curves.items()}
        add("logged", {"curves": MetadataValue.json(curves)})
        add("logged", {"points of the curves": MetadataValue.path(kept(RECORD_FILE))})
    return found


def logged_before(store: Store, address: StepRun, number: int) -> Metadata:
    """What an attempt that has failed logged before that."""
    file = store.attempt_path(address, number, f"{LOGGED_FOLDER}/{RECORD_FILE}")
    found = Reported.of(entries(file))
    plain = {name: MetadataValue.text(str(fact)) for name, fact in found.params.items()}
    both = {**plain, **{name: figure(value) for name, value in found.metrics.items()}}
    return {f"{name} (logged)": value for name, value in both.items()}


def _file(store: Store, kept: str) -> MetadataValue[Any]:
    is_picture = store.is_local and kept.endswith(".png")
    return picture_markdown(Path(kept)) if is_picture else MetadataValue.path(kept)


def figure(value: float | str) -> MetadataValue[Any]:
    """A metric; NaN and the like come as text, since the UI's plots don't take them."""
    return MetadataValue.text(value) if isinstance(value, str) else MetadataValue.float(value)
