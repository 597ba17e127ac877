"""What runs at once: pools for what is scarce, the queue of runs, two runs of one experiment."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.test_utils import freeze_time
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration

from dsml.orchestrate.definitions import load_definitions
from dsml.store import Manifest

from .projects import Step, instance_of, kill_group, start, wait_until, write_project
from .ticks import LOGGER, daemon

X = {"x": "x.json"}
POOL = {"pool": "gpu"}
# Each of the two runs waits until the other has come as far.
MEET = """
import time
from pathlib import Path
Path(f"{value}.txt").touch()
deadline = time.monotonic() + 60
while len(list(Path().glob("*.txt"))) < 2:
    assert time.monotonic() < deadline, "the other run does not come"
    time.sleep(0.05)
"""


def published(root, step):
    """What all runs have published of a step: manifest and artefact."""
    files = root.glob(f"artefacts/baseline/{step.replace('.', '/')}/*/manifest.json")
    return [
        (Manifest.from_json(f.read_bytes()), json.loads((f.parent / "x.json").read_text()))
        for f in files
    ]


def test_a_project_limits_the_queue_of_runs_and_a_pool_to_one_step(root):
    with instance_of(write_project(root, {"a.b": Step()})) as instance:
        config = instance.get_concurrency_config()
        monitored = instance.run_monitoring_enabled
    assert config.run_queue_config.max_concurrent_runs == 4
    assert config.pool_config.default_pool_limit == 1
    assert config.pool_config.pool_granularity == PoolGranularity.OP
    assert monitored


def test_looks_of_sensors_that_found_nothing_are_forgotten_and_those_that_ran_something_kept(root):
    with instance_of(write_project(root, {"a.b": Step()})) as instance:
        days = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert (days[TickStatus.SKIPPED], days[TickStatus.SUCCESS]) == (2, -1)


@pytest.mark.slow
def test_two_steps_of_one_pool_never_run_at_once_in_two_runs_either(root):
    work = (
        "import time\nbegan = time.time()\ntime.sleep(1)\ncontext.save('x', [began, time.time()])"
    )
    steps = {f"a.{name}": Step(work, outs=X, declared=POOL) for name in ("one", "two")}
    write_project(root, steps)
    runs = [start(root, "run"), start(root, "run")]
    for run in runs:
        _, err = run.communicate(timeout=180)
        assert run.returncode == 0, err
    spans = sorted(span for step in steps for _, span in published(root, step))
    assert len(spans) == 4
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.slow
def test_two_runs_of_one_experiment_at_once_read_what_is_their_own(root):
    steps = {
        "a.load": Step(MEET + "context.save('x', value)", outs=X, parameters="value: int = 0"),
        "a.use": Step("context.save('x', context.load('x'))", ins={"x": "a.load.x"}, outs=X),
    }
    write_project(root, steps)
    runs = [start(root, "run", "--set", f"a.load.value={value}") for value in (1, 2)]
    for run in runs:
        _, err = run.communicate(timeout=180)
        assert run.returncode == 0, err
    loaded = {manifest.run_id: value for manifest, value in published(root, "a.load")}
    used = {manifest.run_id: value for manifest, value in published(root, "a.use")}
    assert sorted(loaded.values()) == [1, 2]
    assert used == loaded
    read = {m.run_id: m.inputs["x"].run_id for m, _ in published(root, "a.use")}
    assert read == {run_id: run_id for run_id in loaded}


@pytest.mark.slow
def test_the_daemon_frees_the_place_of_a_run_that_was_killed(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    work = "import time\nopen('began', 'w').close()\ntime.sleep(60)"
    write_project(root, {"a.b": Step(work, declared=POOL)})
    run = start(root, "run")
    wait_until((root / "stages" / "a" / "began").exists)
    kill_group(run)

    with daemon(root) as looking:
        storage = looking.instance.event_log_storage
        assert len(storage.get_concurrency_info("gpu").claimed_slots) == 1
        looking.instance.report_run_failed(looking.runs[0], "killed")
        with freeze_time(looking.now + timedelta(minutes=5)):
            assert list(execute_concurrency_slots_iteration(looking.context, LOGGER)) == [None]
        assert storage.get_concurrency_info("gpu").claimed_slots == []


@pytest.mark.slow
def test_the_next_run_fails_a_run_that_was_killed_and_takes_its_place(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    work = """
import pathlib, time
began = pathlib.Path("began")
if not began.exists():
    began.touch()
    time.sleep(60)
"""
    write_project(root, {"a.b": Step(work, declared=POOL)})
    run = start(root, "run")
    wait_until((root / "stages" / "a" / "began").exists)
    kill_group(run)
    again = start(root, "run")
    _, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    with instance_of(root) as instance:
        statuses = [found.status.value for found in instance.get_runs()]
    assert statuses == ["SUCCESS", "FAILURE"]


@pytest.mark.parametrize(("environment", "most"), [("dev", 3), ("small", 1)])
def test_an_environment_limits_how_many_steps_of_a_run_go_on_at_once(
    root, monkeypatch, environment, most
):
    environments = {"dev": {"storage": "artefacts"}, "small": {"storage": "small", "workers": 1}}
    write_project(
        root, {"a.b": Step()}, environments=environments, pipelines={"all": {"workers": 3}}
    )
    monkeypatch.setenv("DSML_ENV", environment)
    job = load_definitions(root).resolve_job_def("all")
    schema = job.executor_def.config_schema.as_field().config_type
    assert schema.fields["max_concurrent"].default_value == most
