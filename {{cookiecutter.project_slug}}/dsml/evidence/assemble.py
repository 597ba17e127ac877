"""The spans of a run, from the records that it has left: run → step (→ instance) → attempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dsml.evidence.attributes import attempt_attributes, given_and_made, run_attributes
from dsml.evidence.records import FAILED, KILLED, PASSED, WENT_WRONG, Records, Tried
from dsml.step.spans import (
    ATTEMPT,
    ERROR,
    INSTANCE,
    LEVEL,
    OK,
    OPEN,
    OUTCOME,
    RUN,
    STEP,
    UNSET,
    Event,
    Link,
    Span,
    attempt_span_id,
    span_id,
    trace_id,
)
from dsml.store import StepRun, Store
from dsml.store.runs import CACHED, RUNNING

SCOPE = "dsml"
# Of several the first counts that is among them.
_WORST = (*WENT_WRONG, RUNNING, PASSED, CACHED)
_STATUS = {PASSED: OK, CACHED: OK, RUNNING: UNSET}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spans_of(store: Store, records: Records, moment: str) -> list[Span]:
    """All spans of a run; what is under way ends at ``moment``, in ISO 8601."""
    return _Assembly(store, records, nanoseconds(moment)).spans()


def nanoseconds(moment: str) -> int:
    """A moment in ISO 8601 as nanoseconds since 1970."""
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1) * 1000


@dataclass
class _Part:
    """A span of ours while it is put together."""

    level: str
    name: str
    span_id: str
    parent_id: str
    outcome: str
    start: int
    end: int
    attributes: dict[str, Any]
    message: str = ""
    is_open: bool = False
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    below: list[Span] = field(default_factory=list)


class _Assembly:
    def __init__(self, store: Store, records: Records, moment: int) -> None:
        self._store = store
        self._records = records
        self._moment = moment
        self._run_span = span_id(records.run_id)

    def spans(self) -> list[Span]:
        by_step: dict[str, list[Tried]] = {}
        for tried in self._records.tried:
            by_step.setdefault(tried.attempt.step, []).append(tried)
        steps = [self._step(name, tried) for name, tried in by_step.items()]
        return list(self._finished([self._run(steps), *steps]))

    def _finished(self, parts: Iterable[_Part]) -> Iterator[Span]:
        """The spans of parts, each followed by what is below it."""
        record = self._records.record
        resource = {"service.name": (record.project if record else "") or SCOPE}
        for part in parts:
            marks = {LEVEL: part.level, OUTCOME: part.outcome}
            yield Span(
                name=part.name,
                trace_id=trace_id(self._records.run_id),
                span_id=part.span_id,
                parent_id=part.parent_id,
                start=part.start,
                end=max(part.start, part.end),
                attributes=marks | ({OPEN: True} if part.is_open else {}) | part.attributes,
                events=part.events,
                links=part.links,
                status=_STATUS.get(part.outcome, ERROR),
                message=part.message,
                resource=resource,
                scope=SCOPE,
            )
            yield from part.below

    def _run(self, steps: Sequence[_Part]) -> _Part:
        record, outcome = self._records.record, self._records.outcome
        start = min((step.start for step in steps), default=self._moment)
        end = max((step.end for step in steps), default=start)
        attributes = dict(run_attributes(self._records))
        links: tuple[Link, ...] = ()
        if record is None:  # it was started by something that is none of ours
            outcome = _worst(step.outcome for step in steps)
            outcome = PASSED if outcome == CACHED else outcome
        else:
            start = nanoseconds(record.started)
            end = nanoseconds(record.ended) if record.ended else max(start, end)
            begun = {step.name for step in steps}
            attributes["dsml.run.not_begun"] = [name for name in record.steps if name not in begun]
            if record.parent:
                ids = trace_id(record.parent), span_id(record.parent)
                links = (Link(*ids, {"dsml.link": "parent"}),)
        bad = [f"{step.name} {step.outcome}" for step in steps if step.outcome not in _STATUS]
        return _Part(
            level=RUN,
            name=(record.pipeline if record else "") or RUN,
            span_id=self._run_span,
            parent_id="",
            outcome=outcome,
            start=start,
            end=self._moment if outcome == RUNNING else end,
            attributes=attributes,
            message=", ".join(bad) if outcome not in _STATUS else "",
            is_open=outcome in (RUNNING, KILLED),
            links=links,
        )

    def _step(self, name: str, tried: Sequence[Tried]) -> _Part:
        """A step, with its attempts or, of a mapped one, its instances below it."""
        by_instance: dict[str | None, list[Tried]] = {}
        for each in tried:
            by_instance.setdefault(each.attempt.instance, []).append(each)
        if list(by_instance) == [None]:
            return self._leaf(STEP, tried[0].attempt.address, self._run_span, tried)
        return self._mapped(name, list(by_instance.values()))

    def _mapped(self, name: str, of_instances: Sequence[Sequence[Tried]]) -> _Part:
        own = span_id(self._records.run_id, name)
        parts = [
            self._leaf(INSTANCE, tried[0].attempt.address, own, tried) for tried in of_instances
        ]
        outcome = _worst(part.outcome for part in parts)
        end = max(part.end for part in parts)
        whole = self._records.collected.get(name)
        if whole is not None:
            end = max(end, nanoseconds(whole.ended))
        elif outcome in (PASSED, CACHED):  # what all of them have made was not published
            of_run = self._records.outcome
            outcome = of_run if of_run in (RUNNING, KILLED) else FAILED
        return _Part(
            level=STEP,
            name=name,
            span_id=own,
            parent_id=self._run_span,
            outcome=outcome,
            start=min(part.start for part in parts),
            end=self._moment if outcome == RUNNING else end,
            attributes={"dsml.step": name, "dsml.instances": len(parts)},
            message=", ".join(p.name for p in parts if p.outcome not in _STATUS),
            is_open=outcome in (RUNNING, KILLED),
            below=list(self._finished(parts)),
        )

    def _leaf(self, level: str, address: StepRun, parent: str, tried: Sequence[Tried]) -> _Part:
        """A step or an instance, with the attempts at it below."""
        own, last = span_id(address.run_id, address.label), tried[-1]
        attributes = _names(address)
        attempts = [each for each in tried if each.attempt.number]
        attributes["dsml.attempts"] = len(attempts)
        links: tuple[Link, ...] = ()
        if last.outcome == CACHED and last.manifest is not None:
            origin = last.manifest.origin
            attributes |= {"dsml.cached": origin.run_id, **dict(given_and_made(self._store, last))}
            linked = trace_id(origin.run_id), span_id(origin.run_id, origin.label)
            links = (Link(*linked, {"dsml.link": "cached"}),)
        return _Part(
            level=level,
            name=address.label,
            span_id=own,
            parent_id=parent,
            outcome=last.outcome,
            start=nanoseconds(tried[0].attempt.started),
            end=self._end(last),
            attributes=attributes,
            message=_first_line(last),
            is_open=last.is_open,
            links=links,
            below=[span for each in attempts for span in self._attempt(each, own)],
        )

    def _attempt(self, tried: Tried, parent: str) -> Iterator[Span]:
        attempt = tried.attempt
        own = attempt_span_id(attempt.address, attempt.number)
        attributes = _names(attempt.address)
        attributes |= dict(attempt_attributes(self._store, tried))
        attributes |= dict(given_and_made(self._store, tried))
        part = _Part(
            level=ATTEMPT,
            name=f"{attempt.address.label} attempt {attempt.number}",
            span_id=own,
            parent_id=parent,
            outcome=tried.outcome,
            start=nanoseconds(attempt.started),
            end=self._end(tried),
            attributes=attributes,
            message=_first_line(tried),
            is_open=tried.is_open,
            events=tuple(_events(tried, self._end(tried))),
        )
        yield from self._finished([part])
        known = {span.span_id for span in tried.spans}
        for span in tried.spans:  # one whose parent never ended hangs under the attempt
            yield span if span.parent_id in known else replace(span, parent_id=own)

    def _end(self, tried: Tried) -> int:
        return self._moment if tried.outcome == RUNNING else nanoseconds(tried.seen)


def _names(address: StepRun) -> dict[str, Any]:
    instance = {} if address.instance is None else {"dsml.instance": address.instance}
    return {"dsml.step": address.step, **instance}


def _worst(outcomes: Iterable[str]) -> str:
    found = set(outcomes)
    return next((outcome for outcome in _WORST if outcome in found), PASSED)


def _first_line(tried: Tried) -> str:
    """What a failed attempt says, in one line: where, and what."""
    lines = [line.strip() for line in tried.attempt.error.splitlines()[:2]]
    return ": ".join(filter(None, lines)) if tried.outcome not in _STATUS else ""


def _events(tried: Tried, end: int) -> Iterator[Event]:
    """The cells, each when it began, and the exception that ended the attempt."""
    attempt = tried.attempt
    for cell in attempt.cells:
        seconds = {"dsml.cell": cell["cell"], "dsml.cell.seconds": cell["seconds"]}
        yield Event("cell", nanoseconds(cell["started"]), seconds)
    if tried.outcome == FAILED and attempt.error:
        told = {
            "exception.type": attempt.exception,
            "exception.message": attempt.error,
            "exception.stacktrace": attempt.traceback,
        }
        yield Event("exception", end, {name: text for name, text in told.items() if text})
