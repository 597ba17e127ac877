"""The trace that a real run leaves, whoever started it, however it ends; and `dsml trace`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import run_command

from dsml.cli.trace import trace as command
from dsml.contract.problem import ProjectError
from dsml.evidence import trace
from dsml.step.process import is_gone
from dsml.step.spans import trace_id
from dsml.store.runs import read_run, run_path

from .collectors import grpc_collector, http_collector
from .conftest import execute
from .projects import Step, kill_group, start, wait_until, write_project
from .traces import checked, named, tree

pytestmark = pytest.mark.slow

SPANS = """
import os, time
from opentelemetry import trace
with context.tracer.start_as_current_span("outer") as span:
    span.set_attribute("rows", 3)
    with trace.get_tracer("a library").start_as_current_span("inner"):
        time.sleep(0.3)
begun = time.process_time()
while time.process_time() < begun + 0.3: pass
held = bytearray(100_000_000)
context.log_metric("accuracy", 0.75)
context.save("told", os.environ["TRACEPARENT"])
"""
TELL = """
from dsml.evidence import trace
found = trace.load(context.run_id)
context.save("seen", {span.name: span.outcome for span in found.spans})
"""
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "ada",
    "GITHUB_RUN_ID": "17",
    "GITHUB_SHA": "c" * 40,
}


def commit(root):
    for words in (["init", "-b", "topic"], ["add", "."], ["commit", "-m", "all of it"]):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


def dsml_trace(*arguments):
    """Run `dsml trace` in this process, in the working directory."""
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, ProjectError):
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run by the command line, in a job of CI: mapped, tried again, failed, never begun."""
    root = write_project(
        tmp_path_factory.mktemp("ran") / "a project",
        {
            "a.load": Step(SPANS, outs={"told": "told.json"}, parameters="n: int = 3"),
            "b.fit": Step(
                TELL,
                ins={"told": "a.load.told"},
                outs={"seen": "seen.json"},
                parameters="n: int = 1",
                declared={"map": {"n": [1, 2]}, "timeout": 60},
            ),
            "c.again": Step(
                "assert context.retry_number, 'not yet'",
                ins={"seen": "b.fit.seen"},
                declared={"retries": 1},
            ),
            "c.bad": Step(["import time", "1 / 0"], ins={"seen": "b.fit.seen"}),
            "d.last": Step(after=["c.bad"]),
        },
    )
    commit(root)
    done = run_command(sys.executable, "-m", "dsml", "run", cwd=root, check=False, **GITHUB)
    assert done.returncode == 1, done.stdout + done.stderr
    return root


@pytest.fixture
def found(ran):
    return checked(trace.load(root=ran))


@pytest.fixture
def here(ran, monkeypatch):
    """The working directory is that of the project."""
    monkeypatch.chdir(ran)
    return ran


def test_a_run_leaves_one_file_that_holds_all_of_it(ran, found):
    (path,) = ran.glob("artefacts/.runs/*/trace.json")
    assert path.parent.name == found.run_id
    document = json.loads(path.read_bytes())
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert spans[0]["traceId"] == found.run_id.replace("-", "")
    assert tree(found) == {
        "a.load: passed": {"a.load attempt 1: passed": {"outer: ": {"inner: ": {}}}},
        "b.fit: passed": {
            "b.fit[1]: passed": {"b.fit[1] attempt 1: passed": {}},
            "b.fit[2]: passed": {"b.fit[2] attempt 1: passed": {}},
        },
        "c.again: passed": {"c.again attempt 1: failed": {}, "c.again attempt 2: passed": {}},
        "c.bad: failed": {"c.bad attempt 1: failed": {}},
    }


