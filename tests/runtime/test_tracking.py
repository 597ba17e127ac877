"""Runs in MLflow: what lands there, whatever happens to the run or to MLflow."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from conftest import free_port, run_command
from dagster import DagsterEvent, DagsterEventType

from dsml.cli import sync
from dsml.contract.catalog import read_catalog
from dsml.contract.project import load_project
from dsml.evidence.mlflow_copy import _copy_values
from dsml.evidence.mlflow_runs import MlflowRuns
from dsml.evidence.mlflow_state import is_synced, keep_synced, reaches
from dsml.evidence.mlflow_values import all_pages
from dsml.evidence.records import Records
from dsml.orchestrate.tracked import _SPEAKERS
from dsml.step.tracking import Tracking, in_folder, tracking_of
from dsml.store import Store
from dsml.store.runs import RUNNING

from .projects import Step, instance_of, kill_group, last_run, start, wait_until, write_project

pytestmark = pytest.mark.slow

LOGS = """
context.log_metric("accuracy", 0.75)
for step in range(3):
    context.log_metric("loss", 1 / (step + 1), step=step)
context.log_param("rows", 1797)
context.log_text("note.txt", "seen")
context.save("told", 1)
"""
BY_MLFLOW = """
import mlflow
mlflow.log_param("depth", n)
mlflow.log_metric("error", n / 10)
mlflow.end_run()
with mlflow.start_run(run_name="beside"):
    mlflow.log_metric("aside", n)
"""
AUTOLOG = """
import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
mlflow.sklearn.autolog()
LogisticRegression(C=0.5).fit(np.arange(20.0).reshape(-1, 1), [0] * 10 + [1] * 10)
"""
FAILS = """
context.log_metric("reached", 1)
raise ValueError("no more")
"""


@pytest.fixture(scope="session")
def database(tmp_path_factory) -> Path:
    """A database without runs, since MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("database")
    assert MlflowRuns(in_folder(folder, Tracking("", "", folder))).client.search_experiments()
    return folder / "mlflow.db"


def tracked(root: Path, database: Path, steps: dict[str, Step], **keys) -> Path:
    """Write a project that tracks its runs in a folder."""
    dev = {"storage": "artefacts", "mlflow": ".mlflow"}
    write_project(root, steps, environments={"dev": dev}, **keys)
    (root / ".mlflow").mkdir()
    shutil.copy(database, root / ".mlflow")
    return root


def runs_in(tracking: Tracking):
    """The runs of MLflow by their names, those that were made last first."""
    runs = MlflowRuns(tracking)
    return {run.info.run_name: run for run in reversed(list(runs.client.search_runs(
        [runs.experiment_id], max_results=1000
    )))}  # fmt: skip


def tracking_in(root: Path) -> Tracking:
    found = tracking_of(root, read_catalog(root, []))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory, database):
    """A run of steps that log in every way; the last one fails."""
    root = tracked(
        tmp_path_factory.mktemp("ran") / "a project",
        database,
        {
            "a.logs": Step(LOGS, outs={"told": "told.json"}, parameters="n: int = 3"),
            "b.fit": Step(
                BY_MLFLOW,
                parameters="n: int = 1",
                declared={"map": {"n": [1, 2]}},
            ),
            "c.auto": Step(AUTOLOG),
            "d.fails": Step(FAILS, after=["a.logs"]),
        },
    )
    done = run_command(sys.executable, "-m", "dsml", "run", cwd=root, check=False)
    assert done.returncode == 1
    return root, runs_in(tracking_in(root)), done


@pytest.fixture(scope="module")
def parent(ran):
    (found,) = (run for name, run in ran[1].items() if name.startswith("all baseline "))
    return found


