"""Several at the same step of the same run: one publishes, and nothing of it is spoilt."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.contract.problem import Where
from dsml.orchestrate.materialise import BY_ANOTHER
from dsml.store import Layout, Store, once
from dsml.store.manifest import measure
from dsml.store.once import AlreadyPublished
from dsml.store.remote import open_root
from dsml.store.runs import begin

from .conftest import execute
from .projects import PROJECT_FOLDER, Step, broken_artefacts, write_project
from .test_store import FIT, PATTERNS, at, keep, manifest_of

FILES = ("model.bin", "curve.bin")


@pytest.fixture(params=["local", "memory", "s3", "azure"])
def new_store(request):
    """Open a store in a local folder, in memory, and behind a real S3 API."""
    return request.getfixturevalue(f"new_{request.param}")


class Publisher:
    """One of several who publish a step; `content` is what it has made of it."""

    def __init__(self, store, number, content):
        self.store = store
        self.staging = store.stage(FIT, number)
        for name in FILES:
            (self.staging.outs / name).write_bytes(content)
        outputs = {name.partition(".")[0]: measure(self.staging.outs / name) for name in FILES}
        self.manifest = manifest_of(FIT, outputs, at(number))
        self.published = None

    def publish(self):
        """Whether this was the first."""
        try:
            self.published = self.store.publish(self.staging, self.manifest)
        except AlreadyPublished:
            return False
        return True


def look(store):
    """What is published of the step, all of whose files are what the manifest says."""
    found = store.manifest(FIT)
    for output in found.outputs.values() if found else ():
        content = store.path(FIT, output.file).read_bytes()
        assert len(content) == output.bytes, output
        assert measured(content) == output.sha256, output
    return found


def measured(content):
    return hashlib.sha256(content).hexdigest()


# --- any order of their calls, and a death at any of them -----------------------------------------


class Killed(BaseException):
    """What ends a publisher at a call, as kill -9 does."""


class Turns:
    """Lets threads do one call at a time, in the order that is given; `None` ends the next."""

    def __init__(self, order, look):
        self._order = iter(order)
        self._look = look
        self._turn = threading.Condition()
        self._waiting = {}
        self._alive = set()

    def run(self, works):
        threads = [threading.Thread(target=self._work, args=each) for each in enumerate(works)]
        self._alive = set(range(len(works)))
        for thread in threads:
            thread.start()
        while True:
            with self._turn:
                # all that go on have come to a call
                assert self._turn.wait_for(lambda: self._waiting.keys() >= self._alive, 5)
                if not self._alive:
                    break
                picked, kill = next(self._order, (0, False))
                number = sorted(self._alive)[picked % len(self._alive)]
                self._waiting.pop(number)
                self._go = (number, kill)
                self._turn.notify_all()
                assert self._turn.wait_for(lambda: self._go is None, 5)
            with self._turn:
                assert self._turn.wait_for(lambda: self._waiting.keys() >= self._alive, 5)
            self._look()
        for thread in threads:
            thread.join()

    _go = None

    def _work(self, number, work):
        _current.number = number
        try:
            work()
        except Killed:
            pass
        finally:
            _current.number = None
            with self._turn:
                self._alive.discard(number)
                self._turn.notify_all()

    def call(self):
        """Wait for the turn of this thread."""
        number = getattr(_current, "number", None)
        if number is None:
            return
        with self._turn:
            self._waiting[number] = True
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._go is not None and self._go[0] == number, 5)
            kill = self._go[1]
            self._go = None
            self._turn.notify_all()
        if kill:
            raise Killed


_current = threading.local()
TURNS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([False] * 9 + [True])), max_size=40)
CONTENTS = st.lists(st.sampled_from([b"one", b"two", b"longer"]), min_size=2, max_size=3)


def gated(monkeypatch, turns):
    """Have every call by which a store changes or is read wait for its turn."""

    def gate(owner, name):
        whole = getattr(owner, name)

        def call(*args, **kwargs):
            turns[0].call()
            return whole(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    gate(os, "link")
    gate(once, "_place_locked")
    gate(Store, "manifest")
    gate(Store, "write")
    gate(once, "_ask")
    gate(once, "_is_same")


@pytest.mark.parametrize("kind", ["local", "memory", "a disk without links"])
def test_in_whatever_order_they_publish_and_die_the_first_manifest_stays_whole(
    tmp_path, monkeypatch, kind
):
    turns = [None]
    if kind == "a disk without links":
        monkeypatch.setattr(os, "link", no_links)
    gated(monkeypatch, turns)

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(order=TURNS, contents=CONTENTS)
    def hold(order, contents):
        folder = tmp_path / uuid.uuid4().hex
        root = UPath(folder)
        if kind == "memory":
            root = open_root(f"memory://{folder.name}", Where("catalog.yml"), "storage")
        store = Store(root, Layout(DEFAULT_PATTERN), folder)
        publishers = [Publisher(store, number, c) for number, c in enumerate(contents, 1)]
        first = []

        def check():
            found = look(store)
            assert not first or found == first[0], "what is published has changed"
            if found and not first:
                first.append(found)

        turns[0] = Turns(order, check)
        done = []
        turns[0].run([lambda p=p: done.append(p.publish()) for p in publishers])
        check()
        assert done.count(True) <= 1
        if len(done) == len(publishers):
            assert done.count(True) == 1
        # and whoever was killed: the next one publishes, or finds what is published
        last = Publisher(store, 9, b"the last")
        assert last.publish() == (not first)
        assert look(store) == (first[0] if first else last.published)
        assert store.resolve("train.fit.model", FIT).run_id == FIT.run_id

    hold()


def no_links(*_args, **_kwargs):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


# --- for real -------------------------------------------------------------------------------------


def test_of_many_at_once_one_publishes(new_store):
    store = new_store()
    for run in range(4):
        contents = [b"1" * 5000, b"2" * 5000, b"3" * 7, b"1" * 5000]
        address = FIT.of_run(f"run-{run}")
        publishers = [Publisher(store, n, content) for n, content in enumerate(contents, 1)]
        for number, publisher in enumerate(publishers):
            publisher.manifest = manifest_of(address, publisher.manifest.outputs, at(number))
        together = threading.Barrier(len(publishers))

        def publish(publisher, together=together):
            together.wait()
            try:
                return store.publish(publisher.staging, publisher.manifest)
            except AlreadyPublished:
                return None

        with ThreadPoolExecutor(len(publishers)) as pool:
            done = [found for found in pool.map(publish, publishers) if found]
        assert done == [store.manifest(address)]
        for output in done[0].outputs.values():
            content = store.path(address, output.file).read_bytes()
            assert measured(content) == output.sha256
        assert {out.sha256 for out in done[0].outputs.values()} <= {measured(c) for c in contents}


AT_ONCE = """
    import sys, time
    from pathlib import Path
    from upath import UPath
    from dsml.store import Layout, Manifest, StepRun, Store
    from dsml.store.once import AlreadyPublished
    from dsml.store.manifest import measure

    folder, own = Path(sys.argv[1]), sys.argv[2]
    begin, store, won = float(sys.argv[4]), Store(UPath(folder), Layout(sys.argv[5]), folder), 0
    for number in range(int(sys.argv[3])):
        address = StepRun("train.fit", "baseline", f"r{number}")
        staging = store.stage(address, int(own))
        for name in "abc":
            (staging.outs / name).write_bytes(own.encode() * 50_000)
        outputs = {name: measure(staging.outs / name) for name in "abc"}
        manifest = Manifest(
            "train.fit", address.run_id, "baseline", None, {}, {}, outputs, "", {}, {}, "",
            f"{own}", 1, ""
        )
        while time.time() < begin + number * 0.01:
            pass
        try:
            store.publish(staging, manifest)
            won += 1
        except AlreadyPublished:
            pass
        store.unstage(staging)
    print(won)
