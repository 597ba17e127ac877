"""Spans, as OpenTelemetry has them, and the ids by which those of a run find each other."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsml.store.paths import StepRun

SPANS_FILE = "spans.jsonl"  # beside the executed notebook: the spans that the notebook made
TRACEPARENT = "TRACEPARENT"  # https://www.w3.org/TR/trace-context/

Attributes = Mapping[str, Any]  # values are texts, numbers, booleans, or lists of these

INTERNAL = 1  # OTLP's kind of a span inside of an application
UNSET, OK, ERROR = 0, 1, 2  # OTLP's status codes

# Attributes that every span of ours has; `open` only one that has not ended.
LEVEL, OUTCOME, OPEN = "dsml.level", "dsml.outcome", "dsml.open"
RUN, STEP, INSTANCE, ATTEMPT = "run", "step", "instance", "attempt"  # the levels
NOTEBOOK = "notebook"  # the level of a span that a notebook has made itself
_NANO = 1e9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """Something that happened at a moment inside of a span, in nanoseconds since 1970."""

    name: str
    time: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """Another span, mostly of another trace, that a span has to do with."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """A span. Ids are hexadecimal, times nanoseconds since 1970; ``parent_id`` is empty at the top.

    ``kind`` and ``status`` are OTLP's numbers. ``resource`` and ``scope`` say who made the span.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    kind: int = INTERNAL
    status: int = UNSET
    message: str = ""
    resource: Attributes = field(default_factory=dict)
    scope: str = ""

    @property
    def level(self) -> str:
        """What it is the span of: run, step, instance, attempt, or notebook for its own."""
        return str(self.attributes.get(LEVEL, NOTEBOOK))

    @property
    def outcome(self) -> str:
        """How it ended: passed, cached, failed, cancelled, killed, or running; "" if unknown."""
        return str(self.attributes.get(OUTCOME, ""))

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, or nobody was left to say when."""
        return bool(self.attributes.get(OPEN, False))

    @property
    def step(self) -> str:
        """The catalog path of the step; "" of a run."""
        return str(self.attributes.get("dsml.step", ""))

    @property
    def instance(self) -> str | None:
        """The key of an instance of a mapped step."""
        return self.attributes.get("dsml.instance")

    @property
    def started(self) -> datetime:
        """When it began, in UTC."""
        return _moment(self.start)

    @property
    def ended(self) -> datetime:
        """When it ended, in UTC; of an open one the last moment that is known."""
        return _moment(self.end)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / _NANO

    def plain(self) -> dict[str, Any]:
        """The span as plain data, as ``dsml trace --json`` prints it; times in ISO 8601."""
        return {
            "name": self.name,
            "level": self.level,
            "outcome": self.outcome,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "started": _iso(self.start),
            "ended": _iso(self.end),
            "seconds": self.seconds,
            "message": self.message,
            "attributes": dict(self.attributes),
            "events": [
                {"name": e.name, "time": _iso(e.time), "attributes": dict(e.attributes)}
                for e in self.events
            ],
            "links": [vars(link) for link in self.links],
        }

    def group(self, name: str) -> dict[str, dict[str, Any]]:
        """The attributes ``dsml.<name>.<key>.<fact>``, by key and fact.

        ``group("artefact")["model"]["sha256"]``; names are ``parameter``, ``input``, ``artefact``.
        """
        found: dict[str, dict[str, Any]] = {}
        prefix = f"dsml.{name}."
        for attribute, value in self.attributes.items():
            if attribute.startswith(prefix):
                key, _, fact = attribute.removeprefix(prefix).rpartition(".")
                found.setdefault(key, {})[fact] = value
        return found

    @property
    def metrics(self) -> dict[str, float | str]:
        """The last value of each metric that was logged."""
        prefix = "dsml.metric."
        found = self.attributes.items()
        return {name.removeprefix(prefix): v for name, v in found if name.startswith(prefix)}


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _iso(nanoseconds: int) -> str:
    return _moment(nanoseconds).isoformat(timespec="microseconds")


# --- ids ------------------------------------------------------------------------------------------


def trace_id(run_id: str) -> str:
    """The trace of a run: its id, without the dashes."""
    try:
        return uuid.UUID(run_id).hex
    except ValueError:  # not one of Dagster's
        return hashlib.sha256(run_id.encode()).hexdigest()[:32]


def span_id(run_id: str, *parts: str) -> str:
    """The span of a part of a run.

    It follows from the names alone, so that no process has to hand it to another.
    """
    return hashlib.sha256("\0".join([run_id, *parts]).encode()).hexdigest()[:16]


def attempt_span_id(address: StepRun, number: int) -> str:
    """The span of an attempt."""
    return span_id(address.run_id, address.label, str(number))


def traceparent(address: StepRun, number: int) -> str:
    """What ``TRACEPARENT`` holds in the kernel of an attempt."""
    return f"00-{trace_id(address.run_id)}-{attempt_span_id(address, number)}-01"
