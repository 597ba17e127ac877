"""The services in containers: `make containers` runs this file, which needs a Docker engine.

It builds the image, which takes minutes and about 3 GB, and takes away what it made in the end.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import free_port, look_installed, make, run_command
from launched import WebServer, executed_beside_itself
from mlflow import MlflowClient
from runtime.projects import Step, broken_artefacts, wait_until, write_notebook

BUILD_SECONDS, SECONDS = 1800, 240
NAME = "Containers of a test"  # a project of that name would lose what its services keep
SLUG = "containers_of_a_test"
WORK = "import time\ntime.sleep(6)\ncontext.save('x', 1)"
# Ends what the init of a container has started; in PostgreSQL's there is none.
KILL = """import os, signal
os.kill(int(open('/proc/1/task/1/children').read().split()[0]), signal.SIGKILL)
"""


class Containers:
    """A project with services in containers."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._env = {"DAGSTER_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
        self.web = WebServer(f"http://127.0.0.1:{self._env['DAGSTER_PORT']}")

    def up(self, *options: str) -> None:
        run_command("make", "up", *options, cwd=self.project, timeout=BUILD_SECONDS, **self._env)

    def compose(self, *words: str, check: bool = True) -> str:
        """What a command of compose says."""
        command = ("docker", "compose", "--file", "deploy/compose.yaml", *words)
        return run_command(*command, cwd=self.project, check=check, **self._env).stdout

    def dsml(self, *words: str) -> str:
        """What a command of the project says in the image."""
        return self.compose("exec", "--no-TTY", "code", "python", "-m", "dsml", *words)

    def launched(self, job: str, experiment: str = "baseline") -> str:
        """The id of a run that is launched as soon as the web server can."""
        launch = partial(self.web.try_to_launch, job, experiment)
        return str(wait_for(launch, "no run can be launched"))

    def tracked(self) -> str:
        """The names of all runs that MLflow knows."""
        client = MlflowClient(f"http://127.0.0.1:{self._env['MLFLOW_PORT']}")
        known = [each.experiment_id for each in client.search_experiments()]
        return "\n".join(run.info.run_name for run in client.search_runs(known))

    def kill(self, name: str) -> None:
        """End a service as the kernel does where memory runs out; Docker starts it again."""
        if name == "postgres":
            command = ["pg_ctl", "stop", "--mode=immediate", "--no-wait"]
        else:
            command = ["python", "-c", KILL]
        self.compose("exec", "--no-TTY", name, *command)


@pytest.fixture(scope="module")
def containers(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The default project with one more pipeline, which takes its time; its services are up."""
    folder = tmp_path_factory.mktemp("containers") / "with a space"
    project = look_installed(make(template, folder, {"project_name": NAME, "deploy": "compose"}))
    assert project.name == SLUG
    write_slow(project)
    for command in (["add", "--all"], ["commit", "--message", "Add slow steps"]):
        run_command("git", *command, cwd=project)
    found = Containers(project)
    try:
        found.up()
        yield found
    finally:
        found.compose("down", "--volumes", "--rmi", "local", "--timeout", "5", check=False)


def write_slow(project: Path) -> None:
    """Add a pipeline of two steps that wait, and are never taken over from an earlier run."""
    step = {"outs": {"x": "x.json"}, "declared": {"cache": False}}
    write_notebook(project, "slow.first", Step(WORK, **step))
    write_notebook(project, "slow.second", Step(WORK, ins={"upstream": "slow.first.x"}, **step))
    run_command("python", "-m", "dsml", "register", cwd=project)
    file = project / "catalog.yml"
    catalog = yaml.safe_load(file.read_text(encoding="utf-8"))
    catalog["pipelines"]["slow"] = {"select": "slow"}
    file.write_text(yaml.safe_dump(catalog, sort_keys=False), encoding="utf-8")
    run_command("python", "-m", "dsml", "check", cwd=project)


def wait_for(condition: Callable[[], Any], otherwise: str) -> Any:
    return wait_until(condition, SECONDS, 0.5, otherwise)


def test_a_run_of_the_ui_trains_a_model_that_is_promoted(containers):
    run_id = containers.launched("training", "small")
    wait_for(partial(containers.web.settled, [run_id]), "the run did not pass")
    head = run_command("git", "rev-parse", "HEAD", cwd=containers.project).stdout.strip()
    manifests = json.loads(containers.dsml("show", run_id, "--json"))["manifests"]
    assert {"load.digits", "train.fit", "summary.report"} <= {m["step"] for m in manifests}
    assert [m["git"] for m in manifests] == [{"commit": head, "dirty": False}] * len(manifests)
    assert "is now the champion" in containers.dsml("promote")
    found = json.loads(containers.dsml("doctor", "--json"))
    assert [finding for finding in found if finding["state"] != "ok"] == []


@pytest.mark.parametrize("name", ["daemon", "web", "code", "postgres", "mlflow"])
def test_runs_survive_the_death_of_a_service(containers, name, tmp_path):
    launched = [containers.launched("slow", each) for each in ("small", "baseline")]
    wait_for(partial(containers.web.under_way, launched), "the runs do not begin")
    containers.kill(name)
    wait_for(partial(containers.web.settled, launched), f"{name}: not all runs have passed")
    assert not executed_beside_itself(containers.web.of(launched))
    containers.up()  # it waits until all are well again
    containers.compose("cp", "code:/app/artefacts", str(tmp_path))
    assert list(tmp_path.rglob("manifest.json"))
    assert broken_artefacts(tmp_path / "artefacts") == []
    containers.dsml("sync")
    tracked = containers.tracked()
    assert [run_id for run_id in launched if run_id[:8] not in tracked] == []


def test_what_services_have_kept_is_there_after_they_were_taken_down(containers):
    before = {run["runId"] for run in containers.web.runs()}
    run_command("make", "down", cwd=containers.project)
    assert containers.compose("ps", "--quiet") == ""
    containers.up()
    assert {run["runId"] for run in containers.web.runs()} == before != set()


def test_each_run_may_have_a_container_of_its_own(containers):
    containers.up("per_run=1")
    launched = [containers.launched("slow")]
    wait_for(partial(containers.web.under_way, launched), "the run does not begin")
    (own,) = of_runs()
    subprocess.run(["docker", "kill", own], check=True, capture_output=True)
    wait_for(partial(containers.web.settled, launched), "the run was not begun anew")
    runs = containers.web.of(launched)
    assert sorted(run["status"] for run in runs) == ["FAILURE", "SUCCESS"]
    wait_for(lambda: of_runs() == [], "a container of a run was left")


def of_runs() -> list[str]:
    """The containers that execute a run."""
    image = f"ancestor={SLUG}:latest"
    command = ["docker", "ps", "--all", "--no-trunc", "--filter", image, "--format"]
    done = subprocess.run(
        [*command, "{{.ID}} {{.Command}}"], check=True, capture_output=True, text=True
    )
    return [line.split()[0] for line in done.stdout.splitlines() if "execute_run" in line]
