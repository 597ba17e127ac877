"""The parts of the store one by one: addresses, notes of runs, what is missing, calls that fail."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.store import Input, Layout, Output, StepRun, remote
from dsml.store.cache import Cache
from dsml.store.manifest import MANIFEST_FILE, InstanceRun, LoggedModel, Manifest, Plan
from dsml.store.missing import is_missing, newest_of
from dsml.store.paths import leads_away, same_path
from dsml.store.remote import Patience, delete, glob, read, read_if_there
from dsml.store.runs import (
    RunRecord,
    begin,
    has_attempts,
    keep_run,
    note_cached,
    noted,
    read_run,
    run_ids,
    run_path,
)
from dsml.store.takeover import take_over

from .projects import Step, write_project
from .test_store import FIT, at, keep, manifest_of, publish

KEY = StepRun("train.fit", "baseline", "run-1", "monday", "n100")


# --- addresses ------------------------------------------------------------------------------------


def test_an_instance_is_called_by_its_step_and_its_key():
    assert (FIT.label, KEY.label) == ("train.fit", "train.fit[n100]")
    assert FIT.named("train.fit[n100]") == replace(KEY, partition=None)
    assert KEY.named("load.raw") == StepRun("load.raw", "baseline", "run-1", "monday")
    assert KEY.of_instance(None).of_run("run-2") == replace(KEY, instance=None, run_id="run-2")


def test_equal_results_are_noted_by_experiment_partition_and_instance():
    assert same_path(FIT, "f00") == ".same/baseline/all/train.fit/f00.json"
    assert same_path(KEY, "f00") == ".same/baseline/monday/train.fit[n100]/f00.json"


def test_an_instance_has_a_folder_of_its_own_in_that_of_its_step():
    layout = Layout("{experiment}/{partition}/{stage}/{notebook}/{run_id}/{file}")
    assert layout.path(FIT, "a/x.bin") == "baseline/all/train/fit/run-1/a/x.bin"
    assert layout.path(KEY, "x.bin") == "baseline/monday/train/fit/run-1/instances/n100/x.bin"


@pytest.mark.parametrize("path", ["..", "a/..", "a/./b", ".", "a\\b", "a/b\0c"])
def test_a_path_that_leaves_its_folder_is_known(path):
    assert leads_away(path)


@pytest.mark.parametrize("path", ["a", "a/b.c", "..a", "a..", "a/.b", "..."])
def test_a_path_that_stays_in_its_folder_is_known(path):
    assert not leads_away(path)


@pytest.mark.parametrize("field", ["step", "experiment", "run_id", "partition", "instance"])
def test_an_address_that_leads_out_of_its_folder_is_refused(field):
    with pytest.raises(ProjectError) as refused:
        replace(KEY, **{field: "a/b"})
    assert str(refused.value).splitlines() == [
        "storage",
        "  'a/b' leads out of its folder, so it is neither read nor written",
        "  find out who has changed what lies in the storage, and restore it",
    ]


@pytest.mark.parametrize("field", ["run_id", "file", "sha256", "partition", "instance"])
def test_an_input_that_leads_out_of_its_folder_is_refused(field):
    with pytest.raises(ProjectError, match="'a/b' leads out of its folder"):
        replace(Input("a.b.x", "r", "x", 1, "aa", "", "monday", "n1"), **{field: "a/b"})


# --- records --------------------------------------------------------------------------------------


def test_the_hash_of_several_parts_is_that_of_their_keys_contents_and_order():
    one, two = Output("a", 3, "aa"), Output("a", 4, "bb")
    whole = Output.of_parts({"x": one, "y": two})
    assert (whole.file, whole.bytes, list(whole.parts)) == ("", 7, ["x", "y"])
    others = [{"y": two, "x": one}, {"x": two, "y": one}, {"x": one, "z": two}, {"x": one}]
    assert len({whole.sha256, *(Output.of_parts(parts).sha256 for parts in others)}) == 5
    assert Output.of_parts({"x": replace(one, file="b"), "y": two}).sha256 == whole.sha256


def test_an_input_of_several_parts_is_as_new_as_the_newest_of_them():
    parts = {
        "x": Input("a.b.x", "r1", "x", 3, "aa", at(1)),
        "y": Input("a.b.x", "r2", "x", 4, "bb", at(2)),
    }
    whole = Input.of_parts("a.b.x", "r", parts)
    outputs = {key: Output(part.file, part.bytes, part.sha256) for key, part in parts.items()}
    assert (whole.bytes, whole.sha256) == (7, Output.of_parts(outputs).sha256)
    assert (whole.path, whole.run_id, whole.file, whole.published) == ("a.b.x", "r", "", at(2))
    assert whole.parts == parts
    assert Input.of_parts("a.b.x", "r", {}).published == ""


def test_a_plan_is_the_same_after_writing_and_reading(store):
    assert store.plan(FIT) is None
    parts = {"k": Input("a.b.x", "r1", "x", 3, "aa")}
    plan = Plan({"n1": {"n": 1}, "n2": {"n": 2}}, {"x": Input.of_parts("a.b.x", "r", parts)})
    store.keep_plan(FIT, plan)
    assert store.plan(FIT) == plan
    assert list(store.plan(FIT).instances) == ["n1", "n2"]


def test_models_and_instances_of_a_manifest_are_the_same_after_writing_and_reading():
    manifest = replace(
        manifest_of(FIT, {"m": Output.of_parts({"n1": Output("m.bin", 1, "aa")})}),
        models={"digits": LoggedModel("models/digits", "sklearn", signature=True)},
        instances={"n1": InstanceRun("run-0", {"n": 1})},
        files={"a": "a.txt"},
        checks=[{"out": "m", "passed": True}],
        fingerprint="f00",
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_what_a_step_reads_of_a_mapped_one_names_the_run_and_the_values_of_each_instance():
    outputs = {
        "m": Output.of_parts({"n1": Output("m.bin", 1, "aa"), "n2": Output("m.bin", 2, "b")})
    }
    instances = {"n1": InstanceRun("run-0", {"n": 1}), "n2": InstanceRun("run-1", {"n": 2})}
    address = replace(KEY, instance=None)
    found = replace(manifest_of(address, outputs, at(5)), instances=instances).as_input("m")
    assert (found.path, found.run_id, found.file, found.bytes) == ("train.fit.m", "run-1", "", 3)
    assert (found.published, found.partition, found.instance) == (at(5), "monday", None)
    assert found.parts == {
        "n1": Input("train.fit.m", "run-0", "m.bin", 1, "aa", at(5), "monday", "n1", {"n": 1}),
        "n2": Input("train.fit.m", "run-1", "m.bin", 2, "b", at(5), "monday", "n2", {"n": 2}),
    }
    assert {part.published for part in found.parts.values()} == {at(5)}


def test_what_was_taken_over_is_read_where_it_lies():
    taken = replace(manifest_of(FIT, {"m": Output("m.bin", 1, "aa")}), cached="run-0")
    found = taken.as_input("m")
    assert (found.run_id, found.bytes, found.parts) == ("run-0", 1, None)
    assert taken.origin == FIT.of_run("run-0")


def test_a_manifest_of_an_older_version_may_lack_what_came_later():
    manifest = manifest_of(FIT, {"m": Output("m.bin", 1, "aa")})
    known = json.loads(manifest.to_json())
    for name in ("curves", "models", "instances", "instance", "files", "checks", "fingerprint"):
        del known[name]
    assert Manifest.from_json(json.dumps(known)) == manifest


# --- copies of what is remote ---------------------------------------------------------------------


@pytest.fixture
def cache(new_memory, tmp_path):
    """Copies up to 150 bytes; `cache.of("a")` fetches one of 100, used `age` seconds ago."""
    store = new_memory()
    contents = {name: name.encode() * 100 for name in "abc"}
    outputs = publish(store, FIT, **contents).outputs
    cache = Cache(tmp_path / "copies", 150)

    def of(name, age=0.0):
        copy = cache.fetch(store.path(FIT, f"{name}.bin"), outputs[name])
        moment = copy.stat().st_mtime - age
        os.utime(copy, (moment, moment))
        (cache.folder / ".cleared").unlink(missing_ok=True)
        return copy

    cache.of, cache.outputs, cache.store = of, outputs, store
    return cache


def test_copies_that_were_just_used_stay_though_they_are_too_many(cache):
    copies = [cache.of(name) for name in "abc"]
    cache.clear()
    assert [copy.exists() for copy in copies] == [True] * 3


def test_no_more_copies_go_than_is_needed(cache):
    copies = [cache.of(name, 600 - 100 * number) for number, name in enumerate("abc")]
    cache.clear()
    assert [copy.exists() for copy in copies] == [False, False, True]
    cache.clear()
    assert copies[2].read_bytes() == b"c" * 100


def test_of_many_calls_within_a_minute_one_clears(cache):
    cache.limit = 1000
    copies = [cache.of(name, 600) for name in "ab"]
    cache.limit = 150
    (cache.folder / ".cleared").touch()
    cache.clear()
    assert [copy.exists() for copy in copies] == [True, True]
    minute_ago = time.time() - 61
    os.utime(cache.folder / ".cleared", (minute_ago, minute_ago))
    cache.clear()
    assert [copy.exists() for copy in copies].count(True) == 1


def test_a_download_that_nobody_has_finished_goes_after_a_day(cache):
    old, young = (cache.of("a").with_name(name) for name in (".old", ".young"))
    for file, age in ((old, 90_000), (young, 80_000)):
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    cache.clear()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_copy_of_another_size_is_fetched_again(cache):
    copy = cache.of("a")
    copy.chmod(0o600)
    copy.write_bytes(b"cut off")
    assert cache.of("a").read_bytes() == b"a" * 100
    assert [path.name for path in copy.parent.iterdir()] == ["a.bin"]


def test_what_is_not_what_was_published_is_told_by_its_kind(cache):
    cache.store.path(FIT, "a.bin").write_bytes(b"other")
    with pytest.raises(ProjectError) as error:
        cache.fetch(cache.store.path(FIT, "a.bin"), cache.outputs["a"], lambda _: None)
    assert [problem.name for problem in error.value.problems] == ["damaged-artefact"]


def test_where_a_disk_has_no_links_a_file_is_copied(cache, tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "link", no_links)
    source, output = cache.store.path(FIT, "a.bin"), cache.outputs["a"]
    lent = cache.lend(source, output, tmp_path / "step")
    assert lent == tmp_path / "step" / output.sha256[:16] / "a.bin"
    assert lent.read_bytes() == b"a" * 100


def test_what_was_published_from_here_is_moved_in_and_not_fetched(cache, tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"a" * 100)
    cache.take(file, cache.outputs["a"])
    cache.store.path(FIT, "a.bin").unlink()
    assert cache.of("a").read_bytes() == b"a" * 100
    assert not file.exists()


# --- looking for what was published ---------------------------------------------------------------


def test_each_partition_has_a_newest_of_its_own(store):
    for partition, run_id, second in (("mon", "a", 1), ("mon", "b", 2), ("tue", "c", 1)):
        publish(store, StepRun("train.fit", "baseline", run_id, partition), at(second), m=b"1")
    publish(store, FIT, m=b"1")  # of no partition
    publish(store, StepRun("train.fit", "wide", "d", "wed"), m=b"1")
    found = store.newest_each("train.fit", "baseline")
    assert {key: manifest.run_id for key, manifest in found.items()} == {"mon": "b", "tue": "c"}
    store.path(StepRun("train.fit", "baseline", "c", "tue"), "manifest.json").unlink()
    assert list(store.newest_each("train.fit", "baseline")) == ["mon"]


def test_what_was_published_is_listed_by_step_experiment_and_the_beginning_of_a_run(store):
    for experiment, run_id in (("baseline", "ab1"), ("baseline", "ac2"), ("wide", "ab3")):
        publish(store, StepRun("train.fit", experiment, run_id), m=b"1")
    publish(store, StepRun("train.other", "baseline", "ab1"), m=b"1")

    def listed(*given):
        return sorted(manifest.run_id for manifest in store.published("train.fit", *given))

    assert listed() == ["ab1", "ab3", "ac2"]
    assert listed("baseline") == ["ab1", "ac2"]
    assert listed("baseline", "ab") == ["ab1"]
    assert listed(None, "ab") == ["ab1", "ab3"]


def test_equal_results_are_found_while_their_files_are_there(store):
    manifest = publish(store, FIT, m=b"1")
    assert store.same(FIT, "f00") is None
    known = replace(manifest, fingerprint="f00")
    store.write(store.path(FIT, MANIFEST_FILE), known.to_json())
    store.settle(known)
    now = FIT.of_run("now")
    assert store.same(now, "f00").run_id == "run-1"
    assert store.same(now, "f01") is None
    assert store.same(replace(now, experiment="wide"), "f00") is None
    store.path(FIT, "m.bin").unlink()
    assert store.same(now, "f00") is None


def test_what_was_taken_over_is_no_result_for_others(store):
    publish(store, FIT, m=b"1")
    taken = replace(store.manifest(FIT), run_id="run-2", fingerprint="f00", cached="run-1")
    store.record(taken)
    assert store.manifest(FIT.of_run("run-2")) == taken
    assert store.same(FIT, "f00") is None


def test_an_instance_is_not_the_newest_of_its_step(store):
    publish(store, FIT, at(1), m=b"1")
    store.record(replace(manifest_of(FIT, {}, at(9)), run_id="run-2", instance="n1"))
    assert store.newest("train.fit", "baseline").run_id == "run-1"


def test_whatever_was_published_late_the_pointer_names_what_ended_last(store):
    publish(store, FIT, at(5), m=b"1")
    publish(store, FIT.of_run("run-2"), at(4), m=b"1")
    content = json.loads(read(store.root / ".newest" / "baseline" / "all" / "train.fit.json"))
    assert content == {"run_id": "run-1", "ended": at(5)}


def test_what_takes_over_files_that_are_going_is_withdrawn(store):
    manifest = publish(store, FIT, m=b"1")
    taken = replace(manifest, run_id="run-2", cached="run-1")
    assert take_over(store, taken)
    assert store.manifest(FIT.of_run("run-2")) == taken
    store.path(FIT, "manifest.json").unlink()
    assert not take_over(store, replace(taken, run_id="run-3"))
    assert store.manifest(FIT.of_run("run-3")) is None


# --- what is missing ------------------------------------------------------------------------------

CHAIN = {
    "a.b": Step(outs={"x": {"file": "x.bin", "optional": True}, "y": "y.bin"}),
    "a.c": Step(ins={"x": "a.b.x"}, outs={"z": "z.bin"}),
    "a.d": Step(after=["a.c"]),
}


@pytest.fixture
def missing(root, store):
    """Whether anything of the chain is missing once some of it has been published."""
    write_project(root, CHAIN)
    registered = load_project(root).registered
    steps = [registered[name] for name in CHAIN]

    def missing(published, partition=None):
        for number, (step, outs) in enumerate(published.items()):
            address = StepRun(step, "baseline", f"r{number}", partition)
            publish(store, address, **dict.fromkeys(outs, b"1"))
        newest = newest_of(store, steps, "baseline", each=partition is not None)
        return is_missing(steps, newest, partition)

    return missing


@pytest.mark.parametrize("partition", [None, "monday"])
@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ({}, True),
        ({"a.b": "y"}, False),  # the optional out was not written, so the others are skipped
        ({"a.b": "xy"}, True),
        ({"a.b": "xy", "a.c": "z"}, True),
        ({"a.b": "xy", "a.c": "z", "a.d": ""}, False),
        ({"a.c": "z", "a.d": ""}, True),
    ],
)
def test_a_step_is_missing_unless_it_was_skipped(missing, published, expected, partition):
    assert missing(published, partition) is expected


def test_what_one_partition_has_is_missing_in_another(root, store):
    write_project(root, {"a.b": CHAIN["a.b"]})
    steps = [load_project(root).registered["a.b"]]
    publish(store, StepRun("a.b", "baseline", "r", "monday"), y=b"1")
    newest = newest_of(store, steps, "baseline", each=True)
    assert [is_missing(steps, newest, key) for key in ("monday", "tuesday")] == [False, True]


def test_of_a_step_outside_of_the_pipeline_nothing_is_asked(root, store):
    write_project(root, CHAIN)
    steps = [load_project(root).registered[name] for name in ("a.c", "a.d")]
    assert is_missing(steps, newest_of(store, steps, "baseline", each=False), None)


# --- notes of runs --------------------------------------------------------------------------------

RUN = RunRecord(
    run_id="run-1",
    project="digits",
    pipeline="training",
    experiment="baseline",
    partition=None,
    started=at(0),
    steps={"load.raw": [], "train.fit": ["load.raw"]},
    git={"commit": "c0de", "dirty": False},
)


def test_the_record_of_a_run_is_the_same_after_writing_and_reading(store):
    assert read_run(store, "run-1") is None
    keep_run(store, RUN)
    assert read_run(store, "run-1") == RUN
    assert RUN.status == "running"
    keep_run(store, replace(RUN, status="passed", ended=at(9)))
    assert (read_run(store, "run-1").status, read_run(store, "run-1").ended) == ("passed", at(9))
    assert RunRecord.from_json(json.dumps(json.loads(RUN.to_json()) | {"newer": 1})) == RUN
    assert RUN.to_json().endswith("}\n")


def test_all_runs_that_have_left_something_are_listed(store):
    assert list(run_ids(store)) == []
    keep_run(store, RUN)
    begin(store, replace(keep(store, FIT.of_run("run-2"), 1), status="running"))
    assert sorted(run_ids(store)) == ["run-1", "run-2"]


def test_each_attempt_that_begins_is_noted_by_its_step_and_number(store):
    assert list(noted(store, "run-1")) == []
    attempt = keep(store, FIT, 1)
    begin(store, attempt)
    begin(store, replace(attempt, number=2, instance="n100"))
    run_path(store, "run-1", "begun").joinpath(".half").write_bytes(b"{")
    names = {path.name: json.loads(read(path)) for path in noted(store, "run-1")}
    assert set(names) == {"train.fit.1.json", "train.fit[n100].2.json"}
    assert names["train.fit.1.json"]["status"] == "passed"
    assert run_path(store, "run-1", "x").parent.name == "run-1"


def test_what_was_found_unchanged_is_noted_and_is_no_attempt(store):
    manifest = replace(publish(store, FIT, m=b"1"), instance="n100")
    note_cached(store, manifest)
    (path,) = noted(store, "run-1")
    told = json.loads(read(path))
    assert path.name == "train.fit[n100].0.json"
    assert (told["status"], told["number"], told["error"]) == ("cached", 0, "")
    kept = ("step", "run_id", "experiment", "partition", "started", "ended", "code", "instance")
    assert {name: told[name] for name in kept} == {name: getattr(manifest, name) for name in kept}
    assert told["parameters"] == {"n": {"value": 3, "source": "default"}}
    assert not has_attempts(store, "run-1")
    begin(store, keep(store, FIT, 1))
    assert has_attempts(store, "run-1")


# --- files of a storage ---------------------------------------------------------------------------


def test_a_pattern_finds_files_by_whole_names_and_in_no_folder_further_down(store):
    for name in ("a/x/m.json", "a/y/m.json", "a/y/z/m.json", "ab/x/m.json", "a/x/m2json"):
        store.write(store.root.joinpath(*name.split("/")), name)
    found = {path.parent.name: read(path) for path in glob(store.root, "a/*/m.json")}
    assert found == {"x": b"a/x/m.json", "y": b"a/y/m.json"}
    assert list(glob(store.root, "nothing/*/m.json")) == []
    assert [path.parent.name for path in glob(store.root, "*/x/m2json")] == ["x"]


def test_many_files_are_read_in_their_order(store):
    paths = [store.root.joinpath("many", str(number)) for number in range(40)]
    for path in paths:
        store.write(path, path.name)
    delete(paths[7])
    delete(paths[7])
    expected = [None if number == 7 else str(number).encode() for number in range(40)]
    assert store.each(paths, read_if_there) == expected
    assert store.each(iter(paths[:3]), read_if_there) == [b"0", b"1", b"2"]
    assert store.each([], read_if_there) == []


def test_a_name_that_looks_like_a_pattern_is_deleted_as_it_is(store):
    for name in ("a*", "ab"):
        store.write(store.root.joinpath("d", name), name)
    delete(store.root.joinpath("d", "a*"))
    assert not store.root.joinpath("d", "a*").exists()
    assert read(store.root.joinpath("d", "ab")) == b"ab"


def test_a_small_remote_file_has_arrived_when_it_is_opened(new_memory):
    root = new_memory().root
    root.joinpath("x").write_bytes(b"small")
    with root.joinpath("x").open("rb") as stream:
        assert type(stream) is io.BytesIO
        assert stream.read() == b"small"


def test_it_is_known_what_is_a_file_and_what_a_folder_of_a_remote_storage(new_memory):
    root = new_memory().root
    root.joinpath("d", "x").write_bytes(b"1")
    kinds = [
        (p.exists(), p.is_file(), p.is_dir()) for p in (root / "d", root / "d" / "x", root / "e")
    ]
    assert kinds == [(True, False, True), (True, True, False), (False, False, False)]


# --- calls that fail ------------------------------------------------------------------------------


class Refused(Exception):
    """What a package of a storage raises."""

    def __init__(self, text="no", **more):
        super().__init__(text)
        vars(self).update(more)


Refused.__module__ = "botocore.exceptions"
BUSY = Refused("slow down", response={"Error": {"Code": "SlowDown"}})


@pytest.fixture
def failing(new_memory, monkeypatch):
    """A file in a storage whose calls fail with the errors of a list, one after the other."""
    monkeypatch.setattr(remote, "PATIENCE", Patience(attempts=3, pause=0.001, down=30))
    path = new_memory().root.joinpath("x")
    path.write_bytes(b"content")
    system, errors, calls = path.fs.system, [], []
    cat_file = system.cat_file

    def fail_first(*given, **more):
        calls.append(given)
        if errors:
            raise errors.pop(0)
        return cat_file(*given, **more)

    monkeypatch.setattr(system, "cat_file", fail_first)
    return path, errors, calls


def told(path):
    with pytest.raises(ProjectError) as error:
        read(path)
    (problem,) = error.value.problems
    return [str(problem.where), problem.what, problem.fix, problem.name]


def test_what_passes_is_tried_again(failing):
    path, errors, calls = failing
    errors += [BUSY, ConnectionResetError("cut")]
    assert read(path) == b"content"
    assert len(calls) == 3


def test_what_does_not_pass_is_told_and_the_next_call_is_tried_once_only(failing, monkeypatch):
    path, errors, calls = failing
    errors += [BUSY] * 3
    where, what, fix, name = told(path)
    assert (where, name) == ("catalog.yml", "storage-unreachable")
    assert what.startswith("storage: memory://")
    assert what.endswith("/store does not work (3 attempts in 0 s): slow down")
    assert (
        fix == "look at the network and the storage, then carry on: dsml run --from-failure latest"
    )
    errors += [BUSY]
    assert told(path)[1].endswith("does not work (1 attempt): slow down")
    assert len(calls) == 4
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    errors += [BUSY]
    assert read(path) == b"content"


@pytest.mark.parametrize(
    "error",
    [
        Refused(response={"Error": {"Code": "AccessDenied"}}),
        Refused(status=403),
        Refused(error_code="ExpiredToken"),
        PermissionError("no"),
        ValueError("unable to find credentials"),
        type("NoCredentialsError", (Exception,), {})("no"),
    ],
)
def test_who_is_refused_is_told_at_once_what_to_give(failing, error):
    path, errors, calls = failing
    errors += [error]
    where, what, fix, name = told(path)
    assert (where, name, len(calls)) == ("catalog.yml", "storage-refused", 1)
    assert f" refuses access: {error}" in what
    assert fix.startswith("give the credentials of one who may read and write there:")


def test_a_bucket_that_is_not_there_is_told_at_once(failing):
    path, errors, calls = failing
    error = OSError("outer")
    error.__cause__ = Refused(response={"Error": {"Code": "NoSuchBucket"}})
    errors += [error]
    bucket = str(path).removeprefix("memory://").partition("/")[0]
    assert told(path)[1:] == [
        f"storage: there is no bucket '{bucket}'",
        "make it, or name one that is there",
        "no-bucket",
    ]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        FileExistsError("there"),
        IsADirectoryError("a folder"),
        ValueError("a mistake of ours"),
        OSError(errno.ENOSPC, "no space left"),
        OSError(errno.EIO, "a disk of this machine", "/tmp/x"),
        PermissionError(errno.EACCES, "no", "/tmp/x"),
    ],
)
def test_what_is_no_trouble_of_the_storage_is_raised_as_it_is(failing, error):
    path, errors, calls = failing
    errors += [error]
    with pytest.raises(type(error)) as raised:
        read(path)
    assert raised.value is error
    assert len(calls) == 1


def test_what_a_storage_says_is_cut_and_put_on_one_line(failing):
    path, errors, _ = failing
    errors += [Refused("a\n  b " + "x" * 300, status=401)]
    said = told(path)[1].partition(" refuses access: ")[2]
    assert said == "a b " + "x" * 195 + "…"


def test_pauses_are_longer_each_time_up_to_the_longest_and_are_not_the_same_twice():
    patience = Patience(attempts=8, pause=1, longest=10)
    found = list(patience.pauses())
    assert len(found) == 7
    for pause, longest in zip(found, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert longest / 2 <= pause <= longest
    assert found != list(patience.pauses())
    assert all(one < other for one, other in pairwise(found[:3:2]))
