"""Sending a trace to a collector: over HTTP and gRPC, and what happens where none answers."""

from __future__ import annotations

import os
import sys
import time

import pytest
from conftest import free_port

from dsml.evidence import export
from dsml.step.spans import Event, Link, Span, span_id, trace_id

from .collectors import grpc_collector, http_collector
from .traces import RUN_ID, Written, assembled, named, value

COLLECTORS = {"http/protobuf": http_collector, "grpc": grpc_collector}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=COLLECTORS)
def protocol(request):
    return request.param


@pytest.fixture
def collector(protocol, monkeypatch):
    """A collector that the environment names."""
    with COLLECTORS[protocol]() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        if protocol != "http/protobuf":  # which is what is used by default
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        yield collector


@pytest.fixture
def found(new_memory):
    """The trace of a run with a step that failed."""
    written = Written(new_memory(), steps={"a.b": []})
    begun = written.begin("a.b", 1, parameters={"n": value([1, 2])})
    told = {"error": "here\n  it broke\n  mend it", "exception": "ValueError"}
    written.stop(begun, 2, "failed", cpu_seconds=0.5, **told)
    written.end("failed")
    return assembled(written.store)


def test_a_collector_gets_every_span_with_its_ids_and_times(found, collector):
    assert export.send(found.spans) is None
    assert collector.spans.keys() == {"training", "a.b", "a.b attempt 1"}
    for name, got in collector.spans.items():
        span = named(found, name)
        assert got.trace_id.hex() == trace_id(RUN_ID)
        assert (got.span_id.hex(), got.parent_span_id.hex()) == (span.span_id, span.parent_id)
        assert (got.start_time_unix_nano, got.end_time_unix_nano) == (span.start, span.end)
        assert (got.kind, got.status.code) == (span.kind, span.status)
    assert collector.services == {"small"}


def test_a_collector_gets_attributes_events_and_the_status(found, collector):
    export.send(found.spans)
    got = collector.spans["a.b attempt 1"]
    values = {item.key: item.value for item in got.attributes}
    assert values["dsml.cpu.seconds"].double_value == 0.5
    items = values["dsml.parameter.n.value"].array_value.values
    assert [item.int_value for item in items] == [1, 2]
    assert len(values) == len(named(found, "a.b attempt 1").attributes)
    (event,) = got.events
    assert event.name == "exception"
    assert got.status.message == "here: it broke"


def test_nothing_is_cut_off(collector, monkeypatch):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    ids = trace_id(RUN_ID), span_id(RUN_ID, "x")
    span = Span(
        "large", *ids, "", 1, 2, {f"a{n}": "x" * 100 for n in range(500)},
        events=tuple(Event("e", 1, {"n": n}) for n in range(300)),
        links=tuple(Link("1" * 32, "2" * 16) for _ in range(200)),
    )  # fmt: skip
    assert export.send([span]) is None
    got = collector.spans["large"]
    assert (len(got.attributes), len(got.events), len(got.links)) == (500, 300, 200)
    assert {len(item.value.string_value) for item in got.attributes} == {100}


def test_many_spans_go_in_several_messages(collector):
    trace = trace_id(RUN_ID)
    spans = [Span(f"s{n}", trace, span_id(RUN_ID, str(n)), "", 1, 2) for n in range(1200)]
    assert export.send(spans) is None
    assert len(collector.spans) == 1200
    assert len(collector.requests) == 3


def test_the_headers_of_the_environment_are_sent(found, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=vision")
    export.send(found.spans)
    assert {headers["x-team"] for headers in collector.headers} == {"vision"}


# --- nobody answers -------------------------------------------------------------------------------


def test_a_collector_that_is_not_there_costs_little_and_is_told(found, protocol, monkeypatch):
    address = f"http://user:secret@127.0.0.1:{free_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    begun = time.monotonic()
    problem = export.send(found.spans)
    assert time.monotonic() - begun < 3
    assert problem.where.path == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert problem.what.startswith("the trace could not be sent to http://127.0.0.1:")
    assert problem.fix == "it is kept; send it later with: dsml trace RUN --send"
    assert "secret" not in str(problem)


def test_a_collector_that_does_not_answer_is_not_waited_for(found, collector, monkeypatch):
    collector.delay = 20
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    begun = time.monotonic()
    problem = export.send(found.spans)
    assert time.monotonic() - begun < 2
    assert "the trace could not be sent to" in problem.what


@pytest.mark.parametrize("protocol", ["http/protobuf"])
def test_what_a_collector_refuses_is_told(found, collector):
    collector.status = 400
    assert "400" in export.send(found.spans).what


def test_a_protocol_that_there_is_not_is_told(found, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    told = str(export.send(found.spans))
    assert "there is no protocol 'http/json': known are: grpc, http/protobuf" in told


@pytest.mark.parametrize(
    ("settings", "configured"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_spans_are_sent_where_the_environment_says_so(settings, configured, monkeypatch):
    for name, setting in settings.items():
        monkeypatch.setenv(name, setting)
    assert export.is_configured() == configured


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_exporter_that_is_not_installed_is_told(found, monkeypatch, kind):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", {"http": "http/protobuf"}.get(kind, kind))
    module = f"opentelemetry.exporter.otlp.proto.{kind}.trace_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    told = export.send(found.spans).what
    assert told.endswith(": install opentelemetry-exporter-otlp")
