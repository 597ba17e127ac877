"""The trace of a run, put together from its records: how it hangs together, what it tells."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dsml.contract.problem import ProjectError
from dsml.evidence import trace
from dsml.step.otlp import from_otlp, to_otlp
from dsml.step.spans import Event, Link, Span, attempt_span_id, trace_id, traceparent
from dsml.store import InstanceRun, Output
from dsml.store.runs import keep_run, note_cached, run_path

from .traces import (
    RUN_ID,
    Written,
    address,
    assembled,
    at,
    checked,
    is_valid,
    manifest_of,
    named,
    read,
    tree,
    value,
)

GONE = f"{os.uname().nodename}:{2**22 + 1}:1.00"  # no process of this machine has such a number


@pytest.fixture
def written(store):
    """A run that is under way, in either kind of store."""
    return Written(store, steps={"a.b": [], "c.d": ["a.b"]})


# --- ids ------------------------------------------------------------------------------------------


def test_the_trace_id_is_the_run_id_without_its_dashes():
    run_id = str(uuid.uuid4())
    assert trace_id(run_id) == run_id.replace("-", "")


def test_an_id_that_is_no_uuid_has_a_trace_id_too():
    assert re.fullmatch("[0-9a-f]{32}", trace_id("run-1"))


def test_traceparent_names_the_trace_and_the_span_of_the_attempt(written):
    written.run("a.b", 0, 1)
    (attempt,) = assembled(written.store).attempts
    assert traceparent(address("a.b"), 1) == f"00-{trace_id(RUN_ID)}-{attempt.span_id}-01"


def test_every_attempt_at_every_instance_has_a_span_of_its_own():
    places = [("a.b", None), ("a.b", "1"), ("a.b", "11"), ("a.bb", None)]
    ids = {attempt_span_id(address(*place), n) for place in places for n in (1, 2, 11)}
    assert len(ids) == 12


# --- run → step → instance → attempt --------------------------------------------------------------


def test_attempts_hang_under_their_step_and_steps_under_the_run(written):
    written.run("a.b", 1, 2)
    first = written.begin("c.d", 3)
    written.stop(first, 4, "failed", error="somewhere\n  it broke\n  mend it", exception="OSError")
    written.run("c.d", 5, 9, number=2)
    written.end(seconds=10)
    found = assembled(written.store)
    assert tree(found) == {
        "a.b: passed": {"a.b attempt 1: passed": {}},
        "c.d: passed": {"c.d attempt 1: failed": {}, "c.d attempt 2: passed": {}},
    }
    assert (found.run.name, found.run.outcome) == ("training", "passed")
    assert {span.trace_id for span in found.spans} == {trace_id(RUN_ID)}
    assert named(found, "c.d").attributes["dsml.attempts"] == 2


def test_a_step_lasts_from_its_first_attempt_to_the_end_of_its_last(written):
    written.stop(written.begin("a.b", 1), 2, "failed")
    written.run("a.b", 5, 9.5, number=2)
    written.end(seconds=10)
    found = assembled(written.store)
    assert (named(found, "a.b").seconds, found.run.seconds) == (8.5, 10)
    assert named(found, "a.b attempt 2").started == datetime.fromisoformat(at(5))


def test_instances_hang_between_their_step_and_their_attempts(written):
    parts = [written.run("a.b", n, n + 1, instance=str(n), outs=["m"]) for n in (1, 2)]
    runs = {part.instance: InstanceRun(RUN_ID, {}) for part in parts}
    whole = manifest_of(replace(parts[1], instance=None, ended=at(4)), {}, instances=runs)
    written.store.record(whole)
    written.end()
    found = assembled(written.store)
    assert tree(found) == {
        "a.b: passed": {
            "a.b[1]: passed": {"a.b[1] attempt 1: passed": {}},
            "a.b[2]: passed": {"a.b[2] attempt 1: passed": {}},
        }
    }
    step = named(found, "a.b")
    assert (step.attributes["dsml.instances"], step.seconds) == (2, 3)
    assert named(found, "a.b[1] attempt 1").instance == "1"


@pytest.mark.parametrize(
    ("statuses", "of_run", "outcome"),
    [
        (["passed", "failed"], "failed", "failed"),
        (["passed", "cancelled"], "cancelled", "cancelled"),
        (["failed", "cancelled"], "failed", "failed"),
        # both are done, and what they made was not published as a whole
        (["passed", "passed"], "failed", "failed"),
    ],
)
def test_a_mapped_step_fares_as_the_worst_of_its_instances(written, statuses, of_run, outcome):
    for key, status in enumerate(statuses):
        written.stop(written.begin("a.b", key, instance=str(key)), key + 1, status)
    written.end(of_run)
    assert named(assembled(written.store), "a.b").outcome == outcome


def test_the_run_tells_what_it_was_to_do_and_what_it_never_came_to(written):
    written.stop(written.begin("a.b", 0), 1, "failed")
    written.end("failed")
    known = assembled(written.store).run.attributes
    assert known["dsml.run.steps"] == ["a.b", "c.d"]
    assert known["dsml.run.edges"] == ["a.b > c.d"]
    assert known["dsml.run.not_begun"] == ["c.d"]


def test_a_run_that_carries_on_another_is_linked_to_it(store):
    other = str(uuid.uuid4())
    written = Written(store, parent=other)
    written.end()
    (link,) = assembled(store).run.links
    assert link.trace_id == trace_id(other)
    assert link.attributes == {"dsml.link": "parent"}


def test_an_unchanged_step_has_no_attempt_and_is_linked_to_the_run_that_has_its_files(written):
    other = str(uuid.uuid4())
    begun = written.begin("a.b", 1)
    outputs = {"m": Output("m.bin", 3, "b" * 64)}
    done, files = replace(begun, step="c.d", ended=at(1)), {"note": "note.txt"}
    manifest = manifest_of(done, outputs, cached=other, files=files)
    note_cached(written.store, manifest)
    written.store.record(manifest)
    written.run("a.b", 1, 2)
    written.end()
    found = assembled(written.store)
    step = named(found, "c.d")
    assert (step.outcome, found.children(step)) == ("cached", [])
    assert step.attributes["dsml.cached"] == other
    assert step.group("artefact")["m"]["path"] == f"wide/c/d/{other}/m.bin"
    kept = f"wide/c/d/{other}/attempts/1"
    assert step.group("file")["note"]["path"] == f"{kept}/logged/note.txt"
    assert [link.trace_id for link in step.links] == [trace_id(other)]
    assert found.run.outcome == "passed"


# --- what is open ---------------------------------------------------------------------------------


def test_what_is_under_way_is_open_and_runs_until_now(written):
    written.run("a.b", 1, 2)
    written.begin("c.d", 3)
    found = assembled(written.store)
    for name in ("training", "c.d", "c.d attempt 1"):
        span = named(found, name)
        assert (span.outcome, span.is_open) == ("running", True)
        assert datetime.now(UTC) - span.ended < timedelta(seconds=10)
    assert not named(found, "a.b").is_open


def test_a_run_whose_process_is_gone_was_killed_with_all_that_was_under_way(store):
    written = Written(store, process=GONE)
    written.run("a.b", 1, 2)
    written.begin("c.d", 3, process=GONE)
    found = assembled(store)
    assert tree(found) == {
        "a.b: passed": {"a.b attempt 1: passed": {}},
        "c.d: killed": {"c.d attempt 1: killed": {}},
    }
    assert (found.run.outcome, found.run.is_open, found.run.message) == (
        "killed",
        True,
        "c.d killed",
    )


def test_an_attempt_that_was_killed_lasted_until_it_last_wrote_something(store):
    written = Written(store, process=GONE)
    begun = written.begin("a.b", 0, process=GONE)
    log = store.stage(begun.address, 1).evidence / "log.txt"
    log.write_text("a line")
    moment = datetime.fromisoformat(at(30)).timestamp()
    os.utime(log, (moment, moment))
    assert named(assembled(store), "a.b attempt 1").seconds == 30


def test_a_worker_that_was_killed_in_a_run_that_went_on_is_told(written):
    written.begin("a.b", 1, process=GONE)
    assert named(assembled(written.store), "a.b").outcome == "killed"
    written.end("failed")
    assert named(assembled(written.store), "a.b attempt 1").outcome == "killed"


def test_nothing_is_said_of_a_process_on_another_machine(store):
    written = Written(store, process="elsewhere:1:1.00")
    written.begin("a.b", 1, process="elsewhere:2:1.00")
    assert assembled(store).run.outcome == "running"


def test_a_run_without_a_record_has_a_trace(written):
    written.run("a.b", 1, 2)
    written.stop(written.begin("c.d", 3), 4, "failed")
    (run_path(written.store, RUN_ID, "run.json")).unlink()
    found = assembled(written.store)
    assert (found.run.outcome, found.run.seconds) == ("failed", 3)
    assert found.run.attributes["dsml.experiment"] == "wide"


# --- what an attempt tells ------------------------------------------------------------------------


def test_every_parameter_is_there_with_its_source(written):
    given = {
        "n": value(3, "run"),
        "rate": value(0.5, "experiment"),
        "name": value("ü"),
        "flag": value(True),
        "nothing": value(None),
        "items": value([1, 2], "map"),
        "none": value([]),
        "mixed": value([1, "two"]),
        "deep": value({"a": [None]}),
        "large": value(2**70),
    }
    written.run("a.b", 1, 2, parameters=given)
    known = named(assembled(written.store), "a.b attempt 1").group("parameter")
    assert {name: facts.pop("source") for name, facts in known.items()} == {
        name: v.source for name, v in given.items()
    }
    assert known == {
        "n": {"value": 3},
        "rate": {"value": 0.5},
        "name": {"value": "ü"},
        "flag": {"value": True},
        "nothing": {},
        "items": {"value": [1, 2]},
        "none": {"value": []},
        "mixed": {"json": '[1, "two"]'},
        "deep": {"json": '{"a": [null]}'},
        "large": {"json": str(2**70)},
    }


def test_inputs_and_artefacts_are_told_by_their_content(written):
    done = written.run("a.b", 1, 2, inputs={"x": read("load.raw.x", "r0")}, outs=["model"])
    attempt = named(assembled(written.store), "a.b attempt 1")
    assert attempt.group("input") == {
        "x": {"artefact": "load.raw.x", "run": "r0", "bytes": 3, "sha256": "a" * 64}
    }
    made = attempt.group("artefact")["model"]
    assert made == {
        "file": "model.bin",
        "path": f"wide/a/b/{RUN_ID}/model.bin",
        "bytes": 5,
        "sha256": written.store.manifest(done.address).outputs["model"].sha256,
    }
    assert written.store.root.joinpath(*made["path"].split("/")).read_text() == "model"


def test_deadline_cpu_memory_and_cells_are_told(written):
    begun = written.begin("a.b", 1, timeout=30.0)
    cells = [{"cell": 2, "started": at(1.5), "seconds": 0.25}]
    written.stop(begun, 2, cpu_seconds=1.5, peak_memory=10**9, cells=cells)
    attempt = named(assembled(written.store), "a.b attempt 1")
    assert attempt.attributes["dsml.deadline.seconds"] == 30
    assert attempt.attributes["dsml.cpu.seconds"] == 1.5
    assert attempt.attributes["dsml.memory.peak.bytes"] == 10**9
    (cell,) = attempt.events
    assert cell == Event(
        "cell", attempt.start + 500_000_000, {"dsml.cell": 2, "dsml.cell.seconds": 0.25}
    )


def test_what_ended_an_attempt_is_an_exception_event(written):
    told = {"error": "a.py, line 1\n  ValueError: no\n  mend it", "exception": "ValueError"}
    written.stop(written.begin("a.b", 1), 2, "failed", traceback="Traceback ...", **told)
    attempt = named(assembled(written.store), "a.b attempt 1")
    assert attempt.message == "a.py, line 1: ValueError: no"
    (event,) = attempt.events
    assert (event.name, event.time) == ("exception", attempt.end)
    assert event.attributes == {
        "exception.type": "ValueError",
        "exception.message": told["error"],
        "exception.stacktrace": "Traceback ...",
    }


def test_what_a_failed_attempt_has_logged_is_told(written):
    record = [
        {"kind": "metric", "name": "loss", "step": 0, "value": 2.0},
        {"kind": "metric", "name": "loss", "step": 1, "value": "nan"},
        {"kind": "param", "name": "rows", "value": 7},
        {"kind": "file", "name": "curve", "file": "curve.png"},
    ]
    lines = "".join(f"{json.dumps(entry)}\n" for entry in record)
    begun = written.begin("a.b", 1)
    written.stop(begun, 2, "failed", {"logged/record.jsonl": lines}, exception="E", error="e")
    attempt = named(assembled(written.store), "a.b attempt 1")
    assert attempt.metrics == {"loss": "nan"}
    assert attempt.attributes["dsml.fact.rows"] == 7
    path = f"wide/a/b/{RUN_ID}/attempts/1/logged/curve.png"
    assert attempt.group("file") == {"curve": {"file": "curve.png", "path": path}}


def test_what_a_step_has_logged_is_told(written):
    done = written.stop(written.begin("a.b", 1), 2)
    written.publish(done, metrics={"accuracy": 0.5}, logged={"note": None, "rows": 3})
    attempt = named(assembled(written.store), "a.b attempt 1")
    assert attempt.metrics == {"accuracy": 0.5}
    assert attempt.attributes["dsml.fact.note"] == "null"


def test_the_spans_of_a_notebook_hang_under_its_attempt(written):
    begun = written.begin("a.b", 1)
    parent = attempt_span_id(begun.address, 1)
    made = [
        Span("inner", trace_id(RUN_ID), "b" * 16, "c" * 16, 2, 3),
        Span("outer", trace_id(RUN_ID), "c" * 16, parent, 1, 4, {"rows": 3}),
        Span("lost", trace_id(RUN_ID), "d" * 16, "e" * 16, 5, 6),  # its parent never ended
    ]
    lines = [json.dumps(to_otlp([span])) for span in made]
    written.stop(begun, 2, evidence={"spans.jsonl": "\n".join([*lines, '{"resourceSp'])})
    found = assembled(written.store)
    assert tree(found, named(found, "a.b attempt 1")) == {
        "outer: ": {"inner: ": {}},
        "lost: ": {},
    }
    assert named(found, "outer").level == "notebook"


def test_a_span_with_an_attribute_that_is_not_in_the_schema_breaks_it(written):
    written.run("a.b", 1, 2)
    span = named(assembled(written.store), "a.b attempt 1").plain()
    assert is_valid(span)
    for name, content in (("dsml.new", 1), ("dsml.attempt", "1"), ("dsml.outcome", "fine")):
        assert not is_valid(span | {"attributes": span["attributes"] | {name: content}})


# --- OTLP -----------------------------------------------------------------------------------------

SPANS = [
    Span(
        "a span",
        "1" * 32,
        "2" * 16,
        "",
        1_700_000_000_000_000_001,
        1_700_000_000_000_000_002,
        {
            "t": "ü\n",
            "i": -(2**63),
            "f": 0.5,
            "b": False,
            "l": ["x", "y"],
            "e": [],
            "inf": float("inf"),
        },
        (Event("happened", 1_700_000_000_000_000_001, {"n": 1}),),
        (Link("3" * 32, "4" * 16, {"why": "parent"}),),
        status=2,
        message="broken",
        resource={"service.name": "small"},
        scope="dsml",
    ),
    Span("below", "1" * 32, "5" * 16, "2" * 16, 1, 2, kind=3, resource={"service.name": "other"}),
]


def test_spans_are_the_same_after_a_way_through_otlp():
    assert list(from_otlp(json.loads(json.dumps(to_otlp(SPANS))))) == SPANS


def in_base64(node):
    """Protobuf's own JSON has ids in base64, where OTLP's has them in hexadecimal."""
    if isinstance(node, list):
        return [in_base64(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else in_base64(item)
        for key, item in node.items()
    }


def test_the_document_is_what_otlps_own_messages_take():
    message = json_format.ParseDict(in_base64(to_otlp(SPANS)), ExportTraceServiceRequest())
    first = message.resource_spans[0].scope_spans[0].spans[0]
    assert (first.trace_id.hex(), first.span_id.hex()) == ("1" * 32, "2" * 16)
    assert first.start_time_unix_nano == SPANS[0].start
    values = {item.key: item.value for item in first.attributes}
    assert values["i"].int_value == -(2**63)
    assert values["inf"].double_value == float("inf")
    assert [v.string_value for v in values["l"].array_value.values] == ["x", "y"]
    assert first.status.code == 2
    assert message.resource_spans[1].scope_spans[0].spans[0].parent_span_id.hex() == "2" * 16


# --- asking ---------------------------------------------------------------------------------------


@pytest.fixture
def asked(new_memory):
    """The trace of a run with two steps, one of which fails at first."""
    written = Written(new_memory(), steps={"train.fit": [], "train.report": []})
    written.stop(
        written.begin("train.fit", 0, instance="100"), 5, "failed", exception="E", error="e"
    )
    written.run("train.fit", 6, 30, number=2, instance="100", parameters={"n": value(100)})
    written.run("train.report", 31, 32)
    written.end("failed")
    return assembled(written.store)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("outcome=failed and level=attempt", ["train.fit[100] attempt 1"]),
        ("seconds > 10 and level = attempt", ["train.fit[100] attempt 2"]),
        ("parameter.n=100", ["train.fit[100] attempt 2"]),
        ("dsml.attempt>=2 or name=train.report", ["train.fit[100] attempt 2", "train.report"]),
        ("step=*.report and level!=step", ["train.report attempt 1"]),
        ('name="train.report attempt 1"', ["train.report attempt 1"]),
        ("run.steps=train.report", ["training"]),
        ("instance!=100 and step=train.*", ["train.fit", "train.report", "train.report attempt 1"]),
    ],
)
def test_a_query_finds_spans(asked, query, names):
    assert [span.name for span in asked.find(query)] == names


def test_spans_are_found_by_what_they_are(asked):
    (found,) = asked.find(level="attempt", step="train.fit", outcome="failed")
    assert found.name == "train.fit[100] attempt 1"
    assert asked.find("seconds<2", level="step") == asked.find(name="train.report")
    assert [len(spans) for spans in (asked.steps, asked.instances, asked.attempts)] == [2, 1, 3]


def test_a_query_for_what_no_span_has_is_told(asked):
    with pytest.raises(ProjectError) as told:
        asked.find("level=step and outcom=failed")
    assert str(told.value) == (
        "dsml trace\n  --query: no span has 'outcom'\n  did you mean 'outcome'?"
    )


def test_a_query_that_is_none_is_told(asked):
    with pytest.raises(ProjectError, match=r"--query seconds>long: is no condition"):
        asked.find("outcome=failed and seconds>long")


# --- which run ------------------------------------------------------------------------------------


@pytest.fixture
def three(new_memory):
    """A store with three runs; the second is the newest."""
    store = new_memory()
    for run_id, seconds in (("aaa1", 0), ("abb2", 9), ("abc3", 5)):
        record = Written(store).record
        keep_run(store, replace(record, run_id=run_id, started=at(seconds)))
    return store


@pytest.mark.parametrize(
    ("name", "run_id"), [("aaa1", "aaa1"), ("aa", "aaa1"), ("abb", "abb2"), ("3f2", RUN_ID)]
)
def test_a_run_is_named_by_its_id_or_the_beginning_of_it(three, name, run_id):
    assert trace.find_run(three, name) == run_id


def test_the_latest_run_is_the_one_that_began_last(three):
    assert trace.find_run(three, "latest") == "abb2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ab", "'ab' begins 2 runs\n  give more of the id: dsml runs lists them"),
        ("zzz", "the newest is 'abb2'; dsml runs lists them"),
        ("abd3", "did you mean 'abc3'?"),
        ("", "no run '' has left anything"),
    ],
)
def test_a_run_that_is_not_clear_is_told(three, name, message):
    with pytest.raises(ProjectError) as told:
        trace.find_run(three, name)
    assert message in str(told.value)


def test_a_store_without_runs_says_what_to_do(new_memory):
    with pytest.raises(ProjectError, match="there are no runs yet: dsml run"):
        trace.find_run(new_memory(), "latest")


def test_what_is_complete_is_not_read_again(written):
    known = {}
    done = written.run("a.b", 1, 2)
    passed = written.stop(written.begin("c.d", 3), 4)
    trace.write(written.store, RUN_ID, known)
    written.publish(passed, ["m"])  # only now: what was read before was not all of it
    written.store.attempt_path(done.address, 1, "attempt.json").unlink()
    written.end()
    found = checked(trace.write(written.store, RUN_ID, known))
    assert tree(found)["a.b: passed"] == {"a.b attempt 1: passed": {}}
    assert "m" in named(found, "c.d attempt 1").group("artefact")


# --- facts ---------------------------------------------------------------------------------------


def test_what_is_known_of_ci_and_git_is_on_the_run(store):
    ci, git = {"system": "gitlab", "actor": "ada"}, {"commit": "c" * 40, "dirty": False}
    Written(store, ci=ci, git=git, started_by="schedule weekly", user="ada").end()
    known = assembled(store).run.attributes
    assert (known["dsml.ci.system"], known["dsml.ci.actor"]) == ("gitlab", "ada")
    assert (known["dsml.git.commit"], known["dsml.git.dirty"]) == ("c" * 40, False)
    assert known["dsml.run.started_by"] == "schedule weekly"


# --- the file -------------------------------------------------------------------------------------


def test_the_trace_is_one_file_that_is_read_again(written):
    written.run("a.b", 1, 2, parameters={"n": value(1)})
    written.end()
    found = trace.write(written.store, RUN_ID)
    path = run_path(written.store, RUN_ID, "trace.json")
    assert path.exists()
    assert trace.trace_of(written.store, RUN_ID).spans == found.spans
    before = path.read_bytes()
    path.write_bytes(before.replace(b"a.b attempt 1", b"it is read"))
    names = [span.name for span in checked(trace.trace_of(written.store, RUN_ID)).spans]
    assert "it is read" in names


def test_the_trace_of_a_run_that_is_not_over_is_put_together_anew(written):
    trace.write(written.store, RUN_ID)
    written.run("a.b", 1, 2)
    written.end()
    assert [s.name for s in trace.trace_of(written.store, RUN_ID).steps] == ["a.b"]


# --- what it costs --------------------------------------------------------------------------------


def test_a_trace_is_read_and_written_without_opentelemetry_dagster_or_pandas():
    code = "import sys, dsml.evidence.trace, dsml.cli.trace; print(*sys.modules)"
    folder = str(trace.__file__).rpartition("dsml/")[0]
    environment = {**os.environ, "PYTHONPATH": folder}
    modules = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    loaded = {name.partition(".")[0] for name in modules.split()}
    assert "dsml" in loaded
    assert not loaded & {"opentelemetry", "dagster", "pandas", "nbformat", "matplotlib"}
