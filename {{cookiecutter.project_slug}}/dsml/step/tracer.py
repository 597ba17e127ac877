"""Spans that a notebook makes itself: what stands behind ``context.tracer``.

Every span that ends is a line of ``spans.jsonl`` beside the executed notebook, in OTLP's JSON, and
becomes part of the run's trace, below the attempt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dsml.step.otlp import to_otlp
from dsml.step.redact import Redactor
from dsml.step.spans import TRACEPARENT, Event, Link, Span

_wired: set[tuple[int, Path]] = set()


def open_tracer(step: str, file: Path, redactor: Redactor | None) -> trace.Tracer:
    """A tracer whose spans go to ``file``; so do those of libraries that use OpenTelemetry.

    ``redactor`` takes the secrets of the step out of them.

    Where the notebook has set up a provider of its own, that one gets the spans as well.
    """
    parent = _parent()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        ids = _OneTrace(parent)
        provider = TracerProvider(resource=Resource({SERVICE_NAME: step}), id_generator=ids)
        trace.set_tracer_provider(provider)
    if (id(provider), file) not in _wired:
        _wired.add((id(provider), file))
        provider.add_span_processor(SimpleSpanProcessor(_Lines(file, parent, redactor)))
    return provider.get_tracer(step)


def _parent() -> trace.SpanContext:
    """The span of the attempt; an invalid one in a notebook that is run by hand."""
    carrier = {TRACEPARENT.lower(): os.environ.get(TRACEPARENT, "")}
    context = TraceContextTextMapPropagator().extract(carrier)
    return trace.get_current_span(context).get_span_context()


class _OneTrace(RandomIdGenerator):
    """Gives every span the trace of the run, also those that have no parent here."""

    def __init__(self, parent: trace.SpanContext) -> None:
        self._parent = parent

    def generate_trace_id(self) -> int:
        """The run's, where there is a run."""
        return self._parent.trace_id if self._parent.is_valid else super().generate_trace_id()


class _Lines(SpanExporter):
    """Appends spans to a file, one a line, as soon as they end.

    A span without a parent hangs under the attempt: neither another thread nor the next cell of a
    notebook inherits a current span. One of another trace is put into the run's.
    """

    def __init__(self, file: Path, parent: trace.SpanContext, redactor: Redactor | None) -> None:
        self._file = file
        self._parent = parent
        self._redactor = redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the spans."""
        found = [to_otlp([self._span(span)]) for span in spans]
        if self._redactor is not None:
            found = self._redactor.clean(found)
        lines = "".join(f"{json.dumps(each)}\n" for each in found)
        with self._file.open("ab", buffering=0) as stream:
            stream.write(lines.encode())
        return SpanExportResult.SUCCESS

    def _span(self, span: ReadableSpan) -> Span:
        own = span.get_span_context() or trace.INVALID_SPAN_CONTEXT
        parent, in_trace = span.parent, own
        if self._parent.is_valid:
            parent, in_trace = parent or self._parent, self._parent
        scope = span.instrumentation_scope
        return Span(
            name=span.name,
            trace_id=trace.format_trace_id(in_trace.trace_id),
            span_id=trace.format_span_id(own.span_id),
            parent_id=trace.format_span_id(parent.span_id) if parent else "",
            start=span.start_time or 0,
            end=span.end_time or 0,
            attributes=_plain(span.attributes),
            events=[Event(e.name, e.timestamp, _plain(e.attributes)) for e in span.events],
            links=[_link(link) for link in span.links],
            kind=span.kind.value + 1,  # OTLP counts from 1
            status=span.status.status_code.value,
            message=span.status.description or "",
            resource=_plain(span.resource.attributes),
            scope=scope.name if scope else "",
        )


def _link(link: trace.Link) -> Link:
    ids = trace.format_trace_id(link.context.trace_id), trace.format_span_id(link.context.span_id)
    return Link(*ids, _plain(link.attributes))


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})
