"""Carrying on a run that has failed, and doing one again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from dagster import DagsterRun, DagsterRunStatus

from dsml.orchestrate.process import PROCESS_TAG, fail_gone_runs, process_tag
from dsml.store import Manifest

from .projects import (
    Step,
    instance_of,
    last_run,
    manifests_of,
    start,
    wait_until,
    write_notebook,
    write_project,
)
from .ticks import daemon

OUT = {"n": "n.json"}
LOAD = "import random\ncontext.save('n', random.random())"
FIT = """assert (root / 'repaired').exists() or n != 2, 'broken'
context.save('n', n + context.load('n'))"""
ROOT = "from pathlib import Path\nroot = Path().resolve().parent.parent\n"


def command(root, *arguments):
    """Run `dsml ...` to its end: exit code, and what was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dsml", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def as_json(root, *arguments):
    code, out, error = command(root, *arguments, "--json")
    assert out, error
    return code, json.loads(out)


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A project in which one of three instances has failed, with the report of that run."""
    root = tmp_path_factory.mktemp("resuming") / "a project"
    steps = {
        "a.load": Step(LOAD, outs=OUT),
        "a.fit": Step(
            ROOT + FIT,
            ins={"n": "a.load.n"},
            outs=OUT,
            parameters="n: int = 0",
            declared={"map": {"n": [1, 2, 3]}},
        ),
        "a.use": Step("context.save('n', context.load('n'))", ins={"n": "a.fit.n"}, outs=OUT),
    }
    write_project(root, steps)
    code, report = as_json(root, "run")
    assert (code, report["status"]) == (1, "failure")
    return root, report


@pytest.mark.slow
def test_only_the_failed_instance_is_run_again_on_what_the_run_has_published(failed):
    root, report = failed
    other = as_json(root, "run", "--select", "a.load")[1]  # newer, and not of the failed run
    (root / "repaired").touch()
    code, resumed = as_json(root, "run", "--from-failure", report["run_id"][:8])
    assert (code, resumed["status"]) == (0, "success")
    assert [step["step"] for step in resumed["steps"]] == ["a.fit[2]", "a.fit", "a.use"]
    assert resumed["not_run"] == []
    use = manifests_of(root)["a.use"]
    parts = use.inputs["n"].parts
    assert {key: part.run_id for key, part in parts.items()} == {
        "1": report["run_id"],
        "2": resumed["run_id"],
        "3": report["run_id"],
    }
    fit = manifests_of(root)["a.fit"]
    assert fit.inputs["n"].run_id == report["run_id"] != other["run_id"]
    with instance_of(root) as instance:
        run = instance.get_run_by_id(resumed["run_id"])
    assert (run.parent_run_id, run.root_run_id) == (report["run_id"], report["run_id"])


@pytest.mark.slow
def test_a_run_whose_process_is_gone_has_failed(failed):
    root, report = failed
    with instance_of(root) as instance:
        run = instance.get_run_by_id(report["run_id"])
        tags = {**run.tags, PROCESS_TAG: f"{os.uname().nodename}:999999999:1.00"}
        dead = instance.add_run(
            run._replace(run_id="dead-run", status=DagsterRunStatus.STARTED, tags=tags)
        )
    code, resumed = as_json(root, "run", "--from-failure", dead.run_id)
    assert (code, resumed["status"]) == (0, "success")
    with instance_of(root) as instance:
        assert instance.get_run_by_id("dead-run").status == DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(resumed["run_id"]).parent_run_id == "dead-run"


@pytest.mark.slow
def test_a_run_that_is_under_way_or_has_passed_is_not_carried_on(failed):
    root, report = failed
    with instance_of(root) as instance:
        run = instance.get_run_by_id(report["run_id"])
        tags = {**run.tags, **process_tag()}  # of this process, which is there
        instance.add_run(
            run._replace(run_id="alive-run", status=DagsterRunStatus.STARTED, tags=tags)
        )
    code, _, error = command(root, "run", "--from-failure", "alive-run")
    assert code == 1
    assert error.splitlines() == [
        "dsml run --from-failure",
        "  run 'alive-run' has not failed: it is started",
        "  name a run that failed or was cancelled: dsml runs --status failure",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--from-failure", "no-such"), 1, "there is no run 'no-such'"),
        (("all", "--from-failure", "latest"), 2, "--from-failure goes with --json alone"),
    ],
)
def test_what_cannot_be_carried_on_is_told(failed, arguments, code, what):
    told = command(failed[0], "run", *arguments)
    assert told[0] == code
    assert what in told[2]


@contextmanager
def changed(file, before, after):
    """A project in which something else stands in a file for a while."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    try:
        yield
    finally:
        file.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "  all: {}",
            "  every: {}",
            ["  there is no pipeline 'all' any more", "  known are: every"],
        ),
        (
            "  baseline: {}",
            "  base: {}",
            ["  there is no experiment 'baseline' any more", "  did you mean 'base'?"],
        ),
        (
            "  all: {}",
            "  all: {select: a.load}",
            [
                "  the pipeline 'all' does not run a.fit, a.use any more",
                "  add it to pipelines.all.select in catalog.yml",
            ],
        ),
        (
            "  all: {}",
            "  all: {partitions: {daily: 2024-01-01}}",
            [
                "  the pipeline 'all' has partitions now, and the run has none",
                "  start anew: dsml run all",
            ],
        ),
    ],
)
def test_what_a_run_needs_and_is_not_there_any_more_is_told(failed, before, after, told):
    root, report = failed
    with changed(root / "catalog.yml", before, after):
        code, _, error = command(root, "run", "--from-failure", report["run_id"])
    assert (code, error.splitlines()) == (1, ["dsml run --from-failure", *told])


