"""Spans in OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

Ids are hexadecimal, times nanoseconds since 1970 as text. Written and read here without
OpenTelemetry's SDK, which takes 0.2 s to import, and whose settings in the environment
(OTEL_SDK_DISABLED, limits on attributes) are not meant for the record of a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from dsml.step.spans import UNSET, Attributes, Event, Link, Span

_INT64 = 2**63
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def to_otlp(spans: Iterable[Span]) -> dict[str, Any]:
    """The spans as one document, those of the same resource and scope together."""
    found: dict[str, tuple[Attributes, dict[str, list[dict[str, Any]]]]] = {}
    for span in spans:
        key = json.dumps(span.resource, sort_keys=True, default=str)
        _, scopes = found.setdefault(key, (span.resource, {}))
        scopes.setdefault(span.scope, []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {"scope": {"name": name}, "spans": inside} for name, inside in scopes.items()
                ],
            }
            for resource, scopes in found.values()
        ]
    }


def from_otlp(document: Mapping[str, Any]) -> Iterator[Span]:
    """The spans of a document."""
    for of_resource in document.get("resourceSpans", ()):
        resource = _plain(of_resource.get("resource", {}).get("attributes", ()))
        for of_scope in of_resource.get("scopeSpans", ()):
            scope = of_scope.get("scope", {}).get("name", "")
            for raw in of_scope.get("spans", ()):
                yield _read(raw, resource, scope)


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "events": [
            {
                "timeUnixNano": str(event.time),
                "name": event.name,
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ],
        "status": {"code": span.status, **({"message": span.message} if span.message else {})},
    }
    return {key: value for key, value in found.items() if value not in ("", [])}


def _read(raw: Mapping[str, Any], resource: Attributes, scope: str) -> Span:
    status = raw.get("status", {})
    return Span(
        name=raw.get("name", ""),
        trace_id=raw.get("traceId", "").lower(),
        span_id=raw.get("spanId", "").lower(),
        parent_id=raw.get("parentSpanId", "").lower(),
        start=int(raw.get("startTimeUnixNano", 0)),
        end=int(raw.get("endTimeUnixNano", 0)),
        attributes=_plain(raw.get("attributes", ())),
        events=tuple(
            Event(e.get("name", ""), int(e.get("timeUnixNano", 0)), _plain(e.get("attributes", ())))
            for e in raw.get("events", ())
        ),
        links=tuple(
            Link(each["traceId"], each["spanId"], _plain(each.get("attributes", ())))
            for each in raw.get("links", ())
        ),
        kind=raw.get("kind", 0),
        status=status.get("code", UNSET),
        message=status.get("message", ""),
        resource=resource,
        scope=scope,
    )


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> dict[str, Any]:
    kind = next((kind for kind in _KINDS if isinstance(value, kind)), None)
    return {} if value is None else _KINDS[kind](value) if kind else _value(str(value))


def _whole(value: int) -> dict[str, Any]:
    """A whole number; one that is too large for OTLP is told as text."""
    return {"intValue": str(value)} if -_INT64 <= value < _INT64 else _value(str(value))


_KINDS: dict[type, Callable[[Any], dict[str, Any]]] = {
    bool: lambda value: {"boolValue": value},  # before int, of which it is a kind
    int: _whole,
    float: lambda value: {"doubleValue": value if isfinite(value) else _NOT_FINITE[str(value)]},
    str: lambda value: {"stringValue": value},
    Mapping: lambda value: {"kvlistValue": {"values": _attributes(value)}},
    Sequence: lambda value: {"arrayValue": {"values": [_value(item) for item in value]}},
}


def _plain(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {item["key"]: _value_of(item.get("value", {})) for item in attributes}


def _value_of(value: Mapping[str, Any]) -> Any:
    """The Python value of one of OTLP; None where it is empty."""
    ((kind, content),) = [*value.items()] or [("", None)]
    if kind == "intValue":
        return int(content)
    if kind == "doubleValue":
        return float(content)
    if kind == "arrayValue":
        return [_value_of(item) for item in content.get("values", ())]
    if kind == "kvlistValue":
        return _plain(content.get("values", ()))
    return content
