"""The services of deploy/: their files, and the services themselves against a real PostgreSQL.

Docker itself is not started here: the same commands run as processes, on the same settings. In
containers they are started by test_containers.py.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import BIN, free_port, without
from dagster._config import process_config
from launched import WebServer, executed_beside_itself
from runtime.projects import Step, broken_artefacts, wait_until, write_project
from sqlalchemy import make_url

PASSWORD = "made for this test"
SECONDS = 240  # to wait for anything
SERVICES = {"postgres", "code", "web", "daemon", "mlflow"}
WORK = """
import time
time.sleep(4)
context.save("x", 1)
"""
RUN_SECONDS = 12  # that a run of two such steps takes, with its way through the queue


def read(project: Path, file: str) -> Any:
    return yaml.safe_load((project / "deploy" / file).read_text(encoding="utf-8"))


# --- files ----------------------------------------------------------------------------------------


def test_compose_files_and_dockerfile_are_valid(deployed):
    folder = deployed / "deploy"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*check, folder / "compose.yaml", folder / "compose.per-run.yaml"], check=True)
    subprocess.run([BIN / "hadolint", folder / "Dockerfile"], check=True)


def test_every_service_can_be_left_to_itself(deployed):
    compose = read(deployed, "compose.yaml")
    assert compose["services"].keys() == SERVICES
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert "no-new-privileges:true" in service["security_opt"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["postgres"]["networks"] == ["inside"]


def test_images_are_pinned_and_no_service_is_root(deployed):
    dockerfile = (deployed / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    images.append(read(deployed, "compose.yaml")["services"]["postgres"]["image"])
    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+\S*", image) for image in images), images
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert read(deployed, "compose.yaml")["services"]["postgres"]["user"] == "postgres"


def test_each_variable_that_a_setting_takes_is_given_to_the_services(deployed):
    needed = set()
    for file in ("dagster.yaml", "launcher.yaml", "workspace.yaml"):
        needed |= set(re.findall(r"\{env: (\w+)\}", (deployed / "deploy" / file).read_text()))
    assert needed == {
        *("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
        *("CODE_HOST", "CODE_PORT"),
    }
    compose = read(deployed, "compose.yaml")
    for name in ("code", "web", "daemon"):
        assert needed <= compose["services"][name]["environment"].keys()
    launcher = read(deployed, "launcher.per-run.yaml")["run_launcher"]["config"]
    given = compose["services"]["code"]["environment"].keys() - {"CODE_HOST", "CODE_PORT"}
    assert set(launcher["env_vars"]) == {*given, "DAGSTER_HOME"}


def test_passwords_are_made_once_and_for_their_owner_only(deployed, copy_of, run):
    project = copy_of(deployed)
    file = project / "deploy" / ".env"
    for _ in range(2):
        run(sys.executable, "deploy/make_env.py", file, cwd=project)
        known = file.read_text(encoding="utf-8")
    assert re.fullmatch(r"POSTGRES_PASSWORD=[\w-]{43}\n", known)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    run("git", "init", "--quiet", cwd=project)
    assert run("git", "check-ignore", file, cwd=project).stdout
    file.unlink()
    run(sys.executable, "deploy/make_env.py", file, cwd=project)
    assert file.read_text(encoding="utf-8") != known


@pytest.fixture
def make_up(deployed, installed, run):
    """`make up` in a project, where a script stands in for Docker."""
    project = installed(deployed)
    for name in ("requirements.lock", ".env"):
        (project / "deploy" / name).touch()
    docker = project / ".venv" / "bin" / "docker"
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"

    def up(script, *, check=True):
        docker.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        docker.chmod(0o755)
        return run("make", "up", cwd=project, check=check, PATH=path)

    return project, up


def test_make_up_shows_what_a_service_has_said_that_does_not_become_well(make_up):
    _, up = make_up
    done = up('case " $* " in *" logs "*) echo it is said ;; *) exit 1 ;; esac', check=False)
    assert done.returncode
    assert done.stderr.splitlines()[0] == "it is said"


def test_the_image_is_told_its_commit(make_up, run):
    project, up = make_up

    def told() -> str:
        return up('echo "commit=$PROJECT_COMMIT"').stdout

    head = run("git", "rev-parse", "HEAD", cwd=project).stdout.strip()
    assert told() == f"commit={head}\n"
    (project / "dag.py").write_text("", encoding="utf-8")
    assert told() == f"commit={head}-dirty\n"
    shutil.rmtree(project / ".git")
    assert told() == "commit=\n"
    assert read(project, "compose.yaml")["x-dagster"]["build"]["args"] == {
        "COMMIT": "${PROJECT_COMMIT:-}"
    }


def test_mlflow_takes_the_driver_that_is_installed(deployed):
    """``postgresql://`` alone means another driver to SQLAlchemy 2.1."""
    address = read(deployed, "compose.yaml")["services"]["mlflow"]["environment"]
    assert make_url(address["MLFLOW_BACKEND_STORE_URI"]).get_dialect().import_dbapi()
    assert (
        make_url(address["MLFLOW_BACKEND_STORE_URI"]).drivername
        == (read(deployed, "dagster.yaml")["storage"]["postgres"]["postgres_db"]["scheme"])
    )