"""


def test_processes_that_publish_the_same_runs_leave_each_of_them_once_and_whole(tmp_path):
    folder, rounds, begin = tmp_path / "a store", 100, time.time() + 2
    arguments = [str(rounds), str(begin), DEFAULT_PATTERN]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(AT_ONCE), folder, own, *arguments],
            cwd=PROJECT_FOLDER,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in "123"
    ]
    won = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(won) == rounds
    assert len(list(folder.rglob("manifest.json"))) == rounds
    assert broken_artefacts(folder) == []


def test_a_file_that_somebody_else_has_put_there_gets_no_other_content(new_store):
    store = new_store()
    first, second = Publisher(store, 1, b"first"), Publisher(store, 2, b"second")
    once.place(first.staging.outs / "model.bin", store.path(FIT, "model.bin"))
    assert second.publish()
    # the first one goes on after all
    assert not Publisher(store, 3, b"first").publish()
    assert store.path(FIT, "model.bin").read_bytes() == b"first"
    name = second.published.outputs["model"].file
    assert name == f"{measured(b'second')[:12]}.model.bin"
    assert store.path(FIT, name).read_bytes() == b"second"
    assert second.published.outputs["curve"].file == "curve.bin"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_killed_attempt_has_put_there_is_used_wherever_the_name_stands(new_store, pattern):
    store = new_store(pattern)
    killed, next_one = Publisher(store, 1, b"same"), Publisher(store, 2, b"same")
    once.place(killed.staging.outs / "model.bin", store.path(FIT, "model.bin"))
    assert next_one.publish()
    assert look(store).outputs["model"].file == "model.bin"


def test_a_storage_that_knows_no_conditional_puts_is_looked_into_before(new_s3, monkeypatch):
    store = new_s3()
    system = store.root.fs.system

    def refusing(call):
        def refuse(*args, mode="overwrite", **kwargs):
            if mode == "create":
                raise OSError(errno.ENOSYS, "A header you provided implies functionality")
            return call(*args, **kwargs)

        return refuse

    monkeypatch.setattr(system, "put_file", refusing(system.put_file))
    monkeypatch.setattr(system, "pipe_file", refusing(system.pipe_file))
    assert Publisher(store, 1, b"first").publish()
    assert not Publisher(store, 2, b"second").publish()
    assert look(store).ended == at(1)


def test_a_storage_that_says_otherwise_that_there_is_something_is_understood(new_s3, monkeypatch):
    store = new_s3()
    assert Publisher(store, 1, b"first").publish()

    refused = ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")

    def refuse(*_, **__):
        raise OSError(errno.EINVAL, "At least one precondition failed") from refused

    monkeypatch.setattr(store.root.fs.system, "pipe_file", refuse)
    with pytest.raises(AlreadyPublished):
        store.record(manifest_of(FIT, {}))


# --- attempts -------------------------------------------------------------------------------------


def test_attempts_that_have_no_record_do_not_hide_later_ones(new_store):
    store = new_store()
    record = keep(store, FIT, 1)
    for number in (1, 2, 3):  # the second is killed
        assert begin(store, replace(record, started=at(number))).number == number
    keep(store, FIT, 3)
    assert [attempt.number for attempt in store.attempts(FIT)] == [1, 3]


SAME = """
import os, random, time, uuid
from pathlib import Path
Path("../../began", uuid.uuid4().hex).touch()
while len(list(Path("../../began").iterdir())) < 2:
    time.sleep(0.01)
context.save("x", [context.retry_number, random.random()])
"""


@pytest.mark.slow
def test_two_who_run_the_same_step_of_the_same_run_both_pass_with_the_results_of_one(root):
    write_project(root, {"a.b": Step(SAME, outs={"x": "x.json"})})
    (root / "began").mkdir()
    run_id = str(uuid.uuid4())
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: execute(root, run_id=run_id), range(2)))
    assert [ran.passed for ran in both] == [True, True]
    assert sorted(f"a.b {BY_ANOTHER}" in ran.log for ran in both) == [False, True]
    folder = root / "artefacts" / "baseline" / "a" / "b" / run_id
    manifest = both[0].manifest("a.b")
    saved = json.loads((folder / manifest.outputs["x"].file).read_bytes())
    assert saved[0] == manifest.attempts - 1
    assert broken_artefacts(root / "artefacts") == []
    # and the notebook of each is kept, with its record
    for number in (1, 2):
        kept = folder / "attempts" / str(number)
        assert json.loads((kept / "attempt.json").read_bytes())["number"] == number
        assert (kept / "executed.ipynb").exists()
    assert manifest.executed == f"attempts/{manifest.attempts}/executed.ipynb"
