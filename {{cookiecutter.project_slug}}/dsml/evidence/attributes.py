"""The attributes of our spans; ``trace.schema.json`` says what each of them means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from dsml.evidence.records import Records, Tried
from dsml.step.task import LOGGED_FOLDER
from dsml.store import Manifest, Store
from dsml.store.manifest import ATTEMPTS_FOLDER, HTML_FILE, LOG_FILE, NOTEBOOK_FILE, Json
from dsml.store.runs import RunRecord

# What is kept of every attempt whose kernel was started.
KEPT = {"notebook": NOTEBOOK_FILE, "html": HTML_FILE, "log": LOG_FILE}
Pairs = Iterator[tuple[str, Any]]
_SCALARS = (bool, int, float, str)
_INT64 = 2**63


def run_attributes(records: Records) -> Pairs:
    """What is known of a run as a whole."""
    yield "dsml.run.id", records.run_id
    if records.record is not None:
        yield from _of_record(records.record)
    else:
        first = records.tried[0].attempt
        named = {"dsml.experiment": first.experiment, "dsml.partition": first.partition}
        yield from _filled(named.items())


def _of_record(record: RunRecord) -> Pairs:
    named = {
        "dsml.project": record.project,
        "dsml.pipeline": record.pipeline,
        "dsml.experiment": record.experiment,
        "dsml.partition": record.partition,
        "dsml.run.parent": record.parent,
        "dsml.run.started_by": record.started_by,
        "dsml.run.user": record.user,
        "dsml.host": _host(record.process),
    }
    yield from _filled(named.items())
    yield "dsml.run.steps", list(record.steps)
    edges = [f"{above} > {step}" for step, waits in record.steps.items() for above in waits]
    yield "dsml.run.edges", edges
    yield from _filled((f"dsml.git.{name}", value) for name, value in record.git.items())
    yield from _filled((f"dsml.ci.{name}", value) for name, value in record.ci.items())


def kept_path(store: Store, tried: Tried, file: str) -> str:
    """Where a file of an attempt lies below the storage, or of the one that was taken over."""
    address, number = tried.attempt.address, tried.attempt.number
    if not number and tried.manifest is not None:
        address, number = tried.manifest.origin, tried.manifest.attempts
    return store.layout.path(address, f"{ATTEMPTS_FOLDER}/{number}/{file}")


def attempt_attributes(store: Store, tried: Tried) -> Pairs:
    """What is known of an attempt, beside what was given to it and what it has made."""
    attempt = tried.attempt
    named: dict[str, Any] = {
        "dsml.attempt": attempt.number,
        "dsml.code.sha256": attempt.code,
        "dsml.deadline.seconds": attempt.timeout,
        "dsml.cpu.seconds": attempt.cpu_seconds,
        "dsml.memory.peak.bytes": attempt.peak_memory,
        "dsml.host": _host(attempt.process),
    }
    yield from _filled(named.items())
    for name, file in KEPT.items() if attempt.ended else ():
        yield f"dsml.evidence.{name}.path", kept_path(store, tried, file)


def given_and_made(store: Store, tried: Tried) -> Pairs:
    """Parameters, inputs and artefacts, and what was logged."""
    attempt, logged = tried.attempt, tried.logged
    for name, parameter in attempt.parameters.items():
        yield from _value(f"dsml.parameter.{name}", parameter.value)
        yield f"dsml.parameter.{name}.source", parameter.source
    for name, found in attempt.inputs.items():
        yield f"dsml.input.{name}.artefact", found.path
        yield f"dsml.input.{name}.run", found.run_id
        yield f"dsml.input.{name}.bytes", found.bytes
        yield f"dsml.input.{name}.sha256", found.sha256
    if tried.manifest is not None:
        yield from _artefacts(store, tried.manifest)
    for name, metric in logged.metrics.items():
        yield f"dsml.metric.{name}", metric
    for name, fact in logged.params.items():
        yield f"dsml.fact.{name}", fact if isinstance(fact, _SCALARS) else json.dumps(fact)
    for name, file in logged.files.items() if attempt.ended else ():
        yield f"dsml.file.{name}.file", file
        yield f"dsml.file.{name}.path", kept_path(store, tried, f"{LOGGED_FOLDER}/{file}")
    for name, model in logged.models.items() if attempt.ended else ():
        yield f"dsml.model.{name}.flavour", model.flavour
        yield f"dsml.model.{name}.path", kept_path(store, tried, f"{LOGGED_FOLDER}/{model.folder}")


def _artefacts(store: Store, manifest: Manifest) -> Pairs:
    for name, output in manifest.outputs.items():
        yield f"dsml.artefact.{name}.file", output.file
        yield f"dsml.artefact.{name}.path", store.layout.path(manifest.origin, output.file)
        yield f"dsml.artefact.{name}.bytes", output.bytes
        yield f"dsml.artefact.{name}.sha256", output.sha256


def _value(name: str, value: Json) -> Pairs:
    """A value as OpenTelemetry has them, else as JSON; None is no value at all."""
    if _is_scalar(value) or (isinstance(value, list) and _is_uniform(value)):
        yield f"{name}.value", value
    elif value is not None:
        yield f"{name}.json", json.dumps(value, ensure_ascii=False)


def _is_scalar(value: Json) -> bool:
    is_large = type(value) is int and not -_INT64 <= value < _INT64
    return isinstance(value, _SCALARS) and not is_large


def _is_uniform(values: list[Json]) -> bool:
    return len({type(value) for value in values}) <= 1 and all(map(_is_scalar, values))


def _filled(pairs: Iterable[tuple[str, Any]]) -> Pairs:
    return ((name, value) for name, value in pairs if value is not None and value != "")


def _host(process: str) -> str:
    return process.rsplit(":", 2)[0]