@pytest.mark.slow
def test_the_lock_has_hashes_and_no_address(deployed, installed, run):
    project = installed(deployed)
    run("make", "deploy/requirements.lock", cwd=project)
    text = (project / "deploy" / "requirements.lock").read_text(encoding="utf-8")
    assert "dagster-postgres==" in text
    assert "--hash=sha256:" in text
    assert not re.search(r"https?://|--index|--find-links", text)


def test_dagster_takes_the_settings_for_a_container_for_each_run(deployed, monkeypatch):
    monkeypatch.setenv("PROJECT_IMAGE", "digits_demo:latest")
    launcher = read(deployed, "launcher.per-run.yaml")["run_launcher"]
    launcher_class = getattr(importlib.import_module(launcher["module"]), launcher["class"])
    known = process_config(launcher_class.config_type(), launcher["config"])
    assert known.success, known.errors


# --- services -------------------------------------------------------------------------------------


class Services:
    """The services as processes, on one PostgreSQL and with a home of Dagster's that they share."""

    def __init__(self, folder: Path, deployed: Path) -> None:
        self.project = folder / "a project"
        self._home = folder / "home"
        self._processes: dict[str, psutil.Popen] = {}
        self._ports = {name: free_port() for name in ("postgres", "code", "web")}
        self._data = Path(tempfile.mkdtemp(prefix="postgres-"))  # its user may not enter others
        self._write(deployed / "deploy")
        services = read(deployed, "compose.yaml")["services"]
        self._commands = {
            name: self._here(services[name]["command"]) for name in ("code", "web", "daemon")
        }
        self._make_database()

    def _write(self, deploy: Path) -> None:
        step = {"outs": {"x": "x.json"}, "declared": {"cache": False}}
        steps = {
            "a.first": Step(WORK, **step),
            "b.second": Step(WORK, ins={"upstream": "a.first.x"}, **step),
        }
        pipelines = {"all": {}, "each_minute": {"schedule": {"cron": "* * * * *"}}}
        write_project(self.project, steps, pipelines=pipelines, with_databases=False)
        (self.project / "deploy").mkdir()
        shutil.copy(deploy / "workspace.yaml", self.project / "deploy")
        self._home.mkdir()
        parts = [(deploy / name).read_text() for name in ("dagster.yaml", "launcher.yaml")]
        (self._home / "dagster.yaml").write_text("".join(parts))  # as the Dockerfile does it

    def _here(self, command: list[str]) -> list[str]:
        """The command of a service with the ports of this test, on this machine only."""
        ports = {"4000": str(self._ports["code"]), "3000": str(self._ports["web"])}
        words = [{**ports, "0.0.0.0": "127.0.0.1"}.get(word, word) for word in command]
        return [str(BIN / words[0]), *words[1:]]

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "DAGSTER_HOME": str(self._home),
            "PYTHONPATH": str(self.project),
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self._ports["postgres"]),
            "POSTGRES_USER": "dagster",
            "POSTGRES_DB": "dagster",
            "POSTGRES_PASSWORD": PASSWORD,
            "CODE_HOST": "127.0.0.1",
            "CODE_PORT": str(self._ports["code"]),
        }

    def _make_database(self) -> None:
        password = self._data / "password"
        password.write_text(PASSWORD)
        for path in (self._data, password):
            shutil.chown(path, _owner())
        self._postgres(
            *("initdb", "--username=dagster", f"--pgdata={self._data / 'data'}", "--no-sync"),
            *(f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"),
        )
        self.start("postgres")
        self._postgres("createdb", *self._at, "dagster")

    @property
    def _at(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self._ports["postgres"]), "-U", "dagster"]

    def _postgres(self, tool: str, *arguments: str) -> None:
        command = [str(_postgres_tools() / tool), *arguments]
        env = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(
            command, check=True, capture_output=True, user=_owner(), cwd=self._data, env=env
        )

    def start(self, name: str) -> None:
        """Start a service and wait until it answers."""
        command, user, folder = self._commands_of(name)
        with (self._home / f"{name}.log").open("a") as log:
            self._processes[name] = psutil.Popen(
                command, cwd=folder, env=self.env, user=user, stdout=log, stderr=log
            )
        wait_for(lambda: self._is_healthy(name), f"{name} does not answer: {self._home}")

    def _commands_of(self, name: str) -> tuple[list[str], str | None, Path]:
        if name != "postgres":
            return self._commands[name], None, self.project
        server = [str(_postgres_tools() / "postgres"), "-D", str(self._data / "data")]
        port = str(self._ports["postgres"])
        return [*server, "-h", "127.0.0.1", "-p", port, "-k", str(self._data)], _owner(), self._data

    def _is_healthy(self, name: str) -> bool:
        assert self._processes[name].is_running()
        if name == "web":
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.web.url}/server_info", timeout=2).close()
                return True
            return False
        checks = {
            "postgres": [_postgres_tools() / "pg_isready", *self._at],
            "code": [BIN / "dagster", "api", "grpc-health-check", "--port", self.env["CODE_PORT"]],
            "daemon": [BIN / "dagster-daemon", "liveness-check"],
        }
        done = subprocess.run(
            checks[name], capture_output=True, env=self.env, cwd=self.project, check=False
        )
        return done.returncode == 0

    def kill(self, name: str) -> None:
        """End a service with all its processes, as Docker does when a container is killed."""
        service = self._processes.pop(name)
        for process in [*service.children(recursive=True), service]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        service.wait()

    def end(self) -> None:
        for name in list(self._processes)[::-1]:
            self.kill(name)
        shutil.rmtree(self._data, ignore_errors=True)

    def logs(self) -> str:
        """The end of what each service has said."""
        files = sorted(self._home.glob("*.log"))
        return "\n".join(f"--- {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in files)

    @property
    def web(self) -> WebServer:
        """The web server, which is asked as the UI does it."""
        return WebServer(f"http://127.0.0.1:{self._ports['web']}")


def _postgres_tools() -> Path:
    """The newest PostgreSQL; Debian has its programs in a folder of each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found and shutil.which("initdb"):
        found = [Path(str(shutil.which("initdb"))).parent]
    if not found:
        without("PostgreSQL is missing: apt-get install postgresql")
    return found[-1]


def _owner() -> str | None:
    """Who PostgreSQL runs as: it refuses to be root."""
    return "postgres" if os.geteuid() == 0 else None


def wait_for(condition: Callable[[], Any], otherwise: str) -> Any:
    return wait_until(condition, SECONDS, 0.3, otherwise)


@pytest.fixture(scope="module")
def services(deployed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """All services, started."""
    found = Services(tmp_path_factory.mktemp("services"), deployed)
    try:
        for name in ("code", "web", "daemon"):
            found.start(name)
        yield found
    finally:
        found.end()


@pytest.mark.slow(minutes=4)
def test_the_services_run_what_is_asked_for_and_survive_the_death_of_each(services):
    start_schedule = (
        str(BIN / "python"),
        "-m",
        "dsml",
        "schedules",
        "start",
        "each_minute_schedule",
    )
    subprocess.run(start_schedule, cwd=services.project, env=services.env, check=True)

    # more than run at once: the others wait in the queue
    first = [services.web.launch("all") for _ in range(5)]
    at_once = 0

    def all_passed() -> bool:
        nonlocal at_once
        going = [run for run in services.web.runs() if run["status"] in ("STARTED", "STARTING")]
        at_once = max(at_once, len(going))
        return services.web.settled(first)

    wait_for(all_passed, "runs of the UI did not all pass")
    assert 2 <= at_once <= 4

    for name in ("daemon", "web", "code", "postgres"):
        launched = [services.web.launch("all") for _ in range(2)]

        wait_for(partial(services.web.under_way, launched), f"{name}: the runs do not begin")
        time.sleep(1)
        kill_and_settle(services, name, launched)

    # and the two that people end most at any moment at all: `make faults` asks for 20
    moments = random.Random("services")
    for name in ("daemon", "web") * (int(os.environ.get("FAULT_MOMENTS", "1")) - 1):
        launched = [wait_for(lambda: services.web.try_to_launch("all"), "no run can be launched")]
        moment = moments.uniform(0, RUN_SECONDS)
        time.sleep(moment)
        kill_and_settle(services, name, launched)
        print(f"KILLED {name} {moment:.1f} s after a run was launched")

    def of_schedule() -> bool:
        return any(
            run["jobName"] == "each_minute" and run["status"] == "SUCCESS"
            for run in services.web.runs()
        )

    wait_for(of_schedule, "the schedule has started no run")
    runs = services.web.runs()
    assert not executed_beside_itself(runs)
    passed = [run["root"] for run in runs if run["status"] == "SUCCESS"]
    assert len(passed) == len(set(passed))
    assert broken_artefacts(services.project / "artefacts") == []


def kill_and_settle(services: Services, name: str, launched: list[str]) -> None:
    """Kill a service and start it again; the runs that were launched pass all the same."""
    services.kill(name)
    time.sleep(1)
    services.start(name)
    try:
        wait_for(lambda: services.web.settled(launched), f"{name}: not all runs have passed")
    except AssertionError as error:
        raise AssertionError(f"{error}: {services.web.of(launched)}\n{services.logs()}") from error
