"""The store: what is published is whole, is found again, and never changes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsml.contract.catalog import read_catalog
from dsml.contract.problem import ProjectError
from dsml.store import Attempt, Curve, Input, Layout, Manifest, Output, StepRun, Store, Value
from dsml.store.manifest import measure
from dsml.store.paths import newest_path
from dsml.store.remote import glob, read

from .projects import PROJECT_FOLDER, Step, broken_artefacts, leftovers, write_project

PATTERNS = (
    "{experiment}/{stage}/{notebook}/{run_id}/{file}",
    "{file}/{experiment}/{stage}/{notebook}/{run_id}",
    "{run_id}/{stage}/{notebook}/{experiment}/{file}",
    "{partition}/{experiment}/{stage}/{notebook}/{run_id}/{file}",
    "all of it/{stage}.{notebook}/{experiment}-{run_id}-{file}",
    "{experiment}/{stage}/{notebook}_{run_id}/{file}",
)
FIT = StepRun("train.fit", "baseline", "run-1")


@pytest.fixture(params=["local", "memory", "s3", "azure"])
def new_store(request):
    """Open a store in a local folder, in memory, and behind the APIs of S3 and Azure."""
    return request.getfixturevalue(f"new_{request.param}")


def at(second):
    return f"2024-05-06T07:08:{second:02d}.000000+00:00"


def manifest_of(address, outputs, ended=None):
    return Manifest(
        **vars(address),
        parameters={"n": Value(3, "default")},
        inputs={},
        outputs=outputs,
        code="c0de",
        git={},
        versions={"python": "3"},
        started=at(0),
        ended=ended or at(1),
        attempts=1,
        executed="attempts/1/executed.ipynb",
    )


def publish(store, address, ended=None, **files):
    """Publish files, named by their outs: `model=b"..."` is the out `model` in `model.bin`."""
    staging = store.stage(address, 1)
    for name, content in files.items():
        (staging.outs / f"{name}.bin").write_bytes(content)
    outputs = {name: measure(staging.outs / f"{name}.bin") for name in files}
    manifest = manifest_of(address, outputs, ended)
    published = store.publish(staging, manifest)
    store.unstage(staging)
    return published


def keep(store, address, number, status="passed", **files):
    staging = store.stage(address, number)
    for name, text in files.items():
        (staging.evidence / f"{name}.txt").write_text(text)
    record = Attempt(
        **vars(address),
        number=number,
        status=status,
        error="" if status == "passed" else "it went wrong",
        started=at(0),
        ended=at(number),
        parameters={"n": Value([1, None], "run")},
        inputs={"x": Input("load.raw.x", "run-0", "x.bin", 3, "abc")},
    )
    store.keep_attempt(staging, record)
    store.unstage(staging)
    return record


# --- publishing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_was_published_is_found_again_under_every_path_pattern(new_store, pattern):
    store = new_store(pattern)
    address = StepRun("train.fit", "baseline", "run-1", "2024-01-01")
    manifest = publish(store, address, model=b"weights")
    reopened = new_store(pattern)
    assert reopened.manifest(address) == manifest
    assert reopened.newest("train.fit", "baseline", "2024-01-01") == manifest
    assert reopened.path(address, "model.bin").read_bytes() == b"weights"


def test_a_file_lies_where_the_pattern_says(new_local):
    address = StepRun("train.fit", "wide", "r1")
    place = new_local().path(address, "model.bin")
    assert place.relative_to(new_local().root).as_posix() == "wide/train/fit/r1/model.bin"
    place = new_local("{file}/{partition}/{stage}.{notebook}/{experiment}/{run_id}").path(
        address, "model.bin"
    )
    assert place.relative_to(new_local().root).as_posix() == "model.bin/all/train.fit/wide/r1"


def test_nothing_is_visible_without_a_manifest(store):
    publish(store, FIT, model=b"weights")
    store.path(FIT, "manifest.json").unlink()
    assert store.path(FIT, "model.bin").exists()
    assert store.manifest(FIT) is None
    assert store.newest("train.fit", "baseline") is None
    assert store.resolve("train.fit.model", FIT) is None


def test_what_is_staged_is_not_visible(store):
    staging = store.stage(FIT, 1)
    (staging.outs / "model.bin").write_bytes(b"half of the wei")
    assert store.manifest(FIT) is None
    assert store.newest("train.fit", "baseline") is None
    assert not store.path(FIT, "model.bin").exists()


def test_a_step_is_published_once_a_run(store):
    publish(store, FIT, model=b"first")
    with pytest.raises(FileExistsError, match=r"train\.fit is published in run run-1"):
        publish(store, FIT, model=b"second")
    assert store.path(FIT, "model.bin").read_bytes() == b"first"


@pytest.mark.parametrize("content", [b"first", b"other", b"second one"])
def test_an_attempt_that_died_while_publishing_can_be_made_again(store, content):
    publish(store, FIT, model=b"first")
    store.path(FIT, "manifest.json").unlink()
    manifest = publish(store, FIT, model=content)
    assert store.manifest(FIT) == manifest
    file = manifest.outputs["model"].file
    assert (file == "model.bin") == (content == b"first")
    assert file.endswith("model.bin")
    assert store.path(FIT, file).read_bytes() == content
    # the first may be alive yet: what it has put there is not touched
    assert store.path(FIT, "model.bin").read_bytes() == b"first"
    reader = store.fetch(store.resolve("train.fit.model", FIT), FIT)
    assert reader.read_bytes() == content


def test_a_published_file_is_read_only(new_local):
    store = new_local()
    publish(store, FIT, model=b"weights")
    assert store.path(FIT, "model.bin").stat().st_mode & 0o222 == 0


def test_nothing_is_left_of_the_staging_folder(store):
    publish(store, FIT, model=b"weights")
    keep(store, FIT, 1, log="lines")
    assert not list(store.work.glob(".staging"))


def test_the_folder_of_a_run_stays_while_another_step_of_it_is_staged(store):
    other = store.stage(StepRun("train.other", "baseline", "run-1"), 1)
    publish(store, FIT, model=b"weights")
    assert other.outs.is_dir()
    store.unstage(other)
    assert not list(store.work.glob(".staging"))


def test_attempts_are_staged_while_others_that_end_remove_the_empty_folders_above(new_local):
    store, over = new_local(), threading.Event()

    def end_others():
        while not over.is_set():
            for folder in (store.work / ".staging" / FIT.run_id, store.work / ".staging"):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            time.sleep(0.0001)  # with none, nothing else gets a chance

    with ThreadPoolExecutor() as pool:
        ended = pool.submit(end_others)
        try:
            for _ in range(300):
                store.unstage(store.stage(FIT, 1))
        finally:
            over.set()
        ended.result()


def test_an_attempt_is_staged_though_the_folder_above_goes_between_two_looks(
    new_local, monkeypatch
):
    mkdir, gone = os.mkdir, []

    def there_and_gone(path, mode=0o777):
        if Path(path).name == ".staging" and not gone:
            gone.append(path)
            raise FileExistsError(path)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", there_and_gone)
    assert new_local().stage(FIT, 1).outs.is_dir()
    assert gone


def test_staging_an_attempt_again_begins_with_nothing(store):
    (store.stage(FIT, 1).outs / "old.bin").write_bytes(b"of an attempt that was killed")
    assert list(store.stage(FIT, 1).outs.iterdir()) == []


# --- which one ------------------------------------------------------------------------------------


def test_the_newest_is_the_one_that_ended_last_whatever_was_published_last(store):
    publish(store, FIT.of_run("late"), at(9), model=b"1")
    publish(store, FIT.of_run("early"), at(3), model=b"2")
    assert store.newest("train.fit", "baseline").run_id == "late"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_its_pointer_the_newest_is_looked_for(new_store, pattern):
    store = new_store(pattern)
    for second, run_id in ((4, "a"), (7, "b"), (5, "c")):
        publish(store, FIT.of_run(run_id), at(second), model=b"1")
    store.at(newest_path(FIT)).unlink()
    assert store.newest("train.fit", "baseline").run_id == "b"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_looking_for_the_newest_does_not_take_a_neighbour_for_it(new_store, pattern):
    store = new_store(pattern)
    publish(store, FIT, at(1), model=b"1")
    for other in (
        StepRun("train.fit_large", "baseline", "run-9"),
        StepRun("train2.fit", "baseline", "run-9"),
        StepRun("train.fit", "baseline-2", "run-9"),
    ):
        publish(store, other, at(9), model=b"9")
    store.at(newest_path(FIT)).unlink()
    assert store.newest("train.fit", "baseline").run_id == "run-1"


def test_a_pointer_to_a_deleted_run_is_no_obstacle(store):
    for second, run_id in ((4, "a"), (7, "b")):
        publish(store, FIT.of_run(run_id), at(second), model=b"1")
    folder = store.path(FIT.of_run("b"), "manifest.json").parent
    folder.fs.rm(folder.path, recursive=True)
    assert store.newest("train.fit", "baseline").run_id == "a"
    assert store.resolve("train.fit.model", FIT.of_run("now")).run_id == "a"


def test_a_pointer_that_cannot_be_read_is_no_obstacle(store):
    publish(store, FIT, model=b"1")
    store.at(newest_path(FIT)).write_bytes(b'{"run_')
    assert store.newest("train.fit", "baseline").run_id == "run-1"
    publish(store, FIT.of_run("run-2"), at(5), model=b"2")
    assert json.loads(store.at(newest_path(FIT)).read_bytes())["run_id"] == "run-2"


def test_an_input_is_the_one_of_this_run_then_the_newest(store):
    publish(store, FIT.of_run("mine"), at(1), model=b"mine")
    publish(store, FIT.of_run("other"), at(9), model=b"other")
    of_mine = store.resolve("train.fit.model", StepRun("score.it", "baseline", "mine"))
    of_new = store.resolve("train.fit.model", StepRun("score.it", "baseline", "new"))
    assert (of_mine.run_id, of_new.run_id) == ("mine", "other")
    assert of_mine == Input("train.fit.model", "mine", "model.bin", 4, of_mine.sha256)


def test_an_input_comes_from_the_same_experiment_and_partition(new_store):
    store = new_store("{experiment}/{partition}/{stage}/{notebook}/{run_id}/{file}")
    publish(store, StepRun("train.fit", "wide", "r", "monday"), model=b"1")
    for experiment, partition in (("baseline", "monday"), ("wide", "tuesday"), ("wide", None)):
        reader = StepRun("score.it", experiment, "now", partition)
        assert store.resolve("train.fit.model", reader) is None
    reader = StepRun("score.it", "wide", "now", "monday")
    assert store.resolve("train.fit.model", reader).run_id == "r"


def test_an_out_that_the_newest_run_does_not_have_is_not_found(store):
    publish(store, FIT, model=b"1")
    assert store.resolve("train.fit.curve", FIT.of_run("now")) is None


def test_an_out_that_this_run_has_left_out_is_not_taken_from_another(store):
    publish(store, FIT.of_run("other"), at(1), model=b"1", curve=b"2")
    publish(store, FIT.of_run("mine"), at(2), model=b"1")
    assert store.resolve("train.fit.curve", StepRun("score.it", "baseline", "mine")) is None


def test_what_this_run_does_not_have_comes_from_the_run_that_it_carries_on(store):
    publish(store, FIT.of_run("first"), at(1), model=b"1")
    publish(store, FIT.of_run("newer"), at(2), model=b"2")
    reader = StepRun("score.it", "baseline", "second")
    assert store.resolve("train.fit.model", reader, ["first"]).run_id == "first"
    assert store.resolve("train.fit.model", reader).run_id == "newer"


def test_what_has_lost_the_files_that_it_took_over_is_not_found(store):
    publish(store, FIT.of_run("run-1"), at(1), model=b"1")
    taken = publish(store, FIT.of_run("run-2"), at(2), model=b"2")
    later = at(3)
    store.record(replace(taken, run_id="run-3", cached="run-2", started=later, ended=later))
    assert store.newest("train.fit", "baseline").run_id == "run-3"
    store.path(FIT.of_run("run-2"), "manifest.json").unlink()
    assert store.newest("train.fit", "baseline").run_id == "run-1"


# --- reading --------------------------------------------------------------------------------------


def test_a_local_file_is_read_in_place(new_local):
    store = new_local()
    publish(store, FIT, model=b"weights")
    found = store.resolve("train.fit.model", FIT)
    assert store.fetch(found, FIT) == Path(store.path(FIT, "model.bin"))


def test_a_remote_file_is_fetched_once_for_each_content(new_remote):
    publish(new_remote(work="writer"), FIT, model=b"weights")
    reader = new_remote(work="reader")
    found = reader.resolve("train.fit.model", FIT)
    local = reader.fetch(found, FIT)
    assert local.read_bytes() == b"weights"
    assert local.is_relative_to(reader.work)
    reader.path(FIT, "model.bin").unlink()
    assert reader.fetch(found, FIT) == local
    assert [path.name for path in reader.work.rglob("[!.]*") if path.is_file()] == ["model.bin"]


def test_threads_that_want_the_same_remote_file_at_once_all_get_it(new_remote):
    content = b"weights" * 100_000
    publish(new_remote(work="writer"), FIT, model=content)
    for attempt in range(10):
        reader = new_remote(work=f"reader {attempt}")
        found = reader.resolve("train.fit.model", FIT)
        with ThreadPoolExecutor(8) as pool:
            got = [pool.submit(reader.fetch, found, FIT) for _ in range(8)]
        assert all(future.result().read_bytes() == content for future in got)


def test_the_writer_of_a_remote_file_need_not_fetch_it(new_remote):
    store = new_remote()
    publish(store, FIT, model=b"weights")
    store.path(FIT, "model.bin").unlink()
    assert store.fetch(store.resolve("train.fit.model", FIT), FIT).read_bytes() == b"weights"


def test_measuring_a_file_gives_name_size_and_sha256(tmp_path):
    file = tmp_path / "abc.txt"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert measure(file) == Output("abc.txt", 3, digest)


# --- attempts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_attempt_is_kept(new_store, pattern):
    store = new_store(pattern)
    records = [
        keep(store, FIT, 1, "failed", log="first"),
        keep(store, FIT, 2, "passed", log="second"),
    ]
    assert store.attempts(FIT) == records
    assert store.path(FIT, "attempts/1/log.txt").read_text() == "first"
    assert store.path(FIT, "attempts/2/log.txt").read_text() == "second"


def test_a_failed_attempt_publishes_nothing(store):
    keep(store, FIT, 1, "failed", log="first")
    assert store.manifest(FIT) is None
    assert store.newest("train.fit", "baseline") is None


# --- records --------------------------------------------------------------------------------------

# Of files, folders, runs: others are refused, see test_roots.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0."), min_size=1, max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda j: st.lists(j, max_size=3) | st.dictionaries(NAMES, j, max_size=3), max_leaves=8
)
VALUES = st.builds(Value, JSON, st.sampled_from(["default", "experiment", "run"]))
INPUTS = st.builds(Input, NAMES, NAMES, NAMES, st.integers(0), NAMES)
OUTPUTS = st.builds(Output, NAMES, st.integers(0), NAMES)


def named(values):
    return st.dictionaries(NAMES, values, max_size=3)


MANIFESTS = st.builds(
    Manifest,
    step=NAMES,
    run_id=NAMES,
    experiment=NAMES,
    partition=st.none() | NAMES,
    parameters=named(VALUES),
    inputs=named(INPUTS),
    outputs=named(OUTPUTS),
    code=NAMES,
    git=named(SCALARS),
    versions=named(NAMES),
    started=NAMES,
    ended=NAMES,
    attempts=st.integers(1),
    executed=NAMES,
    logged=named(SCALARS),
    metrics=named(FINITE | NAMES),
    curves=named(st.builds(Curve, st.integers(2), st.none() | FINITE, st.none() | FINITE)),
)
ATTEMPTS = st.builds(
    Attempt,
    step=NAMES,
    run_id=NAMES,
    experiment=NAMES,
    partition=st.none() | NAMES,
    number=st.integers(1),
    status=st.sampled_from(["passed", "failed", "cancelled"]),
    error=st.text(),
    started=NAMES,
    ended=NAMES,
    parameters=named(VALUES),
    inputs=named(INPUTS),
)


@given(MANIFESTS | ATTEMPTS)
def test_a_record_is_the_same_after_writing_and_reading(record):
    text = record.to_json()
    assert type(record).from_json(text) == record
    assert type(record).from_json(text.encode()) == record
    assert text.endswith("}\n")


def test_a_field_of_a_newer_version_is_passed_over():
    manifest = manifest_of(FIT, {"model": Output("model.bin", 3, "abc")})
    newer = json.loads(manifest.to_json()) | {"version": 2, "cached": True}
    assert Manifest.from_json(json.dumps(newer)).outputs == manifest.outputs


# --- opening --------------------------------------------------------------------------------------


def opened(root, storage, **arguments):
    write_project(root, {"a.b": Step()}, storage=storage, **arguments)
    return Store.open(root, read_catalog(root, []))


def test_a_relative_storage_starts_at_the_project(root):
    store = opened(root, "some where")
    assert (store.root, store.work, store.is_local) == (root / "some where",) * 2 + (True,)


def test_what_is_not_yet_in_remote_storage_is_kept_in_the_project(root):
    store = opened(root, "memory://somewhere", pattern=PATTERNS[1])
    assert str(store.root) == "memory://somewhere"
    assert store.work == root / ".dagster" / "work" / "dev"
    assert store.layout == Layout(PATTERNS[1])
    assert not store.is_local


def test_an_unknown_environment_names_the_nearest(root, monkeypatch):
    monkeypatch.setenv("DSML_ENV", "dve")
    with pytest.raises(ProjectError) as refused:
        opened(root, "artefacts")
    assert str(refused.value).splitlines() == [
        "DSML_ENV",
        "  there is no environment 'dve'",
        "  did you mean 'dev'?",
    ]


# --- kill -9 --------------------------------------------------------------------------------------

PUBLISH_FOR_EVER = """
    import itertools, os, random, signal, sys, time
    from pathlib import Path
    from upath import UPath
    from dsml.store import Layout, Manifest, StepRun, Store
    from dsml.store.manifest import measure

    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    store = Store(UPath(folder), Layout(sys.argv[3]), folder)

    def publish_for_ever(number):
        for count in itertools.count():
            address = StepRun("train.fit", "baseline", f"r{number}-{count}")
            staging = store.stage(address, 1)
            for name in "abc":
                (staging.outs / name).write_bytes(random.randbytes(random.randrange(200_000)))
            (staging.evidence / "log.txt").write_text("a line" * 1000)
            outputs = {name: measure(staging.outs / name) for name in "abc"}
            manifest = Manifest(
                "train.fit", address.run_id, "baseline", None, {}, {}, outputs, "", {}, {}, "",
                f"{time.time():.6f}", 1, ""
            )
            store.publish(staging, manifest)
            store.unstage(staging)

    for number in range(rounds):
        child = os.fork()
        if child == 0:
            publish_for_ever(number)
        time.sleep(random.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        newest = store.newest("train.fit", "baseline")
        for output in newest.outputs.values() if newest else ():
            path = store.path(StepRun("train.fit", "baseline", newest.run_id), output.file)
            assert measure(path).sha256 == output.sha256, path
"""


def test_a_kill_at_any_moment_of_publishing_leaves_every_visible_artefact_whole(tmp_path):
    folder, rounds = tmp_path / "a store", 150
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PUBLISH_FOR_EVER), folder, str(rounds), PATTERNS[0]],
        cwd=PROJECT_FOLDER,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(folder.rglob("manifest.json"))) > rounds / 10
    assert broken_artefacts(folder) == []
    # the killings hit what they were meant to hit: something was under way
    assert leftovers(folder)


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_is(store):
    for name in ("a[b]", "ab"):
        store.write(store.at(f"{name}/c.json"), name)
    assert [read(path) for path in glob(store.root, "a[b]/*.json")] == [b"a[b]"]
    assert {path.parent.name for path in glob(store.root, "*/c.json")} == {"a[b]", "ab"}


def test_folders_that_others_remove_while_they_are_looked_through_are_passed_over(
    tmp_path, monkeypatch
):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").touch()
    scan = os.scandir

    def scan_late(path):
        if str(path).endswith("b"):
            shutil.rmtree(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_late)
    assert {path.parent.name for path in glob(tmp_path, "*/*")} == {"a", "c"}
