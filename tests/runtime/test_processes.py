"""`dsml run` as a process: what it streams, how it is stopped, how it is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from dagster import DagsterRunStatus

from dsml.store import Attempt, Manifest

from .projects import (
    Step,
    broken_artefacts,
    instance_of,
    kill_group,
    last_run,
    manifests_of,
    processes_of,
    start,
    wait_until,
    write_project,
)

pytestmark = pytest.mark.slow

SAVE = "context.save('x', 1)"
X = {"x": "x.json"}


@pytest.fixture
def command():
    """Start commands; what is left of them at the end of the test is killed."""
    started = []

    def run(root, *arguments, **environment):
        started.append(start(root, *arguments, **environment))
        return started[-1]

    yield run
    for process in started:
        kill_group(process)


@pytest.fixture
def temporary():
    """A temporary folder of the test's own; its path is short, as that of a system is."""
    with tempfile.TemporaryDirectory(prefix="dsml-") as folder:
        yield Path(folder)


def lines(root):
    """What is in the logs of the steps of the last run, while it is running: when, and what."""
    run = last_run(root)
    if run is None:
        return []
    with instance_of(root) as instance:
        entries = instance.all_logs(run.run_id)
    return [(e.timestamp, e.user_message) for e in entries if e.dagster_event is None]


def logged(root):
    """The same as a text."""
    return "\n".join(text for _, text in lines(root))


# --- streaming ------------------------------------------------------------------------------------

TALK = """
import time
print("printed at", time.time())
time.sleep(1)
context.log.info("logged at %s", time.time())
time.sleep(3)
print("the cell is over")
"""


def test_a_line_is_in_the_log_of_the_step_within_a_second_while_its_cell_is_running(
    root, temporary, command, record_property
):
    write_project(root, {"a.talk": Step(TALK)})
    run = command(root, "run", TMPDIR=str(temporary))
    for word in ("printed", "logged"):
        wait_until(lambda word=word: f"{word} at" in logged(root))
        assert "the cell is over" not in logged(root)
        # when it came is told by the log itself: to read it takes a while, too
        ((came, text),) = [line for line in lines(root) if f"{word} at" in line[1]]
        delay = came - float(re.search(r" at ([\d.]+)", text)[1])
        record_property(f"a {word} line is in the log after", f"{delay:.2f} s")
        assert delay < 1
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert list(temporary.rglob("*")) == []  # nothing is left in the system's temporary folder
    assert not list(root.glob("artefacts/.staging"))


# --- stopping -------------------------------------------------------------------------------------

