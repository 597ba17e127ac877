"""Spans that a notebook makes itself, with `context.tracer`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import run_command

from dsml.evidence import trace
from dsml.step.otlp import from_otlp
from dsml.step.spans import attempt_span_id, trace_id
from dsml.store import StepRun

from .conftest import execute
from .projects import PROJECT_FOLDER, Step, write_project
from .traces import checked, named, tree

THREADS = """
import threading
def work(name):
    with context.tracer.start_as_current_span(name):
        pass
with context.tracer.start_as_current_span("here"):
    thread = threading.Thread(target=work, args=["elsewhere"])
    thread.start()
    thread.join()
"""
FAILS = """
with context.tracer.start_as_current_span("broken"):
    raise ValueError("no")
"""
OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
context.tracer
with trace.get_tracer("own").start_as_current_span("outer"):
    with trace.get_tracer("own").start_as_current_span("inner"):
        pass
context.save("kept", [span.name for span in kept.get_finished_spans()])
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The trace of notebooks that make spans in several ways."""
    steps = {
        "a.cells": Step(
            [
                "with context.tracer.start_as_current_span('first'): pass",
                "with context.tracer.start_as_current_span('second'): pass",
            ]
        ),
        "a.threads": Step(THREADS),
        "a.fails": Step(FAILS),
        "a.own": Step(OWN, outs={"kept": "kept.json"}),
    }
    root = write_project(tmp_path_factory.mktemp("tracer") / "a project", steps)
    ran = execute(root)
    (file,) = root.glob("artefacts/baseline/a/own/*/kept.json")
    assert json.loads(file.read_text()) == ["inner", "outer"]
    return checked(trace.load(ran.run_id, root))


def spans_of(found, step):
    return tree(found, named(found, f"{step} attempt 1"))


def test_the_spans_of_every_cell_hang_under_the_attempt(found):
    assert spans_of(found, "a.cells") == {"first: ": {}, "second: ": {}}


def test_a_span_of_another_thread_hangs_under_the_attempt(found):
    assert spans_of(found, "a.threads") == {"here: ": {}, "elsewhere: ": {}}


def test_the_spans_of_a_provider_of_the_notebooks_own_are_in_the_trace_of_the_run(found):
    assert spans_of(found, "a.own") == {"outer: ": {"inner: ": {}}}


def test_a_span_that_an_exception_ended_says_so(found):
    span = named(found, "broken")
    (event,) = span.events
    assert event.attributes["exception.type"] == "ValueError"
    assert (span.status, span.message) == (2, "ValueError: no")


def test_by_hand_the_spans_lie_beside_what_is_logged(root):
    write_project(root, {"a.b": Step("context.tracer.start_span('alone').end()")})
    command = [sys.executable, "-m", "jupyter", "execute", "stages/a/b.ipynb"]
    run_command(*command, cwd=root)
    (file,) = root.glob("artefacts/.scratch/baseline/a.b/spans.jsonl")
    (span,) = from_otlp(json.loads(file.read_text()))
    assert (span.name, span.parent_id) == ("alone", "")


def test_a_trace_that_the_process_was_started_in_is_not_taken_for_the_attempts(root, monkeypatch):
    """CI systems set TRACEPARENT for a job; in a kernel it is the attempt's."""
    monkeypatch.setenv("TRACEPARENT", f"00-{'1' * 32}-{'2' * 16}-01")
    steps = {
        "a.b": Step("import os\ncontext.save('t', os.environ['TRACEPARENT'])", outs={"t": "t.json"})
    }
    ran = execute(write_project(root, steps))
    (file,) = root.glob("artefacts/baseline/a/b/*/t.json")
    span = attempt_span_id(StepRun("a.b", "baseline", ran.run_id), 1)
    assert json.loads(file.read_text()) == f"00-{trace_id(ran.run_id)}-{span}-01"


def test_a_context_costs_no_import_of_opentelemetry():
    code = "import sys, dsml; assert 'opentelemetry' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_FOLDER)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
