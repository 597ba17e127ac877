"""Traces in the tests: runs that are written down, not run; the schema that every span keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from dsml.evidence import trace
from dsml.evidence.trace import Trace
from dsml.step.process import mark
from dsml.step.spans import Span
from dsml.store import Attempt, Input, Manifest, StepRun, Store, Value
from dsml.store.manifest import measure
from dsml.store.runs import RunRecord, begin, keep_run

from .projects import PROJECT_FOLDER

RUN_ID = "3f2b8a54-1c1e-4a57-9a52-0d6f3c1f9a10"
BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)
_SCHEMA = json.loads(
    (PROJECT_FOLDER / "dsml/evidence/trace.schema.json").read_text(encoding="utf-8")
)
validator_for(_SCHEMA).check_schema(_SCHEMA)
_VALIDATOR = Draft202012Validator(_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def at(seconds: float) -> str:
    """A moment of the run that is written down, as its records have it."""
    return (BEGINNING + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def checked(found: Trace) -> Trace:
    """The same trace, each of whose spans keeps the schema and hangs under another one."""
    ids = {span.span_id for span in found.spans}
    for span in found.spans:
        errors = [f"{e.json_path}: {e.message}" for e in _VALIDATOR.iter_errors(span.plain())]
        assert errors == [], span.name
        assert span.parent_id in ids or span is found.run
        assert span.start <= span.end
    assert len(ids) == len(found.spans)
    return found


def is_valid(span: Mapping[str, Any]) -> bool:
    """Whether a plain span keeps the schema."""
    return bool(_VALIDATOR.is_valid(span))


def assembled(store: Store) -> Trace:
    """The trace of the run that is written down."""
    return checked(trace.assemble(store, RUN_ID))


class Written:
    """Writes down a run in a store, as a runner would."""

    def __init__(self, store: Store, **known: Any) -> None:
        self.store = store
        self.record = RunRecord(
            run_id=RUN_ID,
            project="small",
            pipeline="training",
            experiment="wide",
            partition=None,
            started=at(0),
            process=known.pop("process", mark()),
            **known,
        )
        keep_run(store, self.record)

    def end(self, status: str = "passed", seconds: float = 60) -> None:
        """The run ends."""
        keep_run(self.store, replace(self.record, status=status, ended=at(seconds)))

    def begin(self, step: str, started: float, number: int = 1, **known: Any) -> Attempt:
        """An attempt begins, ``started`` seconds after the run."""
        record = Attempt(
            step=step,
            run_id=RUN_ID,
            experiment="wide",
            partition=None,
            number=number,
            status="running",
            error="",
            started=at(started),
            ended="",
            parameters=known.pop("parameters", {}),
            inputs=known.pop("inputs", {}),
            process=known.pop("process", mark()),
            **known,
        )
        begin(self.store, record)
        return record

    def stop(
        self,
        begun: Attempt,
        ended: float,
        status: str = "passed",
        evidence: Mapping[str, str] | None = None,
        **known: Any,
    ) -> Attempt:
        """The attempt ends and what it has written is kept; nothing is published."""
        record = replace(begun, ended=at(ended), status=status, **known)
        staging = self.store.stage(record.address, record.number)
        for name, text in (evidence or {}).items():
            (staging.evidence / name).parent.mkdir(parents=True, exist_ok=True)
            (staging.evidence / name).write_text(text, encoding="utf-8")
        self.store.keep_attempt(staging, record)
        self.store.unstage(staging)
        return record

    def publish(self, attempt: Attempt, outs: Iterable[str] = (), **known: Any) -> Manifest:
        """What the attempt has written is published: for each out a file of its name."""
        staging = self.store.stage(attempt.address, attempt.number)
        for name in outs:
            (staging.outs / f"{name}.bin").write_text(name, encoding="utf-8")
        manifest = manifest_of(
            attempt, {name: measure(staging.outs / f"{name}.bin") for name in outs}, **known
        )
        self.store.publish(staging, manifest)
        self.store.unstage(staging)
        return manifest

    def run(self, step: str, started: float, ended: float, **known: Any) -> Attempt:
        """A step with one attempt that passes."""
        outs = known.pop("outs", ())
        done = self.stop(self.begin(step, started, **known), ended)
        self.publish(done, outs)
        return done


def manifest_of(attempt: Attempt, outputs: Mapping[str, Any], **known: Any) -> Manifest:
    """The manifest of an attempt that has passed."""
    return Manifest(
        **vars(attempt.address),
        parameters=attempt.parameters,
        inputs=attempt.inputs,
        outputs=outputs,
        code="",
        git={},
        versions={},
        started=attempt.started,
        ended=attempt.ended,
        attempts=attempt.number,
        executed="",
        **known,
    )


def value(content: Any, source: str = "default") -> Value:
    """A parameter's value."""
    return Value(content, source)


def read(path: str, run_id: str = RUN_ID) -> Input:
    """An input of three bytes."""
    return Input(path, run_id, "x.bin", 3, "a" * 64)


def named(found: Trace, name: str) -> Span:
    """The span of a name."""
    (span,) = (span for span in found.spans if span.name == name)
    return span


def tree(found: Trace, span: Span | None = None) -> dict[str, Any]:
    """Names and outcomes of spans, as they hang under each other."""
    top = span or found.run
    return {f"{s.name}: {s.outcome}": tree(found, s) for s in found.children(top)}


def address(step: str, instance: str | None = None) -> StepRun:
    """A step of the run that is written down."""
    return StepRun(step, "wide", RUN_ID, None, instance)