@pytest.mark.slow
def test_a_run_whose_steps_are_of_another_kind_now_is_not_carried_on(failed):
    root, report = failed
    plain = json.dumps('    "map": {"n": [1, 2, 3]},\n')
    with changed(root / "stages" / "a" / "fit.ipynb", plain, json.dumps("\n")):
        code, _, error = command(root, "run", "--from-failure", report["run_id"])
    assert code == 1
    assert error.splitlines()[1:] == [
        f"  run '{report['run_id']}' cannot be carried on: its steps have changed since",
        "  start anew: dsml run all",
    ]


WAIT = """import time
while n == 1 and not (root / 'go').exists():
    time.sleep(0.1)
context.save('n', n)"""


@pytest.fixture
def cancelled(root):
    """A project whose run was cancelled in the first of three instances; the id of that run."""
    steps = {
        "a.fit": Step(
            ROOT + WAIT,
            outs=OUT,
            parameters="n: int = 0",
            declared={"map": {"n": [1, 2, 3]}, "retries": 1},
        ),
        "a.use": Step("context.save('n', context.load('n'))", ins={"n": "a.fit.n"}, outs=OUT),
    }
    write_project(root, steps, pipelines={"all": {"workers": 1}})
    run = start(root, "run")
    wait_until(lambda: list(root.glob("artefacts/.staging/*/*a.fit?1?.1/evidence/log.txt")))
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert "a.fit[1]  cancelled" in out, err
    (root / "go").touch()
    return root, last_run(root).run_id


@pytest.mark.slow
def test_instances_that_had_not_begun_are_run_too(cancelled):
    root, run_id = cancelled
    code, resumed = as_json(root, "run", "--from-failure", run_id)
    assert code == 0
    assert [step["step"] for step in resumed["steps"]] == [
        "a.fit[1]",
        "a.fit[2]",
        "a.fit[3]",
        "a.fit",
        "a.use",
    ]
    assert list(manifests_of(root)["a.use"].inputs["n"].parts) == ["1", "2", "3"]
    with instance_of(root) as instance:
        tags = instance.get_run_by_id(resumed["run_id"]).tags
    assert tags["dagster/parent_run_id"] == tags["dagster/root_run_id"] == run_id
    assert tags["dagster/is_resume_retry"] == "true"


RE_EXECUTE = """
from pathlib import Path
from dagster._core.execution.api import create_execution_plan, execute_run
from dagster._core.execution.plan.state import KnownExecutionState
from dsml.orchestrate.launch import open_instance, reconstructable_job

with open_instance(Path().resolve()) as instance:
    (parent,) = instance.get_runs()
    steps, state = KnownExecutionState.build_resume_retry_reexecution(instance, parent)
    assert not [step for step in steps if step.endswith(("[2]", "[3]"))]  # Dagster forgets them
    job = reconstructable_job(Path().resolve(), "all")
    subset = job.get_subset(asset_selection=parent.asset_selection)
    plan = create_execution_plan(subset, step_keys_to_execute=steps, known_state=state)
    run = instance.create_run_for_job(
        subset.get_definition(),
        execution_plan=plan,
        tags=parent.tags,
        parent_run_id=parent.run_id,
        root_run_id=parent.run_id,
        asset_selection=parent.asset_selection,
    )
    assert execute_run(subset, run, instance).success
"""


