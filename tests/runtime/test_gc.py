"""``dsml gc`` on storages: what goes, what stays, and that nothing is lost when it is killed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from dsml.cli import cli, gc  # noqa: F401 - it adds its command
from dsml.contract.catalog import read_catalog
from dsml.contract.problem import ProjectError
from dsml.evidence.retention import exclusive
from dsml.evidence.retention.clean import clean, read_rule
from dsml.evidence.retention.exclusive import LEASE, alone
from dsml.evidence.retention.inventory import WITHDRAWN_FILE, read_inventory
from dsml.evidence.retention.plan import Rule, make_plan
from dsml.evidence.retention.sweep import Sweeper
from dsml.step.process import mark
from dsml.store import Attempt, InstanceRun, Layout, Manifest, Output, Plan, StepRun, Store
from dsml.store.manifest import MANIFEST_FILE, measure
from dsml.store.remote import Remote
from dsml.store.runs import RunRecord, begin, keep_run, run_ids
from dsml.store.takeover import holds, take_over

from .projects import Step, broken_artefacts, write_project

PATTERNS = (
    "{experiment}/{stage}/{notebook}/{run_id}/{file}",
    "{file}/{experiment}/{stage}/{notebook}/{run_id}",
    "all of it/{stage}.{notebook}/{experiment}-{run_id}-{file}",
    "{experiment}/{stage}/{notebook}_{run_id}/{file}",
)
GONE = "elsewhere:1:1.00"  # a process of another machine
DEAD = 2**22 + 1  # no process has such a number: it is more than Linux gives out
KILLED = f"{platform.node()}:{DEAD}:1.00"


@pytest.fixture(params=["local", "memory", "s3", "azure"])
def new_store(request):
    """Open a store in a local folder, in memory, and behind a real S3 API."""
    return request.getfixturevalue(f"new_{request.param}")


def at(number):
    """A moment; the larger the number of hours the later it is."""
    moment = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(hours=number)
    return moment.isoformat(timespec="microseconds")


def then(number):
    return datetime.fromisoformat(at(number))


def manifest_of(address, outputs=None, number=0, **about):
    return Manifest(
        **vars(address),
        parameters={},
        outputs=outputs or {},
        code="c0de",
        git={},
        versions={},
        started=at(number),
        ended=at(number),
        attempts=1,
        executed="attempts/1/executed.ipynb",
        **{"inputs": {}, "fingerprint": f"{address.label}-{number}"} | about,
    )


def attempt_of(address, number, status, process="", inputs=None):
    return Attempt(
        **vars(address),
        number=1,
        status=status,
        error="",
        started=at(number),
        ended="" if status == "running" else at(number),
        parameters={},
        inputs=inputs or {},
        process=process,
    )


class Runs:
    """Writes runs into a storage as the runtime does, but for the notebooks."""

    def __init__(self, store):
        self.store = store

    def begin(self, run_id, number, *steps, status="passed", process="", parent=""):
        named = {step: [] for step in steps}
        ended = "" if status == "running" else at(number)
        record = RunRecord(
            run_id,
            "p",
            "all",
            "baseline",
            None,
            at(number),
            ended,
            status,
            parent=parent,
            process=process,
            steps=named,
        )
        keep_run(self.store, record)

    def publish(self, step, run_id, number, *, instance=None, content="", **about):
        """Publish a step with one artefact."""
        address = StepRun(step, "baseline", run_id, None, instance)
        begin(self.store, attempt_of(address, number, "running", inputs=about.get("inputs")))
        staging = self.store.stage(address, 1)
        (staging.outs / "out.txt").write_text(content or f"{address}")
        (staging.evidence / "executed.ipynb").write_text("{}")
        self.store.keep_attempt(staging, attempt_of(address, number, "passed"))
        outputs = {"out": measure(staging.outs / "out.txt")}
        manifest = manifest_of(address, outputs, number, **about)
        self.store.publish(staging, manifest)
        self.store.unstage(staging)
        return manifest

    def fail(self, step, run_id, number, inputs=None):
        address = StepRun(step, "baseline", run_id)
        begin(self.store, attempt_of(address, number, "running", inputs=inputs))
        staging = self.store.stage(address, 1)
        (staging.evidence / "executed.ipynb").write_text("{}")
        self.store.keep_attempt(staging, attempt_of(address, number, "failed"))
        self.store.unstage(staging)

    def usual(self, count, first=0):
        """Runs of two steps, the second of which reads what the first has published."""
        for number in range(first, first + count):
            run_id = f"run-{number}"
            self.begin(run_id, number, "load.data", "train.fit")
            data = self.publish("load.data", run_id, number)
            self.publish("train.fit", run_id, number, inputs={"data": data.as_input("out")})


@pytest.fixture(params=["local", "memory"])
def store(request):
    """An empty storage of either kind; S3 itself has its turn where everything goes."""
    return request.getfixturevalue(f"new_{request.param}")()


@pytest.fixture
def runs(store):
    return Runs(store)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(exclusive, "_SETTLE", 0.05)


def sweep(store, keep=1, older_than="", pins=None, before=lambda: None):
    """Clean up; `before` is called after the plan is made."""
    pinned = pins or {}
    inventory = read_inventory(store, pinned)
    plan = make_plan(inventory.there, Rule(keep, older_than))
    before()
    return Sweeper(store, inventory, Rule(keep, older_than), lambda: pinned, lambda: None).sweep(
        plan
    )


def visible(store):
    """The steps of runs that a reader sees, each of which can be read whole."""
    found = {}
    for step in ("load.data", "train.fit"):
        for manifest in store.published(step):
            found[manifest.address.label, manifest.run_id] = manifest
            for output in manifest.outputs.values():
                if output.parts is None:
                    content = store.path(manifest.origin, output.file).read_bytes()
                    assert len(content) == output.bytes, manifest
            for source in manifest.inputs.values():
                origin = StepRun("load.data", "baseline", source.run_id)
                assert store.path(origin, source.file).exists(), manifest
    return set(found)


def files(store):
    if isinstance(store.root, Path):
        return {p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file()}
    base = store.root.path
    return {path.removeprefix(base).lstrip("/") for path in store.root.fs.find(base)}


def both(*numbers):
    return {(step, f"run-{n}") for step in ("load.data", "train.fit") for n in numbers}


# --- what goes and what stays ---------------------------------------------------------------------


def test_the_newest_runs_stay_whole_and_of_the_others_nothing_is_left(new_store):
    keeps_the_newest(new_store())


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_artefacts_may_lie_anywhere(new_local, pattern):
    keeps_the_newest(new_local(pattern))


def keeps_the_newest(store):
    Runs(store).usual(4)
    done = sweep(store, keep=2)
    assert visible(store) == both(2, 3)
    assert not [path for path in files(store) if "run-0" in path or "run-1" in path]
    assert done.runs == ["run-0", "run-1"]
    assert len([path for path in files(store) if path.startswith(".same/")]) == 4
    assert store.newest("train.fit", "baseline").run_id == "run-3"


def test_a_second_clean_up_finds_nothing(store, runs):
    runs.usual(3)
    sweep(store)
    before = files(store)
    done = sweep(store)
    assert (done.steps, done.runs, done.leftovers) == ({}, [], [])
    assert files(store) == before


def test_a_run_whose_files_another_one_has_taken_over_keeps_them(store, runs):
    runs.begin("old", 0, "train.fit")
    old = runs.publish("train.fit", "old", 0)
    runs.begin("new", 5, "train.fit")
    assert take_over(store, replace(old, run_id="new", cached="old", ended=at(5)))
    done = sweep(store)
    assert not done.steps
    assert visible(store) == {("train.fit", "old"), ("train.fit", "new")}


def test_an_instance_that_another_run_goes_on_using_stays(store, runs):
    for run_id, number, keys in (("old", 0, ("a", "b")), ("new", 5, ("b",))):
        runs.begin(run_id, number, "train.fit")
        whole = StepRun("train.fit", "baseline", run_id)
        store.keep_plan(whole, Plan({"a": {}, "b": {}}, {}))
        made = {k: runs.publish("train.fit", run_id, number, instance=k) for k in keys}
        parts = {k: m.outputs["out"] for k, m in made.items()}
        instances = {k: InstanceRun(run_id, {}) for k in keys} | (
            {"a": InstanceRun("old", {})} if run_id == "new" else {}
        )
        outputs = {"out": Output.of_parts(parts)}
        store.record(manifest_of(whole, outputs, number, instances=instances))
    done = sweep(store)
    labels = {address.label for address in done.steps if address.run_id == "old"}
    assert labels == {"train.fit", "train.fit[b]"}
    assert store.manifest(StepRun("train.fit", "baseline", "old", None, "a")) is not None
    assert not sweep(store).steps


def test_what_a_model_refers_to_stays_with_what_it_was_made_from(store, runs):
    runs.usual(3)
    sweep(store, pins={("run-0", "train.fit"): "champion of the model p.digits"})
    assert visible(store) == both(0, 2)


def test_a_run_that_is_under_way_stays_with_all_that_it_may_read(store, runs):
    runs.usual(2)
    runs.begin("run-9", 9, "load.data", "train.fit", status="running", process=mark())
    runs.publish("load.data", "run-9", 9)
    runs.usual(3, first=10)
    assert ("load.data", "run-9") in visible(store)
    sweep(store)
    # `run-1` was the newest of train.fit when it began
    assert visible(store) == {("load.data", "run-9"), *both(1, 10, 11, 12)}
    runs.begin("run-9", 9, "load.data", "train.fit", status="failed", process=mark())
    sweep(store)
    assert visible(store) == both(12)


def test_a_run_that_was_killed_is_over(store, runs):
    runs.begin("run-0", 0, "load.data", status="running", process=KILLED)
    runs.publish("load.data", "run-0", 0)
    runs.usual(1, first=5)
    sweep(store)
    assert ("load.data", "run-0") not in visible(store)


def test_a_run_of_another_machine_counts_as_under_way_for_a_week(store, runs, monkeypatch):
    runs.begin("run-0", 0, "load.data", status="running", process=GONE)
    runs.publish("load.data", "run-0", 0)
    runs.usual(1, first=5)
    monkeypatch.setattr("dsml.evidence.retention.inventory._now", lambda: then(6))
    assert not sweep(store).steps
    monkeypatch.setattr("dsml.evidence.retention.inventory._now", lambda: then(6 + 24 * 8))
    assert [address.run_id for address in sweep(store).steps] == ["run-0"]


def test_failures_are_counted_apart_and_keep_what_they_have_read(store, runs):
    runs.usual(1)
    runs.begin("run-5", 5, "load.data", "train.fit")
    data = runs.publish("load.data", "run-5", 5)
    runs.fail("train.fit", "run-5", 5, inputs={"data": data.as_input("out")})
    runs.usual(2, first=6)
    sweep(store)
    assert visible(store) == {("load.data", "run-5"), *both(7)}
    assert store.attempts(StepRun("train.fit", "baseline", "run-5"))[0].status == "failed"


def test_files_that_belong_to_no_run_are_left_alone(store, runs):
    runs.usual(2)
    for name in ("notes.txt", "baseline/load/data/notes.txt", "elsewhere/manifest.json"):
        store.write(store.root.joinpath(*name.split("/")), "{}")
    before = files(store)
    sweep(store)
    assert {"notes.txt", "baseline/load/data/notes.txt", "elsewhere/manifest.json"} <= files(store)
    assert files(store) < before


def test_a_step_whose_manifest_cannot_be_read_stays(store, runs):
    runs.usual(2)
    store.write(store.path(StepRun("load.data", "baseline", "run-0"), MANIFEST_FILE), "{cut short")
    before = {path for path in files(store) if "load/data/run-0" in path}
    sweep(store)
    assert before <= files(store)


# --- leftovers ------------------------------------------------------------------------------------


def test_what_killed_processes_have_left_goes_and_what_living_ones_write_stays(new_local):
    store = new_local()
    runs = Runs(store)
    runs.begin("dead", 0, "load.data", status="running", process=KILLED)
    runs.begin("alive", 0, "load.data", status="running", process=mark())
    for run_id in ("dead", "alive"):
        staging = store.stage(StepRun("load.data", "baseline", run_id), 1)
        (staging.outs / "half.bin").write_bytes(b"x" * 1000)
    hour_ago = time.time() - 2 * 3600
    for name in (f".a.json.{DEAD}-1", f".b.json.{os.getpid()}-1"):
        (store.root / "baseline").mkdir(exist_ok=True)
        (store.root / "baseline" / name).write_text("{")
        os.utime(store.root / "baseline" / name, (hour_ago, hour_ago))
    (store.root / "baseline" / f".c.json.{DEAD}-1").write_text(
        "{"
    )  # from another machine, just now
    scratch = store.scratch("load.data", "baseline") / "mine.txt"
    scratch.write_text("by hand")
    sweep(store)
    left = files(store)
    assert not [path for path in left if path.startswith(".staging/dead")]
    assert [path for path in left if path.startswith(".staging/alive")]
    assert {Path(p).name[:2] for p in left if p.startswith("baseline/.")} == {".b", ".c"}
    assert scratch.exists()
    assert not (store.root / ".staging" / "dead").exists()


def test_the_folder_of_all_attempts_may_go_while_it_is_looked_at(new_local, monkeypatch):
    store, whole = new_local(), Path.iterdir
    staging = store.stage(StepRun("load.data", "baseline", "run-0"), 1)

    def iterdir(folder):
        if folder == staging.folder.parent.parent:
            store.unstage(staging)
        return whole(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert sweep(store).leftovers == []
    assert not staging.folder.exists()


def test_pointers_to_what_is_gone_go(store, runs):
    runs.usual(1)
    lost = runs.publish("load.data", "by-hand", 7)
    store.path(lost.address, MANIFEST_FILE).unlink()
    sweep(store)
    assert store.newest("load.data", "baseline").run_id == "run-0"
    assert not [
        p for p in files(store) if p.startswith(".newest/") and p.endswith("load.data.json")
    ]


def test_copies_of_artefacts_that_no_manifest_names_go(new_memory):
    store = new_memory()
    runs = Runs(store)
    runs.usual(2)
    copies = store.work / ".inputs"
    hour_ago = time.time() - 2 * 3600
    for copy in copies.rglob("*"):
        os.utime(copy, (hour_ago, hour_ago))
    assert len(list(copies.glob("*/out.txt"))) == 4
    sweep(store)
    assert len(list(copies.glob("*/out.txt"))) == 2


def test_uploads_that_were_never_finished_go(new_s3, bucket):
    store = new_s3()
    Runs(store).usual(1)
    begun = {"Bucket": bucket, "Key": "a prefix/baseline/load/data/killed/big.bin"}
    store.root.fs.call_s3("create_multipart_upload", **begun)
    ((what, _),) = sweep(store).leftovers  # this server says of each that it began in 2010
    assert what == "an upload that was not finished"
    assert sweep(store).leftovers == []


# --- interrupted, and beside others ---------------------------------------------------------------


class Interrupted(BaseException):
    """Stands for the end of a process whose storage lives on."""


def is_finished(store):
    """Whether of the runs before the last nothing is left."""
    own = (".newest/", ".same/")
    return all("run-2" in path or path.startswith(own) for path in files(store))


def kill_at(moment):
    """Kill this process before the change of that number that it makes to any folder."""
    changes = itertools.count(1)

    def look(event, _):
        if event in ("os.remove", "os.rename", "os.rmdir") and next(changes) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_between_two_changes_it_leaves_a_whole_storage_and_the_next_ends_it(tmp_path):
    origin = tmp_path / "origin"
    Runs(Store(UPath(origin), Layout(PATTERNS[0]), origin)).usual(3)
    for moment in itertools.count(1, 2):
        folder = tmp_path / str(moment)
        shutil.copytree(origin, folder)
        store = Store(UPath(folder), Layout(PATTERNS[0]), folder)
        child = os.fork()
        if child == 0:
            kill_at(moment)
            sweep(store)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert both(2) <= visible(store)
        assert not broken_artefacts(folder)
        was_killed = os.WIFSIGNALED(status)
        assert was_killed or is_finished(store)
        sweep(store)
        assert visible(store) == both(2)
        assert is_finished(store)
        if not was_killed:
            break
    assert moment > 40  # at every other one of them it was killed, more than 20 times


def cut_off_at(moment):
    """Calls of a storage, until the one that would make so many changes."""
    changes, whole = itertools.count(1), Remote._try

    def call(self, name, *arguments):
        if name in ("rm_file", "pipe_file") and next(changes) >= moment:
            raise Interrupted
        return whole(self, name, *arguments)

    return call


def test_cut_off_at_any_call_of_a_remote_storage_it_leaves_it_whole(new_memory, monkeypatch):
    for moment in itertools.count(1):
        store = new_memory()
        with contextlib.suppress(FileNotFoundError):
            store.root.fs.rm(store.root.path, recursive=True)
        Runs(store).usual(3)
        with monkeypatch.context() as patch:
            patch.setattr(Remote, "_try", cut_off_at(moment))
            try:
                sweep(store)
                was_cut = False
            except Interrupted:
                was_cut = True
        assert both(2) <= visible(store)
        sweep(store)
        assert visible(store) == both(2)
        assert is_finished(store)
        if not was_cut:
            break
    assert moment > 20


def test_a_step_that_a_run_takes_over_meanwhile_gets_its_manifest_back(store, runs):
    runs.usual(3)
    old = store.manifest(StepRun("train.fit", "baseline", "run-0"))

    def take():
        runs.begin("late", 50, "train.fit", status="running", process=mark())
        assert take_over(store, replace(old, run_id="late", cached="run-0", ended=at(50)))

    done = sweep(store, before=take)
    assert {address.run_id for address in done.spared} == {"run-0"}
    assert {("train.fit", "late"), *both(0, 2)} <= visible(store)
    assert not [path for path in files(store) if WITHDRAWN_FILE in path]


def test_a_step_that_is_withdrawn_is_not_taken_over(store, runs):
    runs.usual(1)
    old = store.manifest(StepRun("train.fit", "baseline", "run-0"))
    store.path(old.address, MANIFEST_FILE).unlink()
    runs.begin("late", 50, "train.fit", status="running", process=mark())
    taken = replace(old, run_id="late", cached="run-0", ended=at(50))
    assert not take_over(store, taken)
    assert store.manifest(taken.address) is None


def test_a_run_that_carries_on_a_failed_one_keeps_what_it_needs(store, runs):
    runs.begin("failed", 0, "load.data", "train.fit", status="failed")
    runs.publish("load.data", "failed", 0)
    runs.usual(2, first=1)

    def carry_on():
        runs.begin("again", 50, "train.fit", status="running", process=mark(), parent="failed")

    done = sweep(store, before=carry_on)
    assert ("load.data", "failed") in visible(store)
    assert "failed" in run_ids(store)
    assert [address.run_id for address in done.spared if address.run_id == "failed"]


def called_before(whole, changes):
    """Calls of a storage; ``changes`` says what happens before which change that they make."""
    numbers = itertools.count(1)

    def call(self, name, *arguments):
        if name in ("rm_file", "pipe_file"):
            happens = changes.pop(next(numbers), None)
            if happens is not None:
                happens()
        return whole(self, name, *arguments)

    return call


class TakingOver:
    """A run that takes over what another has published, step by step."""

    def __init__(self, store):
        self.store = store
        self.address = StepRun("train.fit", "baseline", "late")
        self.found = self.taken = self.has_it = None

    def look(self):
        Runs(self.store).begin("late", 50, "train.fit", status="running", process=mark())
        self.found = self.store.same(self.address, "kind-0")

    def say(self):
        if self.found is not None:
            self.taken = replace(self.found, run_id="late", cached="run-0", ended=at(50))
            self.store.record(self.taken)

    def look_again(self):
        self.has_it = self.taken is not None and holds(self.store, self.taken)


@pytest.mark.parametrize("later", [1, 2, 3, 4])
def test_whenever_a_run_takes_something_over_its_files_are_there_or_it_has_not(
    new_memory, monkeypatch, later
):
    """A run may be at any place of a take-over at any place of a clean-up."""
    whole = Remote._try
    for moment in range(1, 11):
        store = new_memory()
        with contextlib.suppress(FileNotFoundError):
            store.root.fs.rm(store.root.path, recursive=True)
        runs, late = Runs(store), TakingOver(store)
        for number in range(2):
            runs.begin(f"run-{number}", number, "train.fit")
            runs.publish("train.fit", f"run-{number}", number, fingerprint=f"kind-{number}")
        changes = {moment: late.look, moment + later: late.say, moment + 2 * later: late.look_again}
        with monkeypatch.context() as patch:
            patch.setattr(Remote, "_try", called_before(whole, changes))
            sweep(store)
        for happens in list(changes.values()):  # the clean-up was over before
            happens()
        assert visible(store) >= {("train.fit", "run-1")}
        assert (("train.fit", "late") in visible(store)) is late.has_it
        sweep(store, keep=2)
        visible(store)


def go_on_publishing(store, worker, over):
    """Runs, one after the other, that take over what another has made of the same, or make it."""
    runs, address = Runs(store), StepRun("train.fit", "baseline", "")
    for number in itertools.count(100):
        if over.is_set() and number > 102:
            return
        run_id, kind = f"{worker}-{number}", f"kind-{number % 3}"
        runs.begin(run_id, number, "train.fit", status="running", process=mark())
        found = store.same(address.of_run(run_id), kind)
        about = {"run_id": run_id, "ended": at(number)}
        if not found or not take_over(store, replace(found, cached=found.origin.run_id, **about)):
            runs.publish("train.fit", run_id, number, fingerprint=kind, content=kind)
        runs.begin(run_id, number, "train.fit")


@pytest.mark.parametrize("cleaners", [1, 2])
def test_runs_that_publish_while_storages_are_cleaned_up_lose_nothing(new_local, cleaners):
    """Also where two clean up at once: the second is told to wait."""
    store = new_local()
    Runs(store).usual(3)
    over = threading.Event()

    def go_on_cleaning():
        while not over.is_set():
            with contextlib.suppress(ProjectError), alone(store):
                sweep(store)

    with ThreadPoolExecutor() as pool:
        working = [pool.submit(go_on_publishing, store, name, over) for name in "ab"]
        working += [pool.submit(go_on_cleaning) for _ in range(cleaners)]
        over.wait(1)
        over.set()
    for each in working:
        each.result()
    assert visible(store)
    sweep(store)
    visible(store)
    assert store.newest("train.fit", "baseline").ended > at(100)


def test_one_clean_up_at_a_time(store):
    store.write(store.root / "file", "")
    with alone(store), pytest.raises(ProjectError, match="is cleaning up"), alone(store):
        pass
    with alone(store) as go_on:
        go_on()
    assert LEASE not in files(store)


def test_a_lease_of_somebody_who_is_gone_is_passed_over(new_memory):
    store = new_memory()
    path = store.root / LEASE
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat(timespec="microseconds")
    store.write(path, json.dumps({"process": GONE, "until": later}))
    with pytest.raises(ProjectError, match=r"elsewhere:1.* is cleaning up"), alone(store):
        pass
    store.write(path, json.dumps({"process": GONE, "until": at(0)}))
    with alone(store) as go_on:
        store.write(path, json.dumps({"process": GONE, "until": later}))
        with pytest.raises(ProjectError, match="is cleaning up"):
            go_on()
    store.write(path, json.dumps({"process": KILLED, "until": later}))
    with alone(store):
        pass


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def project(root, monkeypatch):
    """A project with three runs; commands are called in it."""
    write_project(root, {"load.data": Step(outs={"out": "out.txt"})})
    folder = root / "artefacts"
    Runs(Store(UPath(folder), Layout(PATTERNS[0]), folder)).usual(3)
    monkeypatch.chdir(root)
    return root


def call(*arguments):
    return CliRunner().invoke(cli, ["gc", *arguments], catch_exceptions=False)


def test_a_dry_run_says_what_would_go_and_removes_nothing(project):
    store = Store(UPath(project / "artefacts"), Layout(PATTERNS[0]), project / "artefacts")
    before = files(store)
    told = call("--keep", "2", "--dry-run")
    assert files(store) == before
    assert "Would go" in told.output
    assert "train.fit  run-0  baseline" in told.output
    assert "2 steps of runs, 1 whole run" in told.output
    assert "would be free again" in told.output
    planned = json.loads(call("--keep", "2", "--dry-run", "--json").output)
    done = json.loads(call("--keep", "2", "--json").output)
    assert planned | {"dry_run": False} == done
    assert done["bytes"] > 0
    assert visible(store) == both(1, 2)
    assert "there is nothing to remove" in call("--keep", "2").output


def test_it_says_why_something_stays(project):
    told = call("--keep", "1", "--dry-run", "--explain").output
    assert "load.data  run-2  baseline    among the newest 1 runs of load.data" in told
    kept = json.loads(call("--older-than", "52000w", "--json").output)["kept"]
    assert {each["why"] for each in kept} >= {"among the newest 5 runs of train.fit"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--keep", "0"),
            (
                "dsml gc\n  --keep 0: so many runs of each step stay, and one always does\n"
                "  write a whole number from 1 on: --keep 5\n"
            ),
        ),
        (
            ("--older-than", "30"),
            (
                "dsml gc\n  --older-than 30: that is no age\n"
                "  write hours, days or weeks: --older-than 12h, 30d or 2w\n"
            ),
        ),
    ],
)
def test_what_is_no_number_and_no_age_is_told(project, arguments, message):
    told = call(*arguments)
    assert told.exit_code == 2
    assert told.stderr == message


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("30d", 720), ("2w", 336), (" 1D ", 24)])
def test_ages_are_hours_days_and_weeks(text, hours):
    now = datetime(2024, 5, 6, tzinfo=UTC)
    before = (now - timedelta(hours=hours)).isoformat(timespec="microseconds")
    assert read_rule("3", text, now) == Rule(3, before)


def test_where_mlflow_does_not_answer_nothing_goes(project, monkeypatch):
    catalog = project / "catalog.yml"
    document = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    document["environments"]["dev"]["mlflow"] = "http://127.0.0.1:9"
    catalog.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store = Store(UPath(project / "artefacts"), Layout(PATTERNS[0]), project / "artefacts")
    before = files(store)
    with pytest.raises(ProjectError, match="MLflow"):
        clean(project, Rule(1))
    assert files(store) == before


@pytest.mark.slow
def test_the_runs_of_champions_and_challengers_stay(project, monkeypatch):
    from mlflow import MlflowClient

    from dsml.step.models import asking, client_of
    from dsml.step.tracking import tracking_of

    catalog = project / "catalog.yml"
    document = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    document["environments"]["dev"]["mlflow"] = ".mlflow"
    catalog.write_text(yaml.safe_dump(document), encoding="utf-8")
    with asking(tracking_of(project, read_catalog(project, [])), "test"):
        client: MlflowClient = client_of(tracking_of(project, read_catalog(project, [])))
        client.create_registered_model("small.digits")
        for number, alias in enumerate(("champion", "challenger")):
            tags = {"dsml.run_id": f"run-{number}", "dsml.step": "train.fit"}
            made = client.create_model_version("small.digits", source=str(project), tags=tags)
            client.set_registered_model_alias("small.digits", alias, made.version)
    Runs(Store(UPath(project / "artefacts"), Layout(PATTERNS[0]), project / "artefacts")).usual(
        2, first=3
    )
    kept = {(a.label, a.run_id): why for a, why in clean(project, Rule(1)).kept.items()}
    assert set(kept) == both(0, 1, 4)
    assert kept["train.fit", "run-0"] == "champion of the model small.digits"
    assert kept["train.fit", "run-1"] == "challenger of the model small.digits"
