"""The real daemon, as a process of its own: a new file, and a run that passes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import run_command
from dagster import DagsterRunStatus

from dsml.evidence import trace

from .projects import Step, instance_of, kill_group, manifests_of, wait_until, write_project

SENSOR = {"watch": "incoming/*.csv", "parameter": "load.files.source", "interval": 1}


@pytest.fixture
def watched(root):
    """A project with a sensor that the command line has started."""
    write_project(
        root,
        {"load.files": Step("open(source).read()", parameters="source: str = ''")},
        pipelines={"all": {"sensor": SENSOR}},
    )
    (root / "incoming").mkdir()
    run_command(sys.executable, "-m", "dsml", "schedules", "start", "all_sensor", cwd=root)
    return root


@pytest.fixture
def daemon(watched, tmp_path):
    """The daemon of the project."""
    with (tmp_path / "daemon.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", "dag"],
            cwd=watched,
            env={
                **os.environ,
                "DAGSTER_HOME": str(watched / ".dagster"),
                "PYTHONPATH": str(watched),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        yield process
        kill_group(process)


@pytest.mark.slow
def test_a_daemon_runs_the_pipeline_for_a_new_file(watched, daemon):
    file = watched / "incoming" / "one.csv"
    file.write_text("a\n1\n")

    def passed():
        assert daemon.poll() is None, "the daemon has ended"
        runs = instance.get_runs()
        assert all(run.status != DagsterRunStatus.FAILURE for run in runs)
        return [run for run in runs if run.status == DagsterRunStatus.SUCCESS]

    with instance_of(watched) as instance:
        (run,) = wait_until(passed, seconds=120, poll=0.5)
    manifest = manifests_of(watched)["load.files"]
    assert (manifest.run_id, manifest.parameters["source"].value) == (run.run_id, str(file))
    found = trace.load(run.run_id, watched)
    assert (found.run.outcome, found.run.is_open) == ("passed", False)
    assert found.run.attributes["dsml.run.started_by"] == "sensor all_sensor"
    assert (watched / "artefacts" / ".runs" / run.run_id / "trace.json").is_file()
    listed = run_command(sys.executable, "-m", "dsml", "schedules", cwd=watched)
    assert "no daemon runs" not in listed.stderr
