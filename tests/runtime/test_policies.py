"""Retries, deadlines, branches: what is declared in a notebook or in the catalog happens."""

from __future__ import annotations

import json

import psutil
import pytest
from dagster import Backoff, Jitter, RetryPolicy

from dsml.contract.policies import Retries
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.policies import retry_policy
from dsml.store import Attempt

from .conftest import execute
from .projects import Step, manifests_of, write_project

TWICE = "assert context.retry_number >= 2, 'not yet'\ncontext.save('n', context.retry_number)"
OUT = {"n": "n.json"}


def of_kind(ran, kind, step="a__b"):
    return [e for e in ran.result.all_events if e.event_type_value == kind and e.step_key == step]


def statuses(ran, step="a.b"):
    folder = ran.attempt(step).parent
    found = sorted(folder.glob("*/attempt.json"))
    return [Attempt.from_json(path.read_bytes()).status for path in found]


# --- retries --------------------------------------------------------------------------------------


def test_a_step_is_tried_again_and_sees_how_often_it_has_failed(run_step):
    ran = run_step(TWICE, outs=OUT, declared={"retries": 2})
    assert ran.passed
    assert ran.manifest("a.b").attempts == 3
    assert statuses(ran) == ["failed", "failed", "passed"]
    assert len(of_kind(ran, "STEP_UP_FOR_RETRY")) == 2


def test_a_step_that_has_failed_too_often_has_failed(run_step):
    ran = run_step(TWICE, outs=OUT, declared={"retries": {"max": 1}})
    assert not ran.passed
    assert statuses(ran) == ["failed", "failed"]


def test_the_delay_is_waited_for(run_step):
    ran = run_step(TWICE.replace("2", "1"), outs=OUT, declared={"retries": {"max": 1, "delay": 1}})
    again, restarted = ran.times["STEP_UP_FOR_RETRY", "a__b"], ran.times["STEP_RESTARTED", "a__b"]
    assert restarted - again >= 1


def test_a_mistake_that_another_attempt_would_only_find_again_is_not_tried_again(root):
    root = write_project(
        root,
        {
            "a.b": Step(outs={"x": "x.json"}),
            "c.d": Step(ins={"x": "a.b.x"}, declared={"retries": 3}),
        },
        pipelines={"all": {"select": "c"}},
    )
    ran = execute(root)
    assert not ran.passed
    assert of_kind(ran, "STEP_UP_FOR_RETRY", "c__d") == []
    assert "ins.x: 'a.b.x' has not been published" in ran.failure("c.d")


@pytest.mark.parametrize(
    ("declared", "policy"),
    [
        (Retries(2), RetryPolicy(2, 0)),
        (Retries(1, 5, "linear"), RetryPolicy(1, 5, Backoff.LINEAR)),
        (Retries(1, 5, "exponential", "full"), RetryPolicy(1, 5, Backoff.EXPONENTIAL, Jitter.FULL)),
        (Retries(1, 5, "constant", "plus_minus"), RetryPolicy(1, 5, None, Jitter.PLUS_MINUS)),
        (Retries(0), None),
        (None, None),
    ],
)
def test_what_is_declared_is_what_dagster_does(declared, policy):
    assert retry_policy(declared) == policy


def test_the_defaults_of_the_catalog_hold_where_a_step_says_nothing(root):
    steps = {
        "a.silent": Step(),
        "a.never": Step(declared={"retries": 0}),
        "a.often": Step(declared={"retries": 5}),
        "a.mapped": Step(parameters="n: int = 1", declared={"map": {"n": [1]}}),
    }
    root = write_project(root, steps, defaults={"retries": {"max": 2, "delay": 7}})
    graph = load_definitions(root).resolve_job_def("all").graph
    policies = {node.name: node.definition for node in graph.nodes}
    assert policies["a__silent"].retry_policy == RetryPolicy(2, 7)
    assert policies["a__never"].retry_policy is None
    assert policies["a__often"].retry_policy == RetryPolicy(5, 0)
    nodes = {node.name: node.definition for node in policies["a__mapped"].nodes}
    assert nodes["run"].retry_policy == RetryPolicy(2, 7)


# --- deadlines ------------------------------------------------------------------------------------

CHILD = """
import os, time
while True:
    with open("beat.new", "w") as file:
        file.write(str(time.time()))
    os.replace("beat.new", "beat.txt")  # whole, whenever it is killed
    time.sleep(0.05)
"""
SLOW = [
    "import os, subprocess, sys, time\nprint('one', flush=True)",
    f"""child = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
with open("pids.txt", "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(60)""",
    "print('never')",
]


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_at_the_deadline_the_kernel_and_its_children_are_gone_and_the_notebook_is_kept(run_step):
    ran = run_step(SLOW, declared={"timeout": 2})
    assert not ran.passed
    pids = [int(pid) for pid in (ran.root / "stages" / "a" / "pids.txt").read_text().split()]
    assert not any(map(is_alive, pids))
    last_beat = float((ran.root / "stages" / "a" / "beat.txt").read_text())
    lived = last_beat - ran.times["STEP_START", "a__b"]
    assert 1 < lived < 2 + 2 + 1  # the deadline, at most two seconds, the attempt's preparation
    assert ran.failure("a.b").splitlines()[:2] == [
        "stages/a/b.ipynb, cell 6",
        "  the deadline of 2 s has passed",
    ]
    notebook = json.loads((ran.attempt("a.b") / "executed.ipynb").read_text())
    outputs = ["".join(str(o) for o in cell.get("outputs", ())) for cell in notebook["cells"]]
    assert "one" in outputs[4]
    assert "the deadline of 2 s has passed" in outputs[5]
    assert outputs[6] == ""


