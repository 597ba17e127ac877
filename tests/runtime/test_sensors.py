"""Sensors on files: what is run for, how often, and what a tick says where nothing is."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from dsml.contract.triggers import Sensor
from dsml.orchestrate import sensors, watch
from dsml.orchestrate.watch import checksum_of, content, place_of

from .conftest import execute
from .projects import Step, manifests_of, write_project
from .ticks import daemon

NAME = "all_sensor"
SENSOR = {"watch": "incoming/*.csv", "parameter": "load.files.source"}


@pytest.fixture(autouse=True)
def _home(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))


def project(root, **changed):
    write_project(
        root,
        {"load.files": Step(parameters="source: str = ''")},
        experiments={"baseline": {}, "wide": {}},
        pipelines={"all": {"sensor": {**SENSOR, **changed}}},
    )
    (root / "incoming").mkdir()
    return root


@pytest.fixture
def started(root):
    """A sensor on the .csv files in `incoming`, started."""
    with daemon(project(root)) as found:
        found.start(NAME)
        yield found


def put(root, name="one.csv", text="a\n1\n"):
    file = root / "incoming" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def look(daemon, times=1):
    """Let the sensor look; what its last tick says."""
    for _ in range(times):
        tick = daemon.look_at(NAME)
    return tick.tick_data.skip_reason or tick.status.value


def sources(daemon):
    """The files that runs were asked for."""
    return [run.run_config["ops"]["load__files"]["config"]["source"] for run in daemon.runs]


# --- what is run for ------------------------------------------------------------------------------


def test_a_sensor_is_stopped_until_it_is_started(root):
    put(project(root))
    with daemon(root) as d:
        for _ in range(3):
            d.look_at_sensors()
        assert (d.runs, d.ticks(NAME)) == ([], [])


def test_a_new_file_is_run_for_once(root, started):
    file = put(root)
    assert look(started) == (
        "1 file matches incoming/*.csv: 0 to be run for; 1 to be looked at again, in 30 s"
    )
    assert look(started) == "SUCCESS"
    assert look(started, 3) == "1 file matches incoming/*.csv: 0 to be run for"
    assert sources(started) == [str(file)]
    (run,) = started.runs
    assert (run.job_name, run.tags[PARTITION_NAME_TAG]) == ("all", "baseline")
    assert (run.tags["dsml/trigger"], run.tags["dsml/file"]) == ("sensor", "incoming/one.csv")


def test_the_path_arrives_in_the_notebook_as_the_parameter(root, started):
    file = put(root)
    look(started, 2)
    (run,) = started.runs
    assert execute(root, run_config=run.run_config).passed
    assert manifests_of(root)["load.files"].parameters["source"].value == str(file)


def test_a_file_that_changed_is_run_for_again(root, started):
    file = put(root)
    look(started, 2)
    file.write_text("a\n2\n")
    look(started, 3)
    assert sources(started) == [str(file)] * 2


def test_a_file_that_was_only_touched_is_not_run_for_again(root, started):
    file = put(root)
    look(started, 2)
    os.utime(file, (1, 1))
    look(started, 3)
    assert len(started.runs) == 1


def test_a_content_that_was_there_before_is_not_run_for_again(root, started):
    file = put(root)
    for text in ("a\n1\n", "a\n22\n", "a\n1\n"):
        file.write_text(text)
        look(started, 2)
    assert len(started.runs) == 2


def test_two_files_of_one_content_are_both_run_for(root, started):
    files = [put(root, "one.csv"), put(root, "two.csv")]
    look(started, 2)
    assert sorted(sources(started)) == [str(file) for file in files]


def test_a_growing_file_waits_until_it_has_been_the_same_at_two_looks(root, started):
    file = put(root, text="a")
    for _ in range(4):
        look(started)
        with file.open("a") as stream:
            stream.write("a")
    assert started.runs == []
    look(started, 2)
    assert len(started.runs) == 1


def test_without_its_cursor_a_sensor_runs_nothing_again(root, started):
    for number in range(3):
        put(root, f"{number}.csv", str(number))
    look(started, 2)
    assert len(started.runs) == 3
    started.forget(NAME)
    assert look(started, 2) == "3 files match incoming/*.csv: 0 to be run for"
    assert len(started.runs) == 3


def test_a_tick_asks_for_some_runs_and_the_next_one_goes_on(root, started, monkeypatch):
    monkeypatch.setattr(sensors, "MOST_RUNS", 2)
    for number in range(5):
        put(root, f"{number}.csv", str(number))
    look(started)
    found = []
    for _ in range(4):
        look(started)
        found.append(len(started.runs))
    assert found == [2, 4, 5, 5]


def test_files_that_have_been_run_for_keep_no_new_one_waiting(root, started, monkeypatch):
    monkeypatch.setattr(sensors, "MOST_RUNS", 2)
    for number in range(4):
        put(root, f"{number}.csv", str(number))
    look(started, 3)
    started.forget(NAME)
    put(root, "new.csv")
    look(started, 2)
    assert Path(sources(started)[-1]).name == "new.csv"


def test_the_oldest_file_is_run_for_first(root, started):
    for number, name in enumerate(("c.csv", "a.csv", "b.csv")):
        os.utime(put(root, name), (number, number))
    look(started, 2)
    assert [Path(source).name for source in sources(started)] == ["c.csv", "a.csv", "b.csv"]


def test_reading_many_files_goes_on_at_the_next_look(root, started, monkeypatch):
    monkeypatch.setattr(sensors, "READING", -1.0)  # the time is up before the first
    put(root)
    look(started, 2)
    assert started.runs == []
    monkeypatch.undo()
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    look(started)
    assert len(started.runs) == 1


def test_an_interrupted_tick_runs_nothing_twice(root, started):
    put(root)
    look(started, 2)
    started.interrupt(NAME)
    look(started, 2)
    assert len(started.runs) == 1


def test_each_experiment_is_run_for_a_file_where_all_are_named(root):
    file = put(project(root, experiment="all"))
    with daemon(root) as d:
        d.start(NAME)
        look(d, 3)
        assert [run.tags[PARTITION_NAME_TAG] for run in d.runs] == ["baseline", "wide"]
        assert sources(d) == [str(file)] * 2


def test_hidden_files_folders_and_links_to_nowhere_are_no_files(root, started):
    put(root, ".one.csv.part.csv")
    (root / "incoming" / "two.csv").mkdir()
    (root / "incoming" / "three.csv").symlink_to("nowhere")
    assert look(started, 2) == "no file matches incoming/*.csv"


def test_files_in_folders_below_are_found_by_two_stars(root):
    put(project(root, watch="incoming/**/*.csv"))
    (root / "incoming" / "2024").mkdir()
    put(root, "2024/two.csv")
    with daemon(root) as d:
        d.start(NAME)
        look(d, 2)
        assert len(d.runs) == 2


def test_a_project_whose_folder_looks_like_a_pattern_is_watched(tmp_path, monkeypatch):
    root = tmp_path / "a [b] *"
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    file = put(project(root))
    with daemon(root) as d:
        d.start(NAME)
        look(d, 2)
        assert sources(d) == [str(file)]


# --- the cursor -----------------------------------------------------------------------------------


def cursor(daemon):
    return daemon.ticks(NAME)[0].cursor


def test_files_that_are_gone_drop_out_of_the_cursor(root, started):
    files = [put(root, f"{number}.csv") for number in range(3)]
    look(started, 2)
    full = len(cursor(started))
    for file in files:
        file.unlink()
    assert look(started) == "no file matches incoming/*.csv"
    assert len(cursor(started)) == full - 3 * 12


def test_of_very_many_files_the_newest_are_looked_at(root, started, monkeypatch):
    monkeypatch.setattr(sensors, "MOST_FILES", 2)
    for number in range(3):
        os.utime(put(root, f"{number}.csv"), (number, number))
    assert look(started) == (
        "3 files match incoming/*.csv: 0 to be run for; 2 to be looked at again, in 30 s; "
        "only the newest 2 are looked at: move away what is done"
    )
    look(started)
    assert [Path(source).name for source in sources(started)] == ["1.csv", "2.csv"]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"done": 1}', '{"done": null}', "x" * 20, '"done"']
)
def test_a_cursor_that_is_none_is_an_empty_one(text):
    assert sensors.read_cursor(text) == {}


def test_a_cursor_stays_small(root):
    place = place_of(project(root), Sensor(**SENSOR))
    put(root)
    (file,) = place.files()
    seen = sensors.Look(place, {}, lambda *_: True, 20)
    seen.at([replace(file, name=f"{number}.csv") for number in range(10_000)])
    assert len(seen.cursor) < 125_000


# --- places ---------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_told_by_the_tick(root, started):
    (root / "incoming").rmdir()
    assert look(started) == "there is no folder 'incoming'"
    put(root)
    look(started, 2)
    assert len(started.runs) == 1


def test_files_in_a_storage_are_run_for(root):
    folder = f"memory://{uuid.uuid4().hex}"
    project(root, watch=f"{folder}/*.csv")
    system = fsspec.filesystem("memory")
    with daemon(root) as d:
        d.start(NAME)
        assert look(d) == f"no file matches {folder}/*.csv"
        system.pipe(f"{folder}/one.csv", b"a")
        look(d, 3)
        system.pipe(f"{folder}/one.csv", b"b")
        look(d, 3)
        assert [Path(source).name for source in sources(d)] == ["one.csv"] * 2
        assert {fsspec.open(source).open().read() for source in sources(d)} == {b"b"}
        assert d.runs[0].tags["dsml/file"].endswith("one.csv")
        d.forget(NAME)
        look(d, 3)
        assert len(d.runs) == 2


def test_a_storage_that_is_none_is_told_by_the_tick(root):
    project(root, watch="nothing://bucket/*.csv")
    with daemon(root) as d:
        d.start(NAME)
        tick = d.look_at(NAME)
    assert tick.status.value == "FAILURE"
    error = tick.error.cause.message
    assert "Protocol not known: nothing" in error
    assert "install the package for this storage (s3fs for s3://, gcsfs for gs://)" in error


def test_a_checksum_that_the_storage_keeps_stands_for_the_content():
    etag = {"ETag": '"9b2cf535f27731c974343645a3985328"', "LastModified": datetime.now(UTC)}
    assert checksum_of("s3", etag) == "s3:9b2cf535f27731c974343645a3985328"
    assert checksum_of("gs", {"md5Hash": "CY9rzUYh03PK3k6DJie09g==", "etag": "CJ"}) == (
        "gs:CY9rzUYh03PK3k6DJie09g=="
    )
    assert checksum_of("memory", etag) == ""
    assert checksum_of("gs", {"etag": "CJ"}) == ""


def test_the_content_of_a_file_is_told_by_its_sha256(root):
    put(project(root), text="a")
    place = place_of(root, Sensor(**SENSOR))
    (file,) = place.files()
    assert content(place, file) == (
        "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    )


def test_of_a_very_large_file_only_the_ends_are_read(root, monkeypatch):
    monkeypatch.setattr(watch, "WHOLE", 4 * 2**20)
    place = place_of(project(root), Sensor(**SENSOR))

    def of(file, middle):
        with file.open("r+b") as stream:
            stream.seek(3 * 2**20)
            stream.write(middle)
        os.utime(file, (1, 1))
        (found,) = place.files()
        return content(place, found)

    large = put(root, text="a" * 6 * 2**20)
    first = of(large, b"x")
    assert of(large, b"y") == first
    with large.open("ab") as stream:
        stream.write(b"z")
    assert of(large, b"y") != first


def test_a_file_that_changes_while_it_is_read_has_no_content_yet(root):
    file = put(project(root))
    place = place_of(root, Sensor(**SENSOR))
    (found,) = place.files()
    file.write_text("longer than before")
    assert content(place, found) is None
    file.unlink()
    assert content(place, found) is None


def test_a_file_on_this_machine_may_be_named_by_an_address(root):
    file = put(project(root))
    (found,) = place_of(root, Sensor(watch=f"file://{root}/incoming/*.csv")).files()
    assert found.address == str(file)
    assert re.fullmatch(rf"{file.stat().st_size} \d+", found.stamp)
