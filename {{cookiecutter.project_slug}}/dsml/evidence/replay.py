"""Our spans as OpenTelemetry's SDK has them, which is what its exporters take."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from dsml.step.spans import Span

_ALL = SpanLimits(*[SpanLimits.UNSET] * 8)  # nothing is cut off


def replayed(spans: Iterable[Span]) -> list[ReadableSpan]:
    """The same spans as the SDK would have made them at their time."""
    return [_replay(span) for span in spans]


def _replay(span: Span) -> ReadableSpan:
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource(span.resource),
        shutdown_on_exit=False,
        id_generator=_Known(span),
        span_limits=_ALL,
    )
    context = Context()
    if span.parent_id:
        parent = NonRecordingSpan(_context(span.trace_id, span.parent_id))
        context = trace.set_span_in_context(parent, context)
    links = [Link(_context(link.trace_id, link.span_id), link.attributes) for link in span.links]
    found = provider.get_tracer(span.scope).start_span(
        span.name,
        context=context,
        kind=SpanKind(span.kind - 1),  # OTLP counts from 1
        attributes=span.attributes,
        links=links,
        start_time=span.start,
    )
    for event in span.events:
        found.add_event(event.name, event.attributes, event.time)
    code = StatusCode(span.status)
    found.set_status(Status(code, span.message if code is StatusCode.ERROR else None))
    found.end(span.end)
    if not isinstance(found, ReadableSpan):
        raise TypeError("the SDK made no span that can be exported")
    return found


def _context(trace_id: str, span_id: str) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)


class _Known(IdGenerator):
    """Gives a span the ids that it has."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def generate_span_id(self) -> int:
        """The span's."""
        return int(self._span.span_id, 16)

    def generate_trace_id(self) -> int:
        """The trace's."""
        return int(self._span.trace_id, 16)