SLEEP = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "77"])
other = subprocess.Popen(["sleep", "78"], start_new_session=True)
print("processes", os.getpid(), child.pid, other.pid, flush=True)
time.sleep(60)
"""


def sleeping(root):
    """The processes of the notebook that is asleep in its cell, as soon as it has told them."""
    found = re.search(r"processes (\d+) (\d+) (\d+)", logged(root))
    return found and [psutil.Process(int(pid)) for pid in found.groups()]


def is_over(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("executor", "number", "to_all"),
    [
        ("threads", signal.SIGINT, False),
        ("threads", signal.SIGINT, True),  # as a terminal does it
        ("threads", signal.SIGTERM, False),
        ("threads", signal.SIGTERM, True),  # as systemd and `timeout` do it
        ("multiprocess", signal.SIGINT, False),
        ("multiprocess", signal.SIGINT, True),
        ("multiprocess", signal.SIGTERM, False),
        ("multiprocess", signal.SIGTERM, True),
        ("in_process", signal.SIGINT, True),
        ("in_process", signal.SIGTERM, False),
    ],
)
def test_a_signal_ends_a_run_in_the_middle_of_a_sleeping_cell_with_all_its_processes(
    root, temporary, command, record_property, executor, number, to_all
):
    write_project(
        root,
        {
            "a.before": Step(SAVE, outs=X),
            "a.sleep": Step(
                ["context.save('y', 1)\nprint('early words')", SLEEP],
                ins={"x": "a.before.x"},
                outs={"y": "y.json"},
                declared={"retries": 1},  # which are for failures alone
            ),
            "a.waits": Step("", after=["a.sleep"]),
        },
        pipelines={"all": {"executor": executor}},
    )
    run = command(root, "run", TMPDIR=str(temporary))
    processes = [*wait_until(lambda: sleeping(root)), psutil.Process(run.pid), *processes_of(root)]
    time.sleep(0.3)

    signalled = time.monotonic()
    (os.killpg if to_all else os.kill)(run.pid, number)
    wait_until(lambda: all(map(is_over, processes)), seconds=10)
    spent = time.monotonic() - signalled
    record_property(f"{executor}: all processes are gone after {number.name}", f"{spent:.2f} s")
    # with workers between, these too have to end, each with all of Dagster loaded
    assert spent < (5 if executor == "multiprocess" else 2)

    out, err = run.communicate(timeout=10)
    assert run.returncode == 1
    assert "was cancelled; look into it: dsml show" in err
    assert "a.sleep  cancelled" in out
    assert "Traceback" not in out + err
    assert "Error" not in out + err
    recorded = last_run(root)
    assert recorded.status == DagsterRunStatus.CANCELED

    (folder,) = (root / "artefacts").glob("baseline/a/sleep/*/attempts/1")
    record = Attempt.from_json((folder / "attempt.json").read_bytes())
    assert (record.status, record.error) == ("cancelled", "the run was cancelled")
    assert {path.name for path in folder.iterdir()} >= {
        "executed.ipynb",
        "executed.html",
        "log.txt",
    }
    partial = (folder / "executed.ipynb").read_text()
    assert "early words" in partial
    assert "processes " in partial
    assert "the run was cancelled" in partial
    assert set(manifests_of(root)) == {"a.before"}
    assert not list((root / "artefacts").glob("**/y.json"))
    assert not list(root.glob("artefacts/.staging"))
    assert list(temporary.rglob("*")) == []


# --- several at once ------------------------------------------------------------------------------


def test_two_runs_of_an_experiment_at_once_read_what_they_have_made_themselves(root, command):
    wait = "import time; time.sleep(1.5)\n"
    each = {"map": {"n": [1, 2]}}
    write_project(
        root,
        {
            "load.x": Step(wait + "context.save('x', x)", outs=X, parameters="x: int = 0"),
            "a.copy": Step(wait + "context.save('x', context.load('x'))", {"x": "load.x.x"}, X),
            "a.each": Step(
                "context.save('x', context.load('x'))",
                {"x": "load.x.x"},
                X,
                "n: int = 0",
                declared=each,
            ),
            "b.all": Step(
                "context.save('x', [context.load('x'), context.load('y'), context.load('z')])",
                {"x": "load.x.x", "y": "a.copy.x", "z": "a.each.x"},
                X,
            ),
        },
    )
    runs = {value: command(root, "run", "--set", f"load.x.x={value}", "--json") for value in (1, 2)}
    for value, run in runs.items():
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        run_id = json.loads(out)["run_id"]
        folder = root / "artefacts" / "baseline" / "b" / "all" / run_id
        assert json.loads((folder / "x.json").read_text()) == [
            value,
            value,
            {"1": value, "2": value},
        ]
        inputs = Manifest.from_json((folder / "manifest.json").read_bytes()).inputs
        parts = inputs["z"].parts.values()
        assert {found.run_id for found in (*inputs.values(), *parts)} == {run_id}


# --- killing --------------------------------------------------------------------------------------


def moments(root):
    """Moments at which to kill a run, by what it has just done.

    Those of one process alone, and how runs go on after it, are tried in test_kills.py.
    """
    yield lambda: list(root.glob("artefacts/.staging/*/*a.two*/outs/*"))
    yield lambda: list(root.glob("artefacts/baseline/a/*/*/attempts/1/executed.html"))
    yield lambda: list(root.glob("artefacts/baseline/a/*/*/*.npy"))
    yield lambda: list(root.glob("artefacts/baseline/a/two/*/manifest.json"))


def test_a_run_that_is_killed_at_any_moment_leaves_every_visible_artefact_whole(root, command):
    save = "import numpy as np\nfor n in 'abc': context.save(n, np.random.rand(300_000))"
    outs = {name: f"{name}.npy" for name in "abc"}
    steps = {
        "a.one": Step(save, outs=outs),
        "a.two": Step(f"context.load('a')\n{save}", ins={"a": "a.one.a"}, outs=outs),
    }
    write_project(root, steps)
    store = root / "artefacts"
    for moment in moments(root):
        run = command(root, "run")
        wait_until(lambda moment=moment, run=run: moment() or run.poll() is not None, poll=0.001)
        kill_group(run)
        assert broken_artefacts(store) == []
        # kernels lead groups of their own: they end by themselves when their parent is gone
        wait_until(lambda: not processes_of(root), seconds=20)
        for path in list((store / "baseline").rglob("manifest.json")):
            path.parent.rename(store / f"seen-{path.parents[1].name}-{path.parent.name}")
    assert broken_artefacts(store) == []


# --- at once --------------------------------------------------------------------------------------


def test_workers_limit_how_many_steps_run_at_once(root, command):
    steps = {f"a.{name}": Step("import time\ntime.sleep(1)") for name in ("one", "two")}
    write_project(root, steps)
    for workers in ("1", "2"):
        run = command(root, "run", "--workers", workers)
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, out + err
        first, second = sorted(manifests_of(root).values(), key=lambda m: m.started)
        assert (second.started < first.ended) == (workers == "2")


# --- storage that is no folder --------------------------------------------------------------------


def test_a_run_in_one_process_publishes_to_storage_in_memory(root, command):
    write_project(
        root,
        {
            "a.make": Step(SAVE, outs=X),
            "a.use": Step("assert context.load('x') == 1", ins={"x": "a.make.x"}),
        },
        storage="memory://run",
        pipelines={"all": {"executor": "in_process"}},
    )
    out, err = (run := command(root, "run", "--json")).communicate(timeout=60)
    assert run.returncode == 0, out + err
    document = json.loads(out)
    assert [step["status"] for step in document["steps"]] == ["passed", "passed"]
    (artefact,) = document["artefacts"]
    assert artefact["path"].startswith("memory://")
    assert not (root / "artefacts").exists()


def test_a_run_works_where_the_path_of_the_temporary_folder_is_too_long_for_a_socket(
    root, tmp_path, command
):
    pipelines = {"all": {"executor": "multiprocess"}}
    write_project(root, {"a.b": Step(SAVE, outs=X)}, pipelines=pipelines)
    temporary = tmp_path / ("long" * 25)
    temporary.mkdir()
    run = command(root, "run", TMPDIR=str(temporary))
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
