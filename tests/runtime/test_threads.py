"""Steps in threads of the run's process: as many at once as allowed, each told as it happens."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from dagster import (
    DagsterEventType,
    DagsterRun,
    DagsterRunStatus,
    ExecutorDefinition,
    Failure,
    RetryPolicy,
    execute_job,
    failure_hook,
    job,
    op,
    reconstructable,
    success_hook,
)

from dsml.orchestrate.executors import config_schema, make_executor
from dsml.orchestrate.process import PROCESS_TAG

from .projects import Step, instance_of, manifests_of, start, write_project

HOOKS_CALLED: list[str] = []
ATTEMPTS: Counter[str] = Counter()
TWO = ExecutorDefinition(
    "threads", config_schema("threads", 2), executor_creation_fn=partial(make_executor, Path())
)


@success_hook
def note_success(context):
    HOOKS_CALLED.append(f"success {context.step_key}")


@failure_hook
def note_failure(context):
    HOOKS_CALLED.append(f"failure {context.step_key}")


@op
def passes():
    time.sleep(0.3)


@op(retry_policy=RetryPolicy(max_retries=2, delay=0.2))
def flaky():
    ATTEMPTS["flaky"] += 1
    if ATTEMPTS["flaky"] < 3:
        raise Failure("not yet")


@op
def fails():
    raise Failure("on purpose")


@op
def breaks():
    raise ValueError("by mistake")


@job(executor_def=TWO)
def four_at_once():
    for name in "abcd":
        passes.alias(name)()


@job(executor_def=TWO, hooks={note_success, note_failure})
def mixed():
    flaky()
    fails()
    breaks()
    passes()


@pytest.fixture
def instance(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    write_project(root, {"a.b": Step()})
    with instance_of(root) as found:
        yield found


def events(result, kind):
    return [e.step_key for e in result.all_events if e.event_type == kind]


def test_no_more_steps_run_at_once_than_the_limit_allows(instance):
    result = execute_job(reconstructable(four_at_once), instance)
    assert result.success
    at_once = most = 0
    for event in result.all_events:
        at_once += event.is_step_start
        at_once -= event.is_step_success
        most = max(most, at_once)
    assert most == 2


def test_a_run_may_set_another_limit(instance):
    config = {"execution": {"config": {"max_concurrent": 1}}}
    result = execute_job(reconstructable(four_at_once), instance, run_config=config)
    kinds = [e.event_type for e in result.all_events if e.is_step_start or e.is_step_success]
    assert kinds == [DagsterEventType.STEP_START, DagsterEventType.STEP_SUCCESS] * 4


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_as_many_steps_run_at_once_as_there_are_cores(instance, limit):
    config = {"execution": {"config": {"max_concurrent": limit}}}
    result = execute_job(reconstructable(four_at_once), instance, run_config=config)
    (told,) = (
        e.message for e in result.all_events if "Executing steps in threads" in (e.message or "")
    )
    assert told.endswith(f"at most {os.cpu_count()} at once")


def test_retries_failures_and_hooks_are_as_in_any_other_executor(instance):
    HOOKS_CALLED.clear()
    ATTEMPTS.clear()
    result = execute_job(reconstructable(mixed), instance)
    assert not result.success
    assert sorted(events(result, DagsterEventType.STEP_SUCCESS)) == ["flaky", "passes"]
    assert sorted(events(result, DagsterEventType.STEP_FAILURE)) == ["breaks", "fails"]
    assert events(result, DagsterEventType.STEP_UP_FOR_RETRY) == ["flaky", "flaky"]
    assert sorted(HOOKS_CALLED) == [
        "failure breaks",
        "failure fails",
        "success flaky",
        "success passes",
    ]


def test_every_event_is_stored_once_and_the_events_of_a_step_in_their_order(instance):
    result = execute_job(reconstructable(four_at_once), instance)
    stored = [e.dagster_event for e in instance.all_logs(result.run_id) if e.dagster_event]
    for name in "abcd":
        kinds = [e.event_type_value for e in stored if e.step_key == name]
        assert kinds[0] == "STEP_START"
        assert kinds[-1] == "STEP_SUCCESS"
        assert Counter(kinds)["STEP_OUTPUT"] == 1


def test_steps_of_one_pool_wait_for_each_other(instance):
    instance.event_log_storage.set_concurrency_slots("scarce", 1)
    result = execute_job(reconstructable(pooled), instance)
    assert result.success
    kinds = [e.event_type for e in result.all_events if e.is_step_start or e.is_step_success]
    assert kinds == [DagsterEventType.STEP_START, DagsterEventType.STEP_SUCCESS] * 2


def test_a_place_that_a_killed_run_holds_is_freed_while_another_waits_for_it(instance):
    tags = {PROCESS_TAG: f"{platform.node()}:999999999:1.00"}
    instance.add_run(DagsterRun("pooled", "killed", status=DagsterRunStatus.STARTED, tags=tags))
    instance.event_log_storage.set_concurrency_slots("scarce", 1)
    instance.event_log_storage.claim_concurrency_slot("scarce", "killed", "one")
    assert execute_job(reconstructable(pooled), instance).success
    assert instance.get_run_by_id("killed").status == DagsterRunStatus.FAILURE


@op(pool="scarce")
def scarce():
    time.sleep(0.2)


@job(executor_def=TWO)
def pooled():
    scarce.alias("one")()
    scarce.alias("two")()


@pytest.mark.slow
def test_independent_notebooks_run_at_once_and_no_worker_stands_between(root):
    work = """