def test_each_step_and_instance_has_a_run_below_that_of_the_run(ran, parent):
    _, runs, _ = ran
    below = {
        name: run.info.status
        for name, run in runs.items()
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert below == {
        "a.logs": "FINISHED",
        "b.fit[1]": "FINISHED",
        "b.fit[2]": "FINISHED",
        "c.auto": "FINISHED",
        "d.fails": "FAILED",
    }
    assert parent.info.status == "FAILED"


def test_what_a_step_logs_is_in_its_run(ran):
    root, runs, _ = ran
    logs = runs["a.logs"]
    assert logs.data.metrics == {"accuracy": 0.75, "loss": pytest.approx(1 / 3)}
    assert logs.data.params == {"n": "3", "rows": "1797"}
    client = MlflowRuns(tracking_in(root)).client
    history = client.get_metric_history(logs.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    artefacts = [file.path for file in client.list_artifacts(logs.info.run_id, "logged")]
    assert artefacts == ["logged/note.txt"]
    assert [f.path for f in client.list_artifacts(logs.info.run_id)] == ["executed.html", "logged"]


def test_what_a_step_logged_before_it_failed_is_in_its_run(ran):
    assert ran[1]["d.fails"].data.metrics == {"reached": 1.0}


def test_the_run_as_a_whole_has_the_values_of_all_its_steps(parent):
    assert parent.data.metrics["a.logs.accuracy"] == 0.75
    assert parent.data.params["a.logs.rows"] == "1797"


@pytest.mark.parametrize("n", [1, 2])
def test_what_a_notebook_logs_by_mlflow_itself_lands_in_the_same_run(ran, n):
    run = ran[1][f"b.fit[{n}]"]
    assert run.data.metrics == {"error": n / 10}
    assert run.data.params == {"n": str(n), "depth": str(n)}


def test_a_run_that_a_notebook_starts_beside_hangs_below_its_own(ran):
    own = {ran[1][f"b.fit[{n}]"].info.run_id for n in (1, 2)}
    assert ran[1]["beside"].data.tags["mlflow.parentRunId"] in own
    assert list(ran[1]["beside"].data.metrics) == ["aside"]


def test_autolog_lands_in_the_run_of_the_step(ran):
    auto = ran[1]["c.auto"]
    assert auto.data.params["C"] == "0.5"
    assert "training_accuracy_score" in auto.data.metrics
    assert len(auto.outputs.model_outputs) == 1


def events_of(root: Path, run_id: str) -> list[DagsterEvent]:
    with instance_of(root) as instance:
        return [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]


def links_of(events: list[DagsterEvent]) -> list[str]:
    """The links to MLflow of a run as a whole."""
    return [
        event.engine_event_data.metadata["MLflow"].value
        for event in events
        if event.event_type == DagsterEventType.ENGINE_EVENT
        and "MLflow" in event.engine_event_data.metadata
    ]


def test_the_runs_lead_to_each_other(ran, parent):
    root, runs, _ = ran
    run_id = parent.data.tags["dsml.run_id"]
    assert f"http://127.0.0.1:3000/runs/{run_id}" in parent.data.tags["mlflow.note.content"]
    events = events_of(root, run_id)
    links = links_of(events)
    page = f"http://127.0.0.1:5000/#/experiments/{parent.info.experiment_id}/runs/"
    assert links == [page + parent.info.run_id]
    of_steps = [
        e.step_materialization_data.materialization.metadata["MLflow"].value
        for e in events
        if e.event_type == DagsterEventType.ASSET_MATERIALIZATION
        and "MLflow" in e.step_materialization_data.materialization.metadata
    ]
    assert page + runs["c.auto"].info.run_id in of_steps  # the others don't wait for theirs


def test_all_is_told_already_when_the_run_is_over(ran):
    root, _, done = ran
    assert "dsml sync" not in done.stderr
    sent = run_command(sys.executable, "-m", "dsml", "sync", cwd=root)
    assert sent.stdout.startswith("0 runs sent to ")


# --- many at once, and much -----------------------------------------------------------------------


def test_eight_writers_at_once_lose_nothing(root, database):
    work = """
import mlflow
for step in range(50):
    mlflow.log_metric("by_mlflow", step * n, step=step)
    context.log_metric("by_context", step * n, step=step)
"""
    mapped = Step(work, parameters="n: int = 1", declared={"map": {"n": list(range(8))}})
    tracked(root, database, {"a.fit": mapped}, pipelines={"all": {"workers": 8}})
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    runs, client = runs_in(tracking_in(root)), MlflowRuns(tracking_in(root)).client
    for n in range(8):
        for name in ("by_mlflow", "by_context"):
            history = client.get_metric_history(runs[f"a.fit[{n}]"].info.run_id, name)
            assert sorted(point.value for point in history) == [step * n for step in range(50)]


def test_workers_in_processes_of_their_own_find_the_run(root, database):
    work = "import mlflow; mlflow.log_metric('by_mlflow', 1); context.log_metric('own', 2)"
    steps = {f"a.s{n}": Step(work) for n in range(2)}
    tracked(root, database, steps, pipelines={"all": {"executor": "multiprocess"}})
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    runs = runs_in(tracking_in(root))
    (parent,) = (run for name, run in runs.items() if name.startswith("all "))
    for name in steps:
        assert runs[name].data.metrics == {"by_mlflow": 1, "own": 2}
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id


LOOKS = """
import mlflow, pathlib
mlflow.log_metric("m", 1)  # by now the tracker has imported MLflow
words = ["dsml.evidence.tracker_process", str(pathlib.Path("../..").resolve())]
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if (process / "cmdline").read_text().split("\\0")[2:4] == words:
            loaded = (process / "maps").read_text()
    except OSError:
        pass
names = ["sqlalchemy", "pandas", "pyarrow", "scipy"]
context.save("found", [name for name in names if f"/{name}/" in loaded])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process has loaded")
def test_the_process_that_tracks_loads_no_library_of_tables(root, database):
    tracked(root, database, {"a.looks": Step(LOOKS, outs={"found": "found.json"})})
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    (file,) = root.glob("artefacts/**/found.json")
    assert json.loads(file.read_text()) == ["sqlalchemy"]


def test_100_000_points_are_complete_in_the_end(root, database, record_property):
    work = """
import time
begun = time.perf_counter()
for step in range(100_000):
    context.log_metric("loss", 1 / (step + 1), step=step)
context.save("seconds", time.perf_counter() - begun)
"""
    tracked(root, database, {"a.logs": Step(work, outs={"seconds": "seconds.json"})})
    begun = time.monotonic()
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    seconds = round(time.monotonic() - begun, 1)
    record_property("a run that logs 100,000 points, until MLflow has them", f"{seconds} s")
    run = runs_in(tracking_in(root))["a.logs"]
    points = MlflowRuns(tracking_in(root)).client.get_metric_history(run.info.run_id, "loss")
    assert len({point.step for point in points}) == len(points) == 100_000


# --- a server -------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(root: Path, port: int) -> Iterator[str]:
    """`dsml mlflow` of a project, while it is used."""
    process = start(root, "mlflow", "--port", str(port))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: reaches(Tracking(address, "", root)), seconds=60, poll=0.2)
        yield address
    finally:
        kill_group(process)


WAITS = """
import mlflow, pathlib, time
mlflow.log_metric("early", 1)
here = pathlib.Path("../..")
if not (here / "waiting").exists():
    (here / "waiting").touch()
    while not (here / "go").exists():
        time.sleep(0.05)
mlflow.log_metric("late", 2)
with mlflow.start_run(run_name="beside", nested=True):
    mlflow.log_metric("aside", 3)
mlflow.log_text("a text", "note.txt")
context.log_metric("own", 4)
"""


def test_a_run_outlives_the_server_and_is_told_to_it_later(tmp_path, database):
    host = tracked(tmp_path / "the server's", database, {"a.b": Step()})
    root = tmp_path / "a project"
    steps = {
        "a.waits": Step(WAITS),
        "b.after": Step("context.log_metric('m', 5)", after=["a.waits"]),
    }
    tracked(root, database, steps)
    port = free_port()
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    with server(host, port) as address:
        env = {"MLFLOW_TRACKING_URI": address, **quick}
        process = start(root, "run", **env)
        wait_until((root / "waiting").exists, seconds=60)
    (root / "go").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert f"MLflow at {address} doesn't answer" in err
    assert "dsml sync" in err
    with server(host, port):
        sent = run_command(sys.executable, "-m", "dsml", "sync", cwd=root, **env)
        assert "1 run sent" in sent.stdout
        there = replace(tracking_in(root), uri=address, folder=None)
        runs = runs_in(there)
        assert runs["a.waits"].data.metrics == {"early": 1, "late": 2, "own": 4}
        assert runs["beside"].data.metrics == {"aside": 3}
        assert runs["beside"].data.tags["mlflow.parentRunId"] == runs["a.waits"].info.run_id
        files = MlflowRuns(there).client.list_artifacts(runs["a.waits"].info.run_id)
        assert "note.txt" in [file.path for file in files]
        assert runs["b.after"].data.metrics == {"m": 5}


def test_a_server_that_never_answers_does_not_hold_up_a_run(root, database):
    tracked(root, database, {"a.b": Step("context.log_metric('m', 1)")})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        command = (sys.executable, "-m", "dsml", "run")
        done = [run_command(*command, cwd=root, MLFLOW_TRACKING_URI=address) for _ in range(2)]
    # the second has nothing to run, and is over before anything has been asked of the server
    assert [f"MLflow at {address} doesn't answer" in each.stderr for each in done] == [True, True]
    assert time.monotonic() - begun < 120


LATE_MLFLOW = """
import pathlib, sys, time

class Late:
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow" and "dsml.evidence.tracker_process" in sys.orig_argv:
            begun = time.monotonic()
            while not pathlib.Path("go").exists() and time.monotonic() - begun < 120:
                time.sleep(0.05)

sys.meta_path.insert(0, Late())
"""


def test_a_run_that_works_waits_for_mlflow_and_one_that_finds_nothing_to_do_does_not(
    root, database
):
    tracked(root, database, {"a.b": Step(declared={"cache": True})})
    late, go = root.parent / "late", root / "go"
    late.mkdir()
    (late / "sitecustomize.py").write_text(LATE_MLFLOW, encoding="utf-8")
    tracking = tracking_in(root)

    def told():
        links = links_of(events_of(root, last_run(root).run_id))
        return len(links), "a.b" in runs_in(tracking), len(runs_in(tracking))

    works = start(root, "run", PYTHONPATH=str(late))
    try:
        wait_until(lambda: list(root.glob("artefacts/baseline/a/b/*/manifest.json")), seconds=60)
        assert works.poll() is None
        go.touch()
        out, err = works.communicate(timeout=120)
        assert works.returncode == 0, out + err
        assert told() == (1, True, 2)
        go.unlink()
        run_command(sys.executable, "-m", "dsml", "run", cwd=root, PYTHONPATH=str(late))
        assert told() == (0, True, 2)
    finally:
        go.touch()
    # the process that speaks with MLflow goes on by itself
    assert wait_until(lambda: len(runs_in(tracking)) == 3, seconds=90, poll=0.5)


def test_a_run_is_told_once_it_has_ended_whatever_was_told_under_way(root, database):
    tracked(root, database, {"a.b": Step()})
    store, tracking = Store.open(root, read_catalog(root, [])), tracking_in(root)
    for outcome in (RUNNING, "passed"):
        keep_synced(store, tracking, Records("r1", None, outcome, (), {}))
        assert is_synced(store, tracking, "r1", outcome) == (outcome != RUNNING)


def test_a_run_that_is_not_there_cannot_be_sent(root, database, monkeypatch):
    tracked(root, database, {"a.b": Step()})
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the project
    done = CliRunner().invoke(sync.sync, ["zzz"])
    assert str(done.exception).startswith("dsml sync\n  no run 'zzz' has left anything in ")


def test_one_param_that_is_there_already_keeps_no_other_away(tmp_path, database):
    from mlflow.entities import Param

    both = []
    for name in ("offline", "server"):
        shutil.copytree(database.parent, tmp_path / name)
        runs = MlflowRuns(in_folder(tmp_path / name, Tracking("", "small", tmp_path)))
        both.append((runs, runs.client.create_run(runs.experiment_id).info.run_id))
    (offline, run), (there, target) = both
    offline.log_params(run, [Param("depth", "2"), Param("rows", "7")])
    there.log_params(target, [Param("depth", "1")])
    _copy_values(offline, there, offline.client.get_run(run), target)
    assert there.client.get_run(target).data.params == {"depth": "1", "rows": "7"}


def test_what_is_searched_is_found_on_all_pages():
    class Page(list):
        token = None

    pages = {None: Page([1, 2]), "next": Page([3])}
    pages[None].token = "next"
    assert list(all_pages(lambda page_token: pages[page_token])) == [1, 2, 3]


def test_without_an_answer_sync_says_so(root, database):
    tracked(root, database, {"a.b": Step()})
    address = f"http://me:secret@127.0.0.1:{free_port()}"
    done = run_command(
        *(sys.executable, "-m", "dsml", "sync"),
        cwd=root,
        check=False,
        MLFLOW_TRACKING_URI=address,
    )
    assert done.returncode == 1
    assert "doesn't answer" in done.stderr
    assert "secret" not in done.stderr


def test_the_ui_is_served_on_this_machine_only_and_by_few_processes(root, database):
    tracked(root, database, {"a.b": Step()})
    port = free_port()
    with server(root, port) as address, urllib.request.urlopen(address) as page:
        assert "MLflow" in page.read().decode()
        sockets = [
            found
            for found in psutil.net_connections("tcp")
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port
        ]
        assert {found.laddr.ip for found in sockets} == {"127.0.0.1"}
        session = os.getsid(sockets[0].pid)
        commands = [found.cmdline() for found in in_session(session)]
    assert 1 <= len(commands) <= 2, commands


def in_session(session):
    """The processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_is_so_in_mlflow(root, database, number):
    tracked(
        root, database, {"a.b": Step("import time; context.log_metric('m', 1); time.sleep(60)")}
    )
    process = start(root, "run")
    wait_until(lambda: list(root.rglob("record.jsonl")), seconds=60)
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    run_id = last_run(root).run_id

    def ended():
        runs = runs_in(tracking_in(root)).values()
        mine = [run for run in runs if run.data.tags["dsml.run_id"] == run_id]
        return {r.info.status for r in mine} == {"KILLED"} and len(mine) == 2 and mine

    assert wait_until(ended, seconds=60, poll=0.5)


def test_a_notebook_by_hand_logs_into_an_experiment_of_its_own(root, database):
    work = "import mlflow\nmlflow.log_metric('by_hand', 1)"
    tracked(root, database, {"a.b": Step(work)})
    run_command("jupyter", "execute", "b.ipynb", cwd=root / "stages" / "a", PYTHONPATH=str(root))
    by_hand = replace(tracking_in(root), experiment="small by hand")
    (run,) = runs_in(by_hand).values()
    assert run.data.metrics == {"by_hand": 1}


def test_without_the_key_nothing_is_tracked(root):
    write_project(root, {"a.b": Step("import os\nassert 'MLFLOW_RUN_ID' not in os.environ")})
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    assert not (root / ".mlflow").exists()
    done = run_command(sys.executable, "-m", "dsml", "sync", cwd=root, check=False)
    assert done.stderr == (
        "catalog.yml, line 4\n"
        "  environments.dev: nothing is tracked\n"
        "  give it a folder or an address: mlflow: .mlflow\n"
    )


def test_steps_that_use_mlflow_know_their_run_and_others_do_not_wait_for_it(root, database):
    work = """
import os
names = ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI")
context.save("known", {name: name in os.environ for name in names})
"""
    known = {"known": "known.json"}
    (root / "own").mkdir(parents=True)
    (root / "own" / "__init__.py").write_text("import mlflow\n", encoding="utf-8")
    steps = {
        "a.other": Step(f"# no mlflow\n{work.replace('MLFLOW_RUN_ID', 'HOME')}", outs=known),
        "a.speaks": Step(f"import mlflow\n{work}", outs=known),
        "a.imports": Step(f"import own\n{work}", outs=known),
    }
    tracked(root, database, steps, pipelines={"all": {"workers": 3}})
    run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    for path in root.glob("artefacts/baseline/a/*/*/known.json"):
        assert set(json.loads(path.read_text()).values()) == {True}
    project = load_project(root)
    speaks = {name: step.body.mentions(_SPEAKERS) for name, step in project.registered.items()}
    assert speaks == {"a.other": False, "a.speaks": True, "a.imports": True}