def test_the_run_tells_who_started_it_of_which_commit_in_which_job(ran, found):
    known = found.run.attributes
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ran, text=True).strip()
    assert (known["dsml.git.commit"], known["dsml.git.branch"]) == (head, "topic")
    assert known["dsml.git.dirty"] is False
    assert (known["dsml.ci.system"], known["dsml.ci.actor"]) == ("github", "ada")
    assert known["dsml.run.started_by"] == "command line"
    assert (known["dsml.pipeline"], found.run.outcome) == ("all", "failed")
    assert known["dsml.run.not_begun"] == ["d.last"]
    assert found.run.message == "c.bad failed"


def test_the_kernel_is_told_the_span_of_its_attempt(ran, found):
    attempt = named(found, "a.load attempt 1")
    store = trace.open_store(ran)
    told = store.root.joinpath(*attempt.group("artefact")["told"]["path"].split("/")).read_text()
    assert json.loads(told) == f"00-{trace_id(found.run_id)}-{attempt.span_id}-01"


def test_the_spans_of_the_notebook_hang_under_its_attempt(found):
    outer, inner = named(found, "outer"), named(found, "inner")
    assert (outer.level, outer.attributes["rows"]) == ("notebook", 3)
    assert inner.scope == "a library"
    assert 0.3 <= inner.seconds <= outer.seconds
    attempt = named(found, "a.load attempt 1")
    assert attempt.start < outer.start < outer.end < attempt.end


def test_cpu_and_memory_of_the_kernel_are_told(found):
    known = named(found, "a.load attempt 1").attributes
    assert 0.3 < known["dsml.cpu.seconds"] < named(found, "a.load attempt 1").seconds + 1
    assert known["dsml.memory.peak.bytes"] > 100_000_000
    other = named(found, "c.again attempt 2").attributes
    assert other["dsml.memory.peak.bytes"] < known["dsml.memory.peak.bytes"]


def test_parameters_metrics_deadline_and_inputs_are_told(found):
    first, mapped = named(found, "a.load attempt 1"), named(found, "b.fit[2] attempt 1")
    assert first.group("parameter") == {"n": {"value": 3, "source": "default"}}
    assert first.metrics == {"accuracy": 0.75}
    assert mapped.group("parameter") == {"n": {"value": 2, "source": "map"}}
    assert mapped.attributes["dsml.deadline.seconds"] == 60
    sha256 = first.group("artefact")["told"]["sha256"]
    assert mapped.group("input")["told"]["sha256"] == sha256


def test_the_exception_that_ended_an_attempt_is_told(found):
    *cells, event = named(found, "c.bad attempt 1").events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "ZeroDivisionError")
    assert "stages/c/bad.ipynb, cell 6, line 1" in event.attributes["exception.message"]
    assert "1 / 0" in event.attributes["exception.stacktrace"]
    assert [cell.attributes["dsml.cell"] for cell in cells] == [2, 4, 5, 6]


def test_a_notebook_sees_its_own_run_while_it_is_under_way(ran, found):
    (file,) = ran.glob("artefacts/baseline/b/fit/*/instances/1/seen.json")
    seen = json.loads(file.read_text())
    assert seen["a.load attempt 1"] == "passed"
    assert (seen["all"], seen["b.fit[1] attempt 1"]) == ("running", "running")


# --- dsml trace -----------------------------------------------------------------------------------


def test_the_command_shows_a_tree(here, found):
    told = dsml_trace()
    assert f"all, run {found.run_id}  failed" in told
    assert re.search(
        r"b\.fit\[2\] attempt 1  passed, \d+\.\d s, \d\.\d s of CPU, \d+\.\d MiB", told
    )
    assert "not begun: d.last" in told
    assert "cell 6, line 1: ZeroDivisionError: division by zero" in told
    assert told.rstrip().endswith(f"artefacts/.runs/{found.run_id}/trace.json")


def test_the_command_lists_what_a_query_finds(here):
    told = dsml_trace("--query", "level=attempt and outcome=failed")
    names = {line.split("  ")[0] for line in told.splitlines()}
    assert names == {"c.again attempt 1", "c.bad attempt 1"}


def test_the_command_prints_spans_as_json(here, found):
    spans = json.loads(dsml_trace(found.run_id[:8], "--json"))
    assert [span["name"] for span in spans] == [span.name for span in found.spans]
    assert spans == json.loads(json.dumps([span.plain() for span in found.spans]))