import os, psutil, time
began = time.time()
time.sleep(1.5)
parents = [each.pid for each in psutil.Process().parents()]
context.save("x", {"parents": parents, "began": began, "ended": time.time()})
"""
    steps = {f"a.s{n}": Step(work, outs={"x": "x.json"}) for n in range(4)}
    write_project(root, steps, pipelines={"all": {"workers": 4}})
    process = start(root, "run", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == "success"
    found = [
        json.loads(path.read_text())
        for manifest in manifests_of(root).values()
        for path in root.glob(f"artefacts/*/*/*/{manifest.run_id}/x.json")
    ]
    # between the two is but the one process that all kernels are forked from, where they are
    assert len({item["parents"][0] for item in found}) == 1
    assert all(process.pid in item["parents"][:2] for item in found)
    assert max(item["began"] for item in found) < min(item["ended"] for item in found)
    assert os.getpid() != process.pid


@pytest.mark.slow
def test_a_step_that_waits_for_its_pool_is_shown_and_what_the_process_prints_is_kept(root):
    steps = {
        f"a.s{n}": Step("import time; time.sleep(2)", declared={"pool": "scarce"}) for n in (1, 2)
    }
    write_project(root, steps)
    out, err = start(root, "run").communicate(timeout=120)
    told = Counter(line.split()[1] for line in out.splitlines() if line.startswith("a.s"))
    assert told == {"waiting": 1, "running": 2, "passed": 2}, err
    (printed,) = root.glob(".dagster/storage/*/compute_logs/*.err")
    assert "STEP_SUCCESS" in printed.read_text()  # that is where the UI looks for it


def test_why_a_run_fails_that_comes_to_no_step_is_told(root):
    write_project(root, {"a.b": Step()})
    settings = root / ".dagster" / "dagster.yaml"
    logs = f"class: FileLogs\n  config: {{base_dir: {json.dumps(str(settings))}}}"
    settings.write_text(settings.read_text().replace("class: FileLogs", logs))
    process = start(root, "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "NotADirectoryError" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_kernel_that_dies_takes_no_other_step_with_it(root):
    steps = {
        "a.dies": Step("import os\nos.kill(os.getpid(), 11)"),
        "a.lives": Step("import time; time.sleep(2)\ncontext.save('x', 1)", outs={"x": "x.json"}),
    }
    write_project(root, steps)
    process = start(root, "run", "--json")
    document = json.loads(process.communicate(timeout=120)[0])
    assert {step["step"]: step["status"] for step in document["steps"]} == {
        "a.dies": "failed",
        "a.lives": "passed",
    }
    (error,) = [step["error"] for step in document["steps"] if step["status"] == "failed"]
    assert "the kernel died of signal SIGSEGV" in error
