"""Storages that are no folder: what they need, what users are told, what stays on the machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import run_command

from dsml.contract.catalog import read_catalog
from dsml.contract.problem import ProjectError, Where
from dsml.store import Store, remote
from dsml.store.remote import open_root

from . import azure, s3
from .projects import PROJECT_FOLDER, Step, write_project
from .test_store import FIT, publish

QUICK = remote.Patience(attempts=2, pause=0.01, connect=0.5, answer=1, requests=1, down=0)


def opened(root, storage, **environment):
    environments = {"dev": {"storage": storage, **environment}}
    write_project(root, {"a.b": Step()}, environments=environments)
    problems = []
    catalog = read_catalog(root, problems)
    assert problems == []
    return Store.open(root, catalog)


def dsml(root, *arguments, **environment):
    command = (sys.executable, "-m", "dsml", *arguments)
    return run_command(*command, cwd=root, check=False, timeout=120, **environment)


def told(call):
    with pytest.raises(ProjectError) as error:
        call()
    return [line.strip() for line in str(error.value).splitlines()]


# --- what users are told --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "package", "extra"),
    [
        ("s3://bucket/x", "s3fs", "s3"),
        ("gs://bucket/x", "gcsfs", "gcs"),
        ("abfs://container@account.dfs.core.windows.net/x", "adlfs", "azure"),
    ],
)
def test_a_storage_whose_package_is_missing_names_the_extra(
    root, storage, package, extra, monkeypatch
):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else there(name)
    )
    where, what, fix = told(lambda: opened(root, storage))
    assert where == "catalog.yml, line 5"
    protocol = storage.partition(":")[0]
    assert what == f"environments.dev.storage: {protocol}:// needs the package {package}"
    assert fix == f'install it: uv sync --extra {extra}, or pip install -e ".[{extra}]"'


def test_a_bucket_that_is_not_there_is_told_and_not_made(root, bucket):
    store = opened(root, f"s3://{bucket}-2/x")
    for call in (store.reach, lambda: publish(store, FIT, model=b"1"), lambda: store.manifest(FIT)):
        _, what, fix = told(call)
        assert what == f"environments.dev.storage: there is no bucket '{bucket}-2'"
        assert fix == "make it, or name one that is there"


def test_a_container_of_azure_that_is_not_there_is_told_and_not_made(root, container):
    opened(root, f"abfs://{container}/x").reach()
    store = opened(root.with_name("another project"), f"abfs://{container}-2/x")
    for call in (store.reach, lambda: publish(store, FIT, model=b"1")):
        _, what, fix = told(call)
        assert what == f"environments.dev.storage: there is no bucket '{container}-2'"
        assert fix == "make it, or name one that is there"
    assert not store.root.fs.system.exists(f"{container}-2")


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_bucket_of_google_that_is_not_there_is_told(root, monkeypatch, error):
    class Google:
        def invalidate_cache(self):
            pass

        def info(self, path):
            raise error(path) if path == "bucket" else FileNotFoundError(path)

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(remote, "_filesystem", lambda *_: Google())
    store = opened(root, "gs://bucket/x")
    if error is PermissionError:  # of the bucket itself, which says nothing of what is in it
        store.reach()
    else:
        _, what, _ = told(store.reach)
        assert what == "environments.dev.storage: there is no bucket 'bucket'"


def test_azure_that_knows_nobody_of_that_key_is_told(root, container, monkeypatch):
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    other = "A" * 88  # a key that is as long as theirs
    azure.use(monkeypatch, re.sub("(?<=AccountKey=)[^;]+", other, connection))
    store = opened(root, f"abfs://{container}/x")
    _, what, fix = told(store.reach)
    assert what.startswith(f"environments.dev.storage: abfs://{container}/x refuses access: ")
    assert fix.endswith("AZURE_STORAGE_ACCOUNT_NAME with az login, a key or an identity")


def test_a_bucket_that_is_there_and_empty_is_reached(root, bucket):
    opened(root, f"s3://{bucket}").reach()


def test_credentials_that_are_missing_are_told_with_where_they_come_from(root, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setattr(remote, "PATIENCE", QUICK)
    store = opened(root, f"s3://{bucket}/x")
    _, what, fix = told(store.reach)
    assert what.startswith(f"environments.dev.storage: s3://{bucket}/x refuses access: ")
    assert "credentials" in what
    assert fix.startswith("give the credentials of one who may read and write there: AWS_PROFILE")


def test_access_that_is_refused_is_told(root, bucket, monkeypatch):
    store = opened(root, f"s3://{bucket}/x")

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(store.root.fs.system, "_call_s3", refuse)
    _, what, _ = told(store.reach)
    assert what == f"environments.dev.storage: s3://{bucket}/x refuses access: Access Denied"


def test_a_full_disk_of_this_machine_is_no_trouble_of_the_storage(new_s3, monkeypatch):
    store = new_s3()

    def fill(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.root.fs.system, "get_file", fill)
    with pytest.raises(OSError, match="No space left"):
        store.root.fs.get_file("a", "b")


@pytest.mark.slow
def test_dsml_run_tells_of_a_storage_that_is_not_there_and_check_does_not_look(root, s3_server):
    write_project(root, {"a.b": Step("context.save('x', 1)", outs={"x": "x.json"})})
    catalog = root / "catalog.yml"
    text = catalog.read_text()
    catalog.write_text(text.replace("storage: artefacts", "storage: s3://no-such-bucket/x"))
    environment = s3.environment(s3_server)
    assert dsml(root, "check", **environment).returncode == 0
    ran = dsml(root, "run", **environment)
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines() == [
        "catalog.yml, line 5",
        "  environments.dev.storage: there is no bucket 'no-such-bucket'",
        "  make it, or name one that is there",
    ]


# --- environments ---------------------------------------------------------------------------------


def state(folder):
    """Every file of a folder with its content and times."""
    return {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "s3", "azure"])
def test_what_runs_under_test_touches_nothing_of_dev(
    root, bucket, container, s3_server, monkeypatch, kind
):
    place = container if kind == "azure" else bucket
    address = f"abfs://{place}" if kind == "azure" else f"s3://{place}"
    storages = {name: f"{address}/{name}" for name in ("dev", "test")}
    if kind == "local":
        storages = {"dev": "artefacts", "test": "build/test"}
    steps = {
        "a.b": Step("context.save('x', 1)", outs={"x": "x.json"}),
        "a.c": Step("context.save('y', context.load('x'))", {"x": "a.b.x"}, {"y": "y.json"}),
    }
    write_project(root, steps, environments={n: {"storage": s} for n, s in storages.items()})
    system = open_root(address, Where("catalog.yml"), "storage").fs.system

    def dev():
        local = state(root / "artefacts") | state(root / ".dagster" / "work" / "dev")
        return local, system.find(f"{place}/dev", detail=True)

    for name in ("dev", "test"):
        before = dev()
        environment = s3.environment(s3_server) | {"DSML_ENV": name}
        ran = dsml(root, "run", "--force", **environment)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        monkeypatch.setenv("DSML_ENV", name)
        assert len(Store.open(root, read_catalog(root, [])).published("a.c")) == 1
    assert before == dev()
    assert any(before)


# --- copies of inputs -----------------------------------------------------------------------------


def reader_of(new_remote, limit):
    reader = new_remote(work="reader")
    reader._cache.limit = limit
    return reader


def fetched(store, *names):
    """Fetch artefacts one after the other; the oldest is used an hour ago, the next later."""
    paths = []
    for number, name in enumerate(names):
        path = store.fetch(store.resolve(f"train.fit.{name}", FIT), FIT)
        moment = path.stat().st_mtime - 3600 + number
        os.utime(path, (moment, moment))
        (store._cache.folder / ".cleared").unlink(missing_ok=True)
        paths.append(path)
    return paths


@pytest.fixture
def three(new_remote):
    """A reader with room for 250 bytes, and three artefacts of 100."""
    publish(new_remote(work="writer"), FIT, a=b"a" * 100, b=b"b" * 100, c=b"c" * 100)
    return reader_of(new_remote, 250)


def test_the_copy_that_was_used_longest_ago_goes_first(three):
    a, b, c = fetched(three, "a", "b", "c")
    assert [path.exists() for path in (a, b, c)] == [False, True, True]
    assert not a.parent.exists()


def test_a_copy_that_is_used_again_stays(three):
    a, b = fetched(three, "a", "b")
    assert three.fetch(three.resolve("train.fit.a", FIT), FIT) == a
    (c,) = fetched(three, "c")
    assert [path.exists() for path in (a, b, c)] == [True, False, True]


def test_a_copy_that_goes_stays_where_a_running_step_reads_it(three):
    staging = three.stage(FIT, 1)
    lent = three.fetch(three.resolve("train.fit.a", FIT), FIT, staging.inputs)
    (kept,) = fetched(three, "a")
    fetched(three, "b", "c")
    assert not kept.exists()
    assert lent.read_bytes() == b"a" * 100
    assert lent.name == "a.bin"
    three.unstage(staging)
    assert not lent.exists()


def test_a_copy_is_read_only_for_all_would_read_what_a_notebook_writes_into_it(three):
    (a,) = fetched(three, "a")
    assert a.stat().st_mode & 0o222 == 0


def test_with_no_room_a_step_still_reads_its_inputs(new_remote):
    publish(new_remote(work="writer"), FIT, a=b"a" * 100)
    reader = reader_of(new_remote, 0)
    staging = reader.stage(FIT, 1)
    lent = reader.fetch(reader.resolve("train.fit.a", FIT), FIT, staging.inputs)
    assert lent.read_bytes() == b"a" * 100


def test_a_download_that_arrives_damaged_is_made_again_and_told(new_remote, monkeypatch):
    publish(new_remote(work="writer"), FIT, model=b"weights")
    reader, said, damaged = new_remote(work="reader"), [], [b"weigh", b"WEIGHTS"]
    system = reader.root.fs.system
    get_file = system.get_file

    def arrive(source, target, **given):
        get_file(source, target, **given)
        if damaged:
            Path(target).write_bytes(damaged.pop())

    monkeypatch.setattr(system, "get_file", arrive)
    found = reader.resolve("train.fit.model", FIT)
    assert reader.fetch(found, FIT, warn=said.append).read_bytes() == b"weights"
    where = reader.path(FIT, "model.bin")
    assert said == [
        f"{where}: attempt 1 of 3 has fetched 7 bytes that are not the 7 that were published",
        f"{where}: attempt 2 of 3 has fetched 5 bytes that are not the 7 that were published",
    ]


def test_a_file_that_was_changed_in_the_storage_is_told(new_remote):
    publish(new_remote(work="writer"), FIT, model=b"weights")
    reader = new_remote(work="reader")
    reader.path(FIT, "model.bin").write_bytes(b"other")
    found = reader.resolve("train.fit.model", FIT)
    where, what, fix = told(lambda: reader.fetch(found, FIT, warn=lambda _: None))
    assert where == str(reader.path(FIT, "model.bin"))
    assert what == "it holds 5 bytes that are not the 7 that were published"
    assert fix == "restore the file in the storage, or publish it anew: dsml run --force"
    assert not [path for path in reader.work.rglob("*") if path.is_file()]


FETCHERS = """
    import os, sys
    from pathlib import Path
    from dsml.contract.problem import Where
    from dsml.store import Layout, StepRun, Store, cache
    from dsml.store.remote import open_root

    cache._SETTLED = 0.0
    address, work, pattern = sys.argv[1:]
    store = Store(open_root(address, Where("x"), "x"), Layout(pattern), Path(work), 250)
    reader = StepRun("score.it", "baseline", "r")
    for _ in range(6):
        staging = store.stage(reader, os.getpid())
        for name in "abcd":
            found = store.resolve(f"train.fit.{name}", reader)
            lent = store.fetch(found, reader, staging.inputs / name)
            assert lent.read_bytes() == name.encode() * 100, lent
"""


def test_processes_that_share_copies_and_clear_them_away_all_read_what_they_asked_for(
    new_s3, tmp_path
):
    store = new_s3()
    publish(store, FIT, **{name: name.encode() * 100 for name in "abcd"})
    command = [sys.executable, "-c", dedent(FETCHERS), str(store.root), tmp_path / "shared"]
    processes = [
        subprocess.Popen(
            [*command, store.layout.pattern], cwd=PROJECT_FOLDER, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