def test_a_run_is_expanded_into_a_tree_of_folders(here, found, tmp_path):
    folder = tmp_path / "expanded"
    assert dsml_trace("--expand", str(folder)).strip() == str(folder)
    attempt = folder / "steps" / "a.load" / "attempts" / "1"
    assert json.loads((attempt / "artefacts" / "told.json").read_text()).startswith("00-")
    for name in ("attempt.json", "executed.ipynb", "executed.html", "log.txt"):
        assert (attempt / name).stat().st_size > 0
    instance = folder / "steps" / "b.fit" / "instances" / "2"
    assert (instance / "attempts" / "1" / "artefacts" / "seen.json").is_file()
    assert json.loads((instance / "instance.json").read_text())["outcome"] == "passed"
    assert {p.name for p in (folder / "steps" / "c.again" / "attempts").iterdir()} == {"1", "2"}
    assert {p.name for p in folder.iterdir()} == {
        "run.json", "trace.json", "steps", "graph.svg", "gantt.svg", "graph.mmd", "gantt.mmd"
    }  # fmt: skip
    assert "c.bad failed" in (folder / "graph.svg").read_text()


def test_an_artefact_that_is_gone_is_told_when_a_run_is_expanded(here, found, tmp_path):
    path = named(found, "a.load attempt 1").group("artefact")["told"]["path"]
    file = here / "artefacts" / path
    kept = file.rename(file.with_suffix(".kept"))
    try:
        assert f"gone: {path}" in dsml_trace("--expand", str(tmp_path / "x"))
    finally:
        kept.rename(file)


def test_a_folder_with_something_in_it_is_not_expanded_into(here, tmp_path):
    (tmp_path / "mine").touch()
    assert dsml_trace("--expand", str(tmp_path)) == (
        f"--expand\n  '{tmp_path}' is not empty\n  name a folder that is not there yet"
    )


def test_a_run_is_not_expanded_into_a_file(here, tmp_path):
    (tmp_path / "mine").touch()
    folder = tmp_path / "mine" / "run"
    assert f"'{folder}' cannot be written: Not a directory" in dsml_trace("--expand", str(folder))


def test_the_command_prints_mermaid(here):
    assert dsml_trace("--mermaid").startswith("flowchart LR\n")
    assert dsml_trace("--gantt").startswith("gantt\n  title all, run ")


def test_the_command_sends_a_trace_later(here, found, monkeypatch):
    with http_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        assert dsml_trace("--send") == f"{len(found.spans)} spans sent\n"
    assert collector.spans.keys() == {span.name for span in found.spans}