def test_a_deadline_counts_as_a_failed_attempt_and_is_tried_again(run_step):
    work = "import time\nif context.retry_number == 0:\n    time.sleep(60)"
    ran = run_step(work, declared={"timeout": 2.5, "retries": 1})
    assert ran.passed
    assert statuses(ran) == ["failed", "passed"]


def test_the_deadline_of_the_catalog_holds_where_a_step_has_none(root):
    steps = {
        "a.slow": Step("import time; time.sleep(60)"),
        "a.patient": Step("import time; time.sleep(3)", declared={"timeout": 50}),
    }
    ran = execute(write_project(root, steps, defaults={"timeout": 2}))
    assert "the deadline of 2 s has passed" in ran.failure("a.slow")
    assert "a.patient" in manifests_of(root)


def test_each_instance_of_a_mapped_step_has_a_deadline_of_its_own(run_step):
    work = "import time; time.sleep(60 if n == 2 else 0)"
    declared = {"map": {"n": [1, 2]}, "timeout": 3}
    ran = run_step(work, parameters="n: int = 0", declared=declared)
    assert of_kind(ran, "STEP_SUCCESS", "a__b.run[1]") != []
    assert "the deadline of 3 s has passed" in ran.failure("a.b.run[2]")


# --- branches -------------------------------------------------------------------------------------


def branching(root, work):
    optional = {"file": "big.json", "optional": True}
    return write_project(
        root,
        {
            "a.choose": Step(work, outs={"big": optional, "small": "small.json"}),
            "b.big": Step(
                "context.save('x', 1)", ins={"big": "a.choose.big"}, outs={"x": "x.json"}
            ),
            "b.last": Step(ins={"x": "b.big.x"}),
            "b.small": Step(ins={"small": "a.choose.small"}),
            "b.after": Step(after=["a.choose"]),
        },
    )


def test_consumers_of_an_optional_out_that_is_not_written_are_skipped_and_the_run_succeeds(root):
    ran = execute(branching(root, "context.save('small', 1)"))
    assert ran.passed
    skipped = {e.step_key for e in ran.result.all_events if e.event_type_value == "STEP_SKIPPED"}
    assert skipped == {"b__big", "b__last"}
    assert set(manifests_of(root)) == {"a.choose", "b.small", "b.after"}
    assert set(manifests_of(root)["a.choose"].outputs) == {"small"}


def test_consumers_of_an_optional_out_that_is_written_run(root):
    ran = execute(branching(root, "context.save('small', 1)\ncontext.save('big', 1)"))
    assert ran.passed
    assert {"b.big", "b.last"} <= set(manifests_of(root))


def test_an_out_that_is_not_optional_has_to_be_written(root):
    ran = execute(branching(root, "context.save('big', 1)"))
    assert "outs.small: the step ended without writing 'small.json'" in ran.failure("a.choose")


def test_an_optional_out_that_no_instance_has_written_skips_its_consumers(root):
    optional = {"file": "big.json", "optional": True}
    steps = {
        "a.choose": Step(
            "if write and n == 2:\n    context.save('big', n)",
            outs={"big": optional},
            parameters="n: int = 1\nwrite: bool = False",
            declared={"map": {"n": [1, 2]}},
        ),
        "b.big": Step(
            "context.save('keys', list(context.ins.big))",
            ins={"big": "a.choose.big"},
            outs={"keys": "keys.json"},
        ),
    }
    ran = execute(write_project(root, steps))
    assert ran.passed
    assert set(manifests_of(root)) == {"a.choose"}
    ran = execute(root, run_config={"ops": {"a__choose": {"config": {"write": True}}}})
    (file,) = root.glob(f"artefacts/baseline/b/big/{ran.run_id}/keys.json")
    assert json.loads(file.read_text()) == ["2"]


# --- order ----------------------------------------------------------------------------------------


def test_a_step_waits_for_all_that_it_comes_after_with_outs_or_without(root):
    steps = {
        "a.one": Step("import time; time.sleep(0.5)"),
        "a.two": Step("context.save('x', 1)", outs={"x": "x.json"}),
        "b.last": Step(after=["a.one", "a.two"]),
    }
    ran = execute(write_project(root, steps))
    ended = [ran.times["STEP_SUCCESS", step] for step in ("a__one", "a__two")]
    assert ran.times["STEP_START", "b__last"] >= max(ended)
    assert "b.last" in manifests_of(root)