@pytest.mark.slow
def test_instances_that_had_not_begun_are_run_where_the_ui_carries_on_a_run(cancelled):
    root, _ = cancelled
    done = subprocess.run(
        [sys.executable, "-c", RE_EXECUTE],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(manifests_of(root)["a.use"].inputs["n"].parts) == ["1", "2", "3"]


def test_a_run_of_the_ui_that_does_a_killed_one_again_is_not_taken_for_it(root):
    write_project(root, {"a.b": Step()})
    tags = {PROCESS_TAG: f"{os.uname().nodename}:999999999:1.00"}
    started = DagsterRunStatus.STARTED
    with instance_of(root) as instance:
        instance.add_run(DagsterRun("all", "killed", status=started, tags=tags))
        again = DagsterRun(
            "all",
            "again",
            status=started,
            tags=tags,
            parent_run_id="killed",
            root_run_id="killed",
        )
        instance.add_run(again)
        fail_gone_runs(instance)
        found = {run.run_id: run.status for run in instance.get_runs()}
    assert found == {"killed": DagsterRunStatus.FAILURE, "again": started}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A project whose second step comes out as a file beside it says."""
    root = tmp_path_factory.mktemp("reproducing") / "a project"
    steps = {
        "a.load": Step("context.save('n', value)", outs=OUT, parameters="value: int = 1"),
        "a.fit": Step(
            ROOT + "more = float((root / 'more').read_text())\n"
            "context.save('n', n + context.load('n') + more)\ncontext.log_metric('m', more)",
            ins={"n": "a.load.n"},
            outs=OUT,
            parameters="n: int = 0",
            declared={"map": {"n": [1, 2]}},
        ),
    }
    write_project(root, steps, experiments={"baseline": {"config": {"a.load": {"value": 5}}}})
    (root / "more").write_text("0")
    code, report = as_json(root, "run", "--set", "a.fit.n=[7, 8]")
    assert code == 0
    return root, report["run_id"]


@pytest.mark.slow
def test_a_run_is_done_again_with_the_parameters_and_inputs_that_it_had(done):
    root, run_id = done
    as_json(root, "run", "--set", "a.load.value=9")  # newer than what was read
    catalog = root / "catalog.yml"
    text = catalog.read_text()
    try:
        catalog.write_text(text.replace("value: 5", "value: 6"))
        code, found = as_json(root, "reproduce", run_id[:8])
    finally:
        catalog.write_text(text)
    assert (code, found["reproduces"], found["status"]) == (0, run_id, "success")
    assert [(i["step"], i["name"], i["same"]) for i in found["compared"]] == [
        ("a.load", "n", True),
        ("a.fit[7]", "n", True),
        ("a.fit[7]", "m", True),
        ("a.fit[8]", "n", True),
        ("a.fit[8]", "m", True),
    ]
    manifest = manifests_of(root)["a.fit"]
    assert manifest.run_id == found["run_id"]
    assert {part.run_id for part in manifest.inputs.values()} == {run_id}
    assert found["circumstances"] == []


def test_a_run_of_an_experiment_that_is_not_there_any_more_is_not_done_again(done):
    root, run_id = done
    with changed(root / "catalog.yml", "  baseline:", "  base:"):
        code, _, error = command(root, "reproduce", run_id)
    assert (code, error.splitlines()) == (
        1,
        [
            "dsml reproduce",
            "  there is no experiment 'baseline' any more",
            "  did you mean 'base'?",
        ],
    )


@pytest.mark.slow
def test_what_comes_out_different_is_named_with_what_has_changed_since(done):
    root, run_id = done
    write_notebook(
        root, "a.load", Step("context.save('n', value + 1)", outs=OUT, parameters="value: int = 1")
    )
    (root / "more").write_text("1")
    code, out, _ = command(root, "reproduce", run_id)
    assert code == 1
    told = [line.split() for line in out.splitlines()]
    differ = {(words[0], words[1]) for words in told if words and words[-1] == "differs"}
    assert differ == {(f"a.fit[{k}]", name) for k in "78" for name in "nm"} | {("a.load", "n")}
    assert "5 of 5 came out different" in out
    assert "code of a.load" in out
    recorded = Manifest.from_json(
        (root / "artefacts" / "baseline" / "a" / "load" / run_id / "manifest.json").read_bytes()
    )
    assert recorded.code[:12] in out


@pytest.mark.slow
def test_an_instance_that_failed_is_shown_and_can_be_gone_through(failed):
    root, report = failed
    code, shown, _ = command(root, "show", report["run_id"])
    steps = {line.split()[0]: line.split()[1:3] for line in shown.splitlines() if "a.fit[" in line}
    assert steps["a.fit[2]"] == ["failure", "1"]
    assert steps["a.fit[1]"][0] == "success"
    code, path, error = command(root, "debug", report["run_id"], "a.fit[2]", "--no-open")
    assert (code, error) == (0, "")
    source = (root / path.strip()).read_text()
    assert "n = 2" in source
    assert "attempt 1 at a.fit[2]" in source


REEXECUTE = """
mutation R($parameters: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


@pytest.mark.slow
def test_the_ui_carries_on_a_run_that_was_started_from_the_command_line(tmp_path, monkeypatch):
    root = tmp_path / "a project"
    steps = {
        "a.load": Step(LOAD, outs=OUT),
        "a.fit": Step(ROOT + "assert (root / 'repaired').exists()", ins={"n": "a.load.n"}),
    }
    write_project(root, steps)
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    first = as_json(root, "run")[1]
    as_json(root, "run", "--select", "a.load")  # newer, and not of the failed run
    (root / "repaired").touch()
    with daemon(root) as looking:
        parameters = {"parentRunId": first["run_id"], "strategy": "FROM_FAILURE"}
        answer = looking.ask(REEXECUTE, parameters=parameters)["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        (ended,) = looking.run_queued()
    assert ended.status == DagsterRunStatus.SUCCESS
    assert ended.step_keys_to_execute == ["a__fit"]
    assert manifests_of(root)["a.fit"].inputs["n"].run_id == first["run_id"]
