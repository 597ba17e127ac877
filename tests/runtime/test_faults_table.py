"""Faults of the world around a project: what is told, and that it goes on. The docs list them."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta

import pytest
from conftest import run_command
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.contract.problem import ProjectError
from dsml.orchestrate.materialise import BY_ANOTHER
from dsml.step import task
from dsml.store import Layout, Store
from dsml.store.disk import check_disk

from .conftest import execute
from .disks import disk
from .projects import PROJECT_FOLDER, Step, broken_artefacts, write_project

PAGE = PROJECT_FOLDER / "docs" / "faults_in_production.md"
SAVE = "context.save('x', 1)"
X = {"x": "x.json"}
# What is different in each message, and how the page writes it.
CHANGING = {
    r"'/.+'": "'FILE'",
    r"(notebook: ).+": r"\1FILE",
    r"(disk of |written to )\S+?(:? )": r"\1FOLDER\2",
    r"(database does not work: ).+": r"\1REASON",
}
MESSAGES = {  # of the other faults nothing is told that could be compared
    "the disk is full before a run",
    "the disk fills up while a step saves",
    "the storage is read-only",
    "a step needs more memory than it may have",
    "the kernel is killed, as Linux does when memory runs out",
    "the kernel crashes",
    "a worker process of `executor: multiprocess` is killed",
    "Dagster's database is gone in the middle of a run",
}


def rows():
    """What the page says that one sees, by fault."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("| ")][1:]
    return {cells[0].removeprefix("| "): cells[1] for cells in table}


def cell(message):
    """A message as the page shows it, without what is different each time."""
    for found, instead in CHANGING.items():
        message = re.sub(found, instead, message)
    lines = (line.strip() for line in message.strip().splitlines())
    # what begins with `make` would be taken for a command
    return "<br>".join(f"`` {n} ``" if n.startswith("make ") else f"`{n}`" for n in lines)


def shown(fault, message):
    assert rows()[fault] == cell(message)


def dsml(root, *arguments):
    command = (sys.executable, "-m", "dsml", *arguments)
    return run_command(*command, cwd=root, check=False, timeout=120, PYTHONPATH=str(root))


def told(done):
    """The message in what a command has told, as each takes three lines."""
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    parts = done.stderr.strip().split("\n\n")
    (message,) = (part for part in parts if part.count("\n") == 2)
    return message


def store_in(folder):
    return Store(UPath(folder), Layout(DEFAULT_PATTERN), folder)


def test_the_page_has_a_row_for_each_message_that_is_compared_here():
    assert rows().keys() >= MESSAGES


# --- disks ----------------------------------------------------------------------------------------


def test_a_disk_that_is_full_or_closed_is_told_before_a_run_begins(tmp_path):
    with disk(tmp_path / "full", "size=64k") as folder:
        (folder / "all of it").write_bytes(bytes(64 << 10))
        with pytest.raises(ProjectError) as full:
            check_disk(store_in(folder))
        shown("the disk is full before a run", str(full.value))
        (folder / "all of it").unlink()
        check_disk(store_in(folder / "not there yet"))
        assert not list(folder.iterdir())
    with disk(tmp_path / "closed", "size=64k,ro") as folder:
        with pytest.raises(ProjectError) as closed:
            check_disk(store_in(folder))
        shown("the storage is read-only", str(closed.value))


@pytest.mark.slow
def test_a_disk_that_fills_up_costs_the_attempt_alone(root, tmp_path):
    work = "import numpy as np\ncontext.save('x', np.zeros(size))"
    with disk(tmp_path / "disk", "size=2m") as folder:
        steps = {
            "a.first": Step(SAVE, outs=X),
            "a.full": Step(work, {"first": "a.first.x"}, {"x": "x.npy"}, "size: int = 1_000_000"),
        }
        write_project(root, steps, storage=str(folder))
        ran = execute(root)
        assert not ran.passed
        shown("the disk fills up while a step saves", ran.failure("a.full"))
        kept = folder / "baseline" / "a" / "full" / ran.run_id / "attempts" / "1"
        assert {"attempt.json", "executed.ipynb", "log.txt"} <= {p.name for p in kept.iterdir()}
        assert not list(folder.glob(".staging/**/*.npy"))
        assert broken_artefacts(folder) == []
        assert execute(root, run_config={"ops": {"a__full": {"config": {"size": 10}}}}).passed


