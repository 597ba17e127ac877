"""A storage that fails: nothing is seen that is not whole, and the user is told."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import s3fs

from dsml.contract.problem import ProjectError
from dsml.store import Attempt, Manifest, remote
from dsml.store.leftovers import abandoned_uploads, remove_upload

from . import s3
from .faulty import FAULTS, Proxy
from .test_store import FIT, keep, manifest_of, measure

QUICK = remote.Patience(
    attempts=3, pause=0.02, longest=0.05, connect=1, answer=0.3, requests=1, down=0
)
CONTENT = {"model.bin": b"weights" * 1000, "curve.bin": b"0 1 2"}


@pytest.fixture
def proxy(s3_server):
    with Proxy(s3_server, delay=0.6) as found:
        yield found


@pytest.fixture
def direct(s3_server):
    """S3 as it is, without the proxy."""
    return s3fs.S3FileSystem(
        key="testing", secret="testing", endpoint_url=s3_server, use_listings_cache=False
    )


@pytest.fixture
def store(new_s3, proxy, monkeypatch):
    """A store that reaches its bucket through the proxy."""
    monkeypatch.setattr(remote, "PATIENCE", QUICK)
    s3.use(monkeypatch, proxy.address)
    return new_s3()


def publish(store, address):
    """All that an attempt leaves: its evidence, its record, its outs, its manifest."""
    keep(store, address, 1, log="a line")
    staging = store.stage(address, 1)
    for name, content in CONTENT.items():
        (staging.outs / name).write_bytes(content)
    outputs = {name.partition(".")[0]: measure(staging.outs / name) for name in CONTENT}
    manifest = replace(manifest_of(address, outputs), fingerprint="f1")
    try:
        return store.publish(staging, manifest)
    finally:
        store.unstage(staging)


def incomplete(system, root):
    """What is visible in a bucket and not whole."""
    found = []
    for key in system.find(root):
        if key.endswith("/manifest.json"):
            manifest = Manifest.from_json(system.cat_file(key))
            for output in manifest.outputs.values():
                file = f"{key.rpartition('/')[0]}/{output.file}"
                content = system.cat_file(file) if system.exists(file) else b""
                if content != CONTENT[output.file] or len(content) != output.bytes:
                    found.append(file)
        elif key.endswith("/attempt.json"):
            Attempt.from_json(system.cat_file(key))
            if not system.exists(f"{key.rpartition('/')[0]}/log.txt"):
                found.append(key)
        elif key.endswith(".json"):
            json.loads(system.cat_file(key))
    return found


def calls_of_a_publish(store, proxy):
    proxy.reset(lambda _: "")
    publish(store, FIT.of_run("first"))
    return len(proxy.calls)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_call_of_a_publish_fails_once_all_is_published_and_always_whole(
    store, proxy, direct, fault
):
    count = calls_of_a_publish(store, proxy)
    seen = []
    for number in range(1, count + 1):
        address = FIT.of_run(f"run-{number}")
        look = partial(incomplete, direct, store.path(address, "manifest.json").parent.path)
        if fault == "half":  # what arrives is the most there can be: look before each call
            proxy.before = lambda _, look=look: seen.extend(look())
        proxy.reset(lambda call, number=number: fault if call == number else "")
        publish(store, address)
        assert len(proxy.calls) > count, "the call was not made again"
        assert store.manifest(address) is not None
    assert seen == []
    assert incomplete(direct, store.root.path) == []
    assert len(direct.glob(f"{store.root.path}/baseline/train/fit/*/manifest.json")) == count + 1


@pytest.mark.slow
def test_when_a_storage_goes_away_at_any_call_nothing_half_written_is_seen(store, proxy, direct):
    count = calls_of_a_publish(store, proxy)
    for number in range(1, count + 1):
        address = FIT.of_run(f"run-{number}")
        proxy.reset(lambda call, number=number: "cut" if call >= number else "")
        with pytest.raises(ProjectError) as told:
            publish(store, address)
        assert told.value.problems[0].name == "storage-unreachable"
        proxy.reset(lambda _: "")
        run = store.path(address, "manifest.json").parent.path
        assert incomplete(direct, run) == []
        # and when it is back, the next attempt publishes
        if store.manifest(address) is None:
            publish(store, address)
        assert incomplete(direct, run) == []
    assert incomplete(direct, store.root.path) == []
    assert len(direct.glob(f"{store.root.path}/baseline/train/fit/*/manifest.json")) == count + 1


def test_retries_back_off_and_give_up_with_a_message(store, proxy, monkeypatch):
    patience = replace(QUICK, attempts=4, pause=0.2, longest=10)
    monkeypatch.setattr(remote, "PATIENCE", patience)
    proxy.reset(lambda _: "busy")
    with pytest.raises(ProjectError) as told:
        store.manifest(FIT)
    firsts = proxy.moments[::2]  # s3fs asks twice each time, after a tenth of a second
    gaps = [later - earlier for earlier, later in itertools.pairwise(firsts)]
    assert len(firsts) == 4
    assert all(gap > 0.2 * 2**n / 2 for n, gap in enumerate(gaps))
    assert gaps[2] > gaps[0]
    where, what, fix = str(told.value).splitlines()
    assert where == "catalog.yml"
    assert what.startswith(f"  storage: {store.root} does not work (4 attempts in ")
    assert what.endswith("s): Please reduce your request rate.")
    assert fix.strip().endswith("then carry on: dsml run --from-failure latest")


def test_after_a_call_has_failed_for_good_the_next_are_not_waited_for(store, proxy, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE", replace(QUICK, attempts=4, down=60))
    proxy.reset(lambda _: "cut")
    counts = []
    for _ in range(2):
        with pytest.raises(ProjectError):
            store.manifest(FIT)
        counts.append(len(proxy.calls))
    first, both = counts
    assert both - first == first / 4
    proxy.reset(lambda _: "")
    assert store.manifest(FIT) is None


def test_a_storage_that_never_answers_is_given_up_in_the_time_that_is_set(store, proxy):
    proxy.reset(lambda _: "slow")
    begun = time.monotonic()
    with pytest.raises(ProjectError, match=r"3 attempts in"):
        store.manifest(FIT)
    # three attempts of two requests of 0.3 s, and the pauses between them
    assert 3 * 2 * 0.3 <= time.monotonic() - begun < 30


def test_a_large_file_is_sent_in_parts_and_seen_when_the_last_is_there(
    new_s3, proxy, direct, monkeypatch
):
    s3.use(monkeypatch, proxy.address)
    store = new_s3()
    content = b"0123456789abcdef" * (60 * 2**16)  # 60 MB
    staging = store.stage(FIT, 1)
    (staging.outs / "model.bin").write_bytes(content)
    output = measure(staging.outs / "model.bin")
    path = store.path(FIT, "model.bin").path
    proxy.before = lambda _: seen.append(direct.exists(path))
    seen = []
    store.publish(staging, manifest_of(FIT, {"model": output}))
    proxy.before = lambda _: None
    parts = [call for call in proxy.calls if "partNumber=" in call]
    assert len(parts) == 4  # of 16 MB
    assert seen[: seen.index(True)].count(False) >= len(parts)
    assert direct.info(path)["size"] == len(content)
    assert store.fetch(store.resolve("train.fit.model", FIT), FIT).read_bytes() == content


def test_an_upload_that_was_never_finished_is_not_seen_and_can_be_removed(
    store, direct, monkeypatch
):
    key = store.path(FIT, "model.bin").path
    bucket, _, name = key.partition("/")
    begun = direct.call_s3("create_multipart_upload", Bucket=bucket, Key=name)
    direct.call_s3(
        "upload_part", Bucket=bucket, Key=name, UploadId=begun["UploadId"], PartNumber=1, Body=b"x"
    )
    assert not store.path(FIT, "model.bin").exists()
    assert store.manifest(FIT) is None
    with monkeypatch.context() as patch:
        patch.setattr("dsml.store.leftovers.AGE", timedelta(days=50 * 365))
        assert abandoned_uploads(store) == []
    (upload,) = abandoned_uploads(store)  # this server says of each that it began in 2010
    assert upload.file == "baseline/train/fit/run-1/model.bin"
    remove_upload(store, upload)
    remove_upload(store, upload)  # another process was quicker
    assert abandoned_uploads(store) == []


def test_a_storage_without_parts_has_no_uploads_to_remove(new_memory, new_local):
    assert abandoned_uploads(new_memory()) == []
    assert abandoned_uploads(new_local()) == []


def test_a_part_that_is_lost_again_and_again_leaves_nothing(store, proxy, direct):
    staging = store.stage(FIT, 1)
    (staging.outs / "model.bin").write_bytes(bytes(33 * 2**20))
    output = measure(staging.outs / "model.bin")
    proxy.reset(lambda call: "cut" if "partNumber=2" in proxy.calls[call - 1] else "")
    with pytest.raises(ProjectError):
        store.publish(staging, manifest_of(FIT, {"model": output}))
    proxy.reset(lambda _: "")
    assert direct.find(store.root.path) == []
    bucket = store.root.path.partition("/")[0]
    assert not direct.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads")
