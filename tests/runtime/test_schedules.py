"""Schedules: what runs when, and what `dsml schedules` says of it and does to it."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from conftest import run_command
from dagster._core.storage.tags import PARTITION_NAME_TAG

from dsml.contract.project import load_project
from dsml.orchestrate.schedules import partition_keys

from .projects import Step, write_project
from .ticks import daemon

NAME = "all_schedule"
MONDAY = datetime(2024, 3, 4, 6, 0, tzinfo=ZoneInfo("Europe/Berlin"))
BEFORE = datetime(2024, 3, 3, tzinfo=UTC)
CRON = {"cron": "0 6 * * 1", "timezone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
def _home(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))


def project(root, schedule=CRON, **pipeline):
    return write_project(
        root,
        {"a.b": Step(parameters="source: str = ''")},
        experiments={"baseline": {}, "wide": {}},
        pipelines={"all": {"schedule": dict(schedule), **pipeline}},
    )


def partitions_of(runs):
    return [run.tags[PARTITION_NAME_TAG] for run in runs]


def test_a_schedule_is_stopped_until_it_is_started(root):
    with daemon(project(root), BEFORE) as d:
        d.look_at_schedules(MONDAY)
        assert (d.runs, d.ticks(NAME)) == ([], [])


def test_a_started_schedule_runs_its_pipeline_at_its_time(root):
    with daemon(project(root), BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY.replace(hour=5, minute=59))
        assert d.runs == []
        d.look_at_schedules(MONDAY)
        (run,) = d.runs
        (tick,) = d.ticks(NAME)
    assert (run.job_name, run.tags[PARTITION_NAME_TAG]) == ("all", "baseline")
    assert run.tags["dsml/trigger"] == "schedule"
    assert (tick.status.value, list(tick.run_ids)) == ("SUCCESS", [run.run_id])


def test_a_tick_that_is_evaluated_twice_runs_once(root):
    with daemon(project(root, {**CRON, "experiment": "all"}), BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY)
        d.look_at_schedules(MONDAY)
        d.interrupt(NAME)
        d.look_at_schedules(MONDAY.replace(minute=1))
        assert partitions_of(d.runs) == ["baseline", "wide"]
        assert [tick.status.value for tick in d.ticks(NAME)] == ["SUCCESS"]


@pytest.mark.parametrize(
    ("experiment", "keys"), [("", ["baseline"]), ("wide", ["wide"]), ("all", ["baseline", "wide"])]
)
def test_a_schedule_runs_the_experiments_that_it_names(root, experiment, keys):
    found = load_project(project(root))
    pipeline = found.catalog.pipelines["all"]
    assert partition_keys(found, pipeline, experiment, MONDAY) == keys


def test_an_experiment_may_be_called_all(root):
    write_project(root, {"a.b": Step()}, experiments={"baseline": {}, "all": {}})
    found = load_project(root)
    assert partition_keys(found, found.catalog.pipelines["all"], "all", MONDAY) == ["all"]


def test_after_a_night_without_a_daemon_only_the_last_tick_is_made_up_for(root):
    with daemon(project(root, {"cron": "@hourly"}), BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(BEFORE.replace(hour=8, minute=20))
        assert len(d.runs) == 1
        assert d.ticks(NAME)[0].timestamp == BEFORE.replace(hour=8).timestamp()


def test_a_schedule_runs_the_newest_day_that_is_over(root):
    found = project(root, partitions={"daily": "2024-02-01", "timezone": "Europe/Berlin"})
    with daemon(found, BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY)
        assert partitions_of(d.runs) == ["baseline|2024-03-03"]


def test_a_schedule_runs_each_partition_of_a_list(root):
    with daemon(project(root, partitions={"static": ["eu", "us"]}), BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY)
        assert partitions_of(d.runs) == ["baseline|eu", "baseline|us"]


def test_before_the_first_day_is_over_a_schedule_says_so(root):
    found = project(root, partitions={"daily": "2024-03-04", "timezone": "Europe/Berlin"})
    with daemon(found, BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY)
        (tick,) = d.ticks(NAME)
        assert d.runs == []
    assert tick.tick_data.skip_reason.startswith("no partition is over yet: there are daily from")


# --- dsml schedules -------------------------------------------------------------------------------


def dsml(root, *arguments, **options):
    return run_command(
        sys.executable, "-m", "dsml", *arguments, cwd=root, check=False, timeout=60, **options
    )


@pytest.mark.slow
def test_schedules_and_sensors_are_listed_with_their_last_ticks(root):
    sensor = {"watch": "stages/*.csv", "parameter": "a.b.source", "interval": 45}
    with daemon(project(root, sensor=sensor), BEFORE) as d:
        d.start(NAME)
        d.look_at_schedules(MONDAY)
        d.start("all_sensor")
        d.look_at("all_sensor")
        (run,) = d.runs
    listed = dsml(root, "schedules")
    schedule, look, notify = (line.split("  ") for line in listed.stdout.splitlines()[1:4])
    words = [[part.strip() for part in line if part.strip()] for line in (schedule, look, notify)]
    assert words[0][:5] == [NAME, "all", "Monday at 06:00", "Europe/Berlin", "running"]
    assert words[0][-1].endswith("success, 1 run")
    assert words[1][:3] == ["all_sensor", "all", "stages/*.csv, every 45 s"]
    assert words[1][-1].endswith("skipped: no file matches stages/*.csv")
    assert words[2] == ["notify_failures", "every 30 s", "stopped"]
    assert "start one that is stopped: dsml schedules start NAME" in listed.stdout
    assert listed.stderr.strip() == (
        "no daemon runs, so that schedules and sensors do nothing: make dagit"
    )
    found = {item["name"]: item for item in json.loads(dsml(root, "schedules", "--json").stdout)}
    assert found[NAME]["last_tick"] == {
        "time": MONDAY.timestamp(),
        "status": "success",
        "detail": "",
        "runs": [run.run_id],
    }
    coming = datetime.fromtimestamp(found[NAME]["next_tick"], MONDAY.tzinfo)
    assert (coming.weekday(), coming.hour, coming.minute) == (0, 6, 0)
    assert coming > datetime.now(UTC)


@pytest.mark.slow
def test_what_the_command_line_starts_and_stops_a_daemon_obeys(root):
    started = dsml(project(root), "schedules", "start", NAME)
    assert re.match(rf"{NAME} started, next at \d{{4}}-\d\d-\d\d", started.stdout)
    coming = json.loads(dsml(root, "schedules", "--json").stdout)[0]["next_tick"]
    at = datetime.fromtimestamp(coming, UTC)
    with daemon(root) as d:
        d.look_at_schedules(at)
        assert len(d.runs) == 1
        assert dsml(root, "schedules", "stop", "--all").stdout.splitlines() == [
            f"{NAME} stopped",
            "notify_failures stopped",
        ]
        d.look_at_schedules(at + timedelta(days=7))
        assert len(d.runs) == 1


def test_a_name_that_no_schedule_has_is_told_and_nothing_is_started(root):
    done = dsml(project(root), "schedules", "start", NAME, "all_shedule")
    assert done.returncode == 1
    assert done.stderr == (
        "dsml schedules start\n"
        "  there is no schedule and no sensor 'all_shedule'\n"
        "  did you mean 'all_schedule'?\n"
    )
    assert not json.loads(dsml(root, "schedules", "--json").stdout)[0]["running"]


@pytest.mark.parametrize("arguments", [(), (NAME, "--all")])
def test_which_to_start_has_to_be_said(root, arguments):
    done = dsml(project(root), "schedules", "start", *arguments)
    assert done.returncode == 2
    assert "give the names of schedules and sensors, or --all" in done.stderr