def test_a_step_of_the_ui_tells_of_a_disk_that_is_closed(root, tmp_path):
    with disk(tmp_path / "disk", "size=64k,ro") as folder:
        write_project(root, {"a.b": Step(SAVE, outs=X)}, storage=str(folder / "store"))
        ran = execute(root)
        shown("the storage is read-only", ran.failure("a.b"))


# --- kernels, workers, databases ------------------------------------------------------------------


@pytest.mark.slow
def test_what_ends_a_kernel_is_told_and_the_rest_of_the_run_goes_on(root):
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
    steps = {
        "a.memory": Step(limited + "x = bytearray(2**33)", outs=X),
        "a.killed": Step("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", outs=X),
        "a.crash": Step("import ctypes; ctypes.string_at(0)", outs=X),
        "a.other": Step(SAVE, outs=X),
    }
    ran = execute(write_project(root, steps))
    shown("a step needs more memory than it may have", ran.failure("a.memory"))
    shown("the kernel is killed, as Linux does when memory runs out", ran.failure("a.killed"))
    shown("the kernel crashes", ran.failure("a.crash"))
    for name in ("a.memory", "a.killed", "a.crash"):
        assert (ran.attempt(name) / "executed.ipynb").exists()
    assert ran.manifest("a.other").run_id == ran.run_id


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_and_the_run_can_be_carried_on(root):
    killed = (
        "import os, signal, time\nfrom pathlib import Path\n"
        "if not Path('../../killed').exists():\n"
        "    Path('../../killed').touch()\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
        "    time.sleep(30)\n"
    )
    steps = {"a.b": Step(killed + SAVE, outs=X)}
    write_project(root, steps, pipelines={"all": {"executor": "multiprocess"}})
    shown("a worker process of `executor: multiprocess` is killed", told(dsml(root, "run")))
    assert dsml(root, "run", "--from-failure", "latest").returncode == 0


@pytest.mark.slow
def test_a_database_that_goes_away_is_told_and_nothing_that_was_published_is_lost(root):
    gone = (
        "import shutil\nfrom pathlib import Path\n"
        "if not Path('../../gone').exists():\n"
        "    Path('../../gone').touch()\n"
        "    shutil.rmtree('../../.dagster/history')\n"
    )
    steps = {
        "a.source": Step(SAVE, outs=X),
        "a.copy": Step("context.save('x', context.load('x'))", {"x": "a.source.x"}, X),
        "a.gone": Step(gone + SAVE, {"x": "a.copy.x"}, X),
    }
    write_project(root, steps)
    shown("Dagster's database is gone in the middle of a run", told(dsml(root, "run")))
    assert broken_artefacts(root / "artefacts") == []
    before = store_in(root / "artefacts").newest("a.copy", "baseline")
    assert dsml(root, "run").returncode == 0
    assert store_in(root / "artefacts").newest("a.copy", "baseline").origin == before.address


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_after_a_clock_went_back_the_run_that_was_made_last_is_the_newest(root, monkeypatch):
    write_project(root, {"a.b": Step("import random; context.save('x', random.random())", outs=X)})
    right, off = task.now, timedelta(days=300)

    def wrong():
        return (datetime.fromisoformat(right()) + off).isoformat(timespec="microseconds")

    monkeypatch.setattr(task, "now", wrong)
    ahead = execute(root)
    store = store_in(root / "artefacts")
    assert store.newest("a.b", "baseline").run_id == ahead.run_id
    monkeypatch.setattr(task, "now", right)
    back = execute(root)
    assert store.newest("a.b", "baseline").run_id == back.run_id
    # in the middle of a step, by an hour
    times = iter([wrong()])
    monkeypatch.setattr(task, "now", lambda: next(times, right()))
    within = execute(root)
    assert within.passed
    assert store.newest("a.b", "baseline").run_id == within.run_id
    assert dsml(root, "runs").returncode == 0


# --- several at once ------------------------------------------------------------------------------


def test_the_page_tells_what_is_logged_where_two_machines_are_at_the_same_step():
    assert f"`a.b {BY_ANOTHER}`" in rows()["two machines at the same step of the same run"]