def test_without_an_address_nothing_is_sent(here, monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert dsml_trace("--send") == (
        "OTEL_EXPORTER_OTLP_ENDPOINT\n  is not set\n"
        "  set it to the address of a collector, such as http://127.0.0.1:4318"
    )


def test_a_storage_that_can_only_be_read_has_a_trace_all_the_same(here, found, monkeypatch):
    run_path(trace.open_store(here), found.run_id, "trace.json").unlink()

    def refuse(*_):
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr("dsml.store.publish.Store.write", refuse)
        told = dsml_trace()
    assert "trace.json could not be written: read-only" in told
    assert f"all, run {found.run_id}  failed" in told
    dsml_trace()


# --- however a run ends ---------------------------------------------------------------------------

ASLEEP = Step("import time\nprint('as' + 'leep', flush=True)\ntime.sleep(60)", ins={"x": "a.x.x"})


@pytest.fixture
def asleep(root):
    """A run that is asleep in its second step."""
    steps = {"a.x": Step("context.save('x', 1)", outs={"x": "x.json"}), "b.sleep": ASLEEP}
    write_project(root, steps)
    process = start(root, "run")

    def log():
        logs = root.glob("artefacts/.staging/*/*b.sleep*/evidence/log.txt")
        return any("asleep" in path.read_text() for path in logs)

    wait_until(log)
    yield process
    kill_group(process)


def test_a_run_that_was_killed_has_a_trace(root, asleep):
    under_way = checked(trace.load(root=root))
    assert (under_way.run.outcome, under_way.run.is_open) == ("running", True)
    kill_group(asleep)
    store = trace.open_store(root)
    record = read_run(store, under_way.run_id)
    wait_until(lambda: is_gone(record.process))
    # what was written while it ran tells of the step that had ended
    written = trace.read_trace(store, under_way.run_id)
    assert named(written, "a.x").outcome == "passed"
    found = wait_until(lambda: (t := trace.load(root=root)).find(outcome="running") == [] and t)
    assert tree(checked(found)) == {
        "a.x: passed": {"a.x attempt 1: passed": {}},
        "b.sleep: killed": {"b.sleep attempt 1: killed": {}},
    }
    assert (found.run.outcome, found.run.is_open) == ("killed", True)
    assert 0 < named(found, "b.sleep attempt 1").seconds < 60


def test_a_run_that_was_cancelled_says_so(root, asleep):
    asleep.send_signal(signal.SIGINT)
    asleep.communicate(timeout=30)
    found = checked(trace.read_trace(trace.open_store(root), trace.load(root=root).run_id))
    assert (found.run.outcome, found.run.is_open) == ("cancelled", False)
    assert named(found, "b.sleep attempt 1").outcome == "cancelled"


@pytest.mark.parametrize(
    ("protocol", "collect"), [("http/protobuf", http_collector), ("grpc", grpc_collector)]
)
def test_a_run_is_sent_to_a_collector_when_it_ends(root, protocol, collect):
    steps = {"a.b": Step("with context.tracer.start_as_current_span('inside'): pass")}
    write_project(root, steps, pipelines={"all": {"executor": "in_process"}})
    with collect() as collector:
        run_command(
            *(sys.executable, "-m", "dsml", "run"),
            cwd=root,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.address,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )
    found = checked(trace.load(root=root))
    assert collector.spans.keys() == {"all", "a.b", "a.b attempt 1", "inside"}
    for name, got in collector.spans.items():
        assert got.span_id.hex() == named(found, name).span_id
        assert got.parent_span_id.hex() == named(found, name).parent_id


def test_a_run_passes_though_no_collector_is_there_and_its_log_says_so(root):
    write_project(root, {"a.b": Step()}, pipelines={"all": {"executor": "in_process"}})
    address = "http://127.0.0.1:9"  # where nothing listens
    done = run_command(
        *(sys.executable, "-m", "dsml", "run"), cwd=root, OTEL_EXPORTER_OTLP_ENDPOINT=address
    )
    assert "passed" in done.stdout
    (console,) = root.glob(".dagster/storage/*/console.log")
    assert "the trace could not be sent to http://127.0.0.1:9" in console.read_text()


def test_a_deadline_that_has_passed_is_told(root):
    steps = {"a.b": Step("import time\ntime.sleep(30)", declared={"timeout": 1})}
    write_project(root, steps)
    ran = execute(root)
    assert not ran.passed
    (attempt,) = checked(trace.load(ran.run_id, root)).attempts
    (event,) = (event for event in attempt.events if event.name == "exception")
    assert event.attributes["exception.type"] == "Stopped"
    assert "the deadline of 1 s has passed" in event.attributes["exception.message"]
    assert attempt.attributes["dsml.deadline.seconds"] == 1


def test_the_engine_of_dagstermill_leaves_a_trace_too(root):
    steps = {"a.b": Step("with context.tracer.start_as_current_span('inside'): pass")}
    write_project(
        root, steps, pipelines={"all": {"engine": "dagstermill", "executor": "in_process"}}
    )
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    found = checked(trace.load(root=root))
    assert tree(found) == {"a.b: passed": {"a.b attempt 1: passed": {"inside: ": {}}}}
    assert found.run.outcome == "passed"
