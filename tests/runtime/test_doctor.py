"""``dsml doctor``: each check is broken here, and says what is wrong and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from click.testing import CliRunner
from conftest import run_command

import dsml
from dsml.cli import cli, doctor  # noqa: F401 - it adds its command
from dsml.contract.vendored import write_sums
from dsml.orchestrate import warm
from dsml.orchestrate.doctor import machine, services
from dsml.orchestrate.doctor.findings import CHECKS, examine

from .projects import PROJECT_FOLDER, Step, start, write_project

PYPROJECT = '[project]\nrequires-python = "{python}"\ndependencies = [{packages}]\n'

NAIVE = datetime(2024, 5, 6, 7, 8, 9)  # noqa: DTZ001 - as a storage may say it


@pytest.fixture
def project(root, monkeypatch):
    """A project in which nothing is wrong but that it has no commit, and nothing was generated."""
    write_project(root, {"load.data": Step(outs={"out": "out.txt"})})
    write_pyproject(root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    return root


def write_pyproject(
    root, python=">=3.11", packages='"pyyaml>=6", "winonly>=1; sys_platform == \'none\'"'
):
    text = PYPROJECT.format(python=python, packages=packages)
    (root / "pyproject.toml").write_text(text, encoding="utf-8")


def change_catalog(root, **keys):
    file = root / "catalog.yml"
    document = yaml.safe_load(file.read_text(encoding="utf-8")) | keys
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def found(root, name):
    """State, finding and fix of a check that has one finding."""
    (finding,) = examine(root, [name])
    return finding.state, finding.what, finding.fix


def test_every_check_has_something_to_say_and_nothing_is_broken(project, monkeypatch):
    monkeypatch.setattr(machine, "_is_free", lambda _: True)
    told = list(examine(project))
    assert {finding.check for finding in told} == CHECKS.keys()
    assert [f for f in told if f.state == "broken"] == []
    assert [f.check for f in told if f.state == "warning"] == ["git", "runtime"]
    assert all(bool(finding.fix) == (finding.state != "ok") for finding in told)


def test_another_python_than_the_project_takes(project):
    write_pyproject(project, python=">=4.1")
    state, what, fix = found(project, "python")
    assert (state, what.partition(", ")[2]) == ("broken", "and the project needs >=4.1")
    assert fix == "remove .venv, then: make install PYTHON=<a Python >=4.1>"


def test_packages_that_are_missing_or_too_old(project):
    write_pyproject(project, packages='"no-such-package>=1", "pyyaml>=99", "click"')
    told = [(f.state, f.what, f.fix) for f in examine(project, ["packages"])]
    assert told[0] == ("broken", "no-such-package is not installed", "make install")
    assert told[1][1].startswith("pyyaml 6")
    assert told[1][1].endswith("is installed, and the project needs >=99")
    assert len(told) == 2


def test_no_git(project, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    state, what, fix = found(project, "git")
    assert (state, fix) == ("warning", "install it: https://git-scm.com")
    assert what == ("git is not installed: runs cannot note which commit they were made from")


def test_a_kernel_that_does_not_start(project, monkeypatch):
    broken = project / "broken" / "ipykernel"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('half an installation')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    monkeypatch.setattr(warm, "_WARM", [])  # a test may have left one, and a command has none
    state, what, fix = found(project, "kernel")
    assert state == "broken"
    assert what.startswith("no kernel starts: ")
    assert what.endswith("(ImportError: half an installation)")
    assert fix.startswith("make install; this shows more: ")
    assert fix.endswith("-m ipykernel")


def test_a_port_that_is_taken_and_by_whom(project, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(machine, "_UI", port)
        state, what, fix = found(project, "ports")
    assert state == "warning"
    assert what.startswith(f"{port}, which make dagit takes, is taken by ")
    assert f"(process {os.getpid()})" in what
    assert fix == f"if that isn't your make dagit: make dagit port={port + 1}"


@pytest.mark.parametrize(("free", "state"), [(10**8, "broken"), (10**9, "warning")])
def test_a_disk_that_is_full(project, monkeypatch, free, state):
    usage = shutil.disk_usage(project)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    first, _ = examine(project, ["disk"])
    assert first.state == state
    assert first.what.startswith("only 95.4 MiB" if state == "broken" else "only 953.7 MiB")
    assert "make gc" in first.fix


def test_notebooks_and_catalog_that_do_not_fit_together(project):
    notebook = project / "stages" / "load" / "data.ipynb"
    notebook.write_text(notebook.read_text().replace("op_parameters", "op_params"))
    state, what, fix = found(project, "project")
    assert (state, fix) == ("broken", "make check tells them all")
    assert "mistake" in what
    assert "stages/load/data.ipynb" in what


def test_a_runtime_that_is_installed_and_not_in_the_project(project):
    (project / "dsml").unlink()
    assert found(project, "runtime")[:2] == (
        "ok",
        f"it is installed, not kept in the project: {dsml.__path__[0]}",
    )


def test_a_runtime_that_was_edited_in_the_project(project):
    runtime = project / "dsml"
    runtime.unlink()
    runtime.mkdir()
    for number in range(7):
        (runtime / f"m{number}.py").touch()
    write_sums(project)
    assert found(project, "runtime") == ("ok", "dsml/ is as it was generated", "")
    (runtime / "m0.py").write_text("ours")
    (runtime / "ours.py").touch()
    state, what, fix = found(project, "runtime")
    assert state == "warning"
    assert what == ("dsml/ was edited in this project: dsml/m0.py (changed), dsml/ours.py (added)")
    assert fix == (
        "take the edit to the template, or keep it as a patch: "
        "cruft update may conflict there (docs/updating.md)"
    )
    page = (PROJECT_FOLDER / "docs" / "updating.md").read_text(encoding="utf-8")
    assert fix in page
    assert what.partition(":")[0] in page
    for number in range(1, 7):
        (runtime / f"m{number}.py").unlink()
    assert found(project, "runtime")[1].endswith("dsml/m4.py (missing) and 3 more")


def test_a_runtime_of_which_is_not_known_what_it_was(project):
    state, what, fix = found(project, "runtime")
    assert (state, what.partition(":")[0]) == ("warning", "dsml/SHA256SUMS")
    assert fix.startswith("restore it: git checkout HEAD -- dsml/SHA256SUMS")


def test_a_storage_that_cannot_be_written(project):
    (project / "artefacts").write_text("a file, where a folder should be")
    state, what, fix = found(project, "storage")
    assert state == "broken"
    assert what.startswith(f"{project / 'artefacts'} (environment dev) cannot be written: ")
    assert fix.endswith("environments.dev.storage in catalog.yml")


def test_looking_leaves_nothing_in_the_storage(project):
    assert found(project, "storage")[0] == "ok"
    assert not (project / "artefacts").exists()


def test_a_storage_that_cannot_be_reached(project, monkeypatch):
    change_catalog(project, environments={"dev": {"storage": "s3://no-such-bucket/x"}})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setattr("dsml.store.remote.PATIENCE.__class__.pauses", lambda _: iter(()))
    state, what, fix = found(project, "storage")
    assert state == "broken"
    assert "environments.dev.storage: " in what
    assert fix


def test_clocks_that_do_not_agree(project, monkeypatch):
    real = services._stamp
    monkeypatch.setattr(services, "_stamp", lambda path: real(path) - 600)
    state, what, fix = found(project, "clock")
    assert state == "broken"
    assert what.endswith(("600 s apart", "601 s apart"))
    assert "NTP" in fix


def test_what_object_storages_say_of_their_time(new_memory, monkeypatch):
    store = new_memory()
    path = store.root / "file"
    store.write(path, "")
    assert abs(services._stamp(path) - datetime.now(UTC).timestamp()) < 5
    for said in ("2024-05-06T07:08:09+00:00", NAIVE, 1714979289.0):
        monkeypatch.setattr(
            type(path.fs), "info", lambda *_, said=said: {"updated": said}, raising=False
        )
        moment = datetime.fromtimestamp(services._stamp(path), UTC)
        assert moment - datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC) == timedelta()


@pytest.mark.parametrize(
    ("home", "state", "what"),
    [
        ("relative", "broken", "DAGSTER_HOME is 'relative', which is no full path of a folder"),
        ("{root}/missing", "broken", "which is no full path of a folder"),
        ("{root}/stages", "warning", "has no dagster.yaml: queue and limits are Dagster's"),
        ("{root}/other", "warning", "are not seen"),
    ],
)
def test_a_dagster_home_that_is_not_the_projects(project, monkeypatch, home, state, what):
    shutil.copytree(project / ".dagster", project / "other")
    (project / ".dagster" / "history").mkdir(exist_ok=True)
    monkeypatch.setenv("DAGSTER_HOME", home.format(root=project))
    told = found(project, "home")
    assert told[0] == state
    assert what in told[1]
    assert told[2] == f"unset DAGSTER_HOME, or set it to {project / '.dagster'}"


def test_another_dagster_home_is_well_where_the_projects_own_has_no_runs(project, monkeypatch):
    shutil.copytree(project / ".dagster", project / "other")
    shutil.rmtree(project / ".dagster" / "history")
    monkeypatch.setenv("DAGSTER_HOME", str(project / "other"))
    assert found(project, "home") == ("ok", str(project / "other"), "")


def test_a_database_that_does_not_open(project):
    history = project / ".dagster" / "history"
    history.mkdir(parents=True, exist_ok=True)
    (history / "runs.db").write_bytes(b"not a database at all" * 100)
    state, what, fix = found(project, "database")
    assert state == "broken"
    assert what.startswith("it doesn't open: DatabaseError: ")
    assert "restore a copy" in fix


def test_a_database_of_another_dagster(project):
    assert found(project, "database") == ("ok", "0 runs", "")
    with sqlite3.connect(project / ".dagster" / "history" / "runs.db") as database:
        database.execute("update alembic_version set version_num = '8ccbed5060b8'")
    state, what, fix = found(project, "database")
    assert state == "broken"
    assert what.startswith("its tables are those of another Dagster (8ccbed5060b8, not ")
    assert fix.endswith("dagster instance migrate")


@pytest.mark.slow
def test_a_schedule_that_is_on_while_no_daemon_runs(project):
    schedule = {"cron": "0 6 * * 1", "timezone": "Europe/Berlin"}
    change_catalog(project, pipelines={"all": {"schedule": schedule}})
    started = start(project, "schedules", "start", "all_schedule")
    assert started.communicate(timeout=60)[0].startswith("all_schedule started")
    looked = start(project, "doctor", "--json")
    told = {f["check"]: f for f in json.loads(looked.communicate(timeout=60)[0])}["daemon"]
    assert told["state"] == "broken"
    assert told["what"] == "no daemon runs, so that schedules do nothing: all_schedule"
    assert "make dagit starts one" in told["fix"]
    assert looked.returncode == 1


def test_an_mlflow_that_does_not_answer(project):
    change_catalog(
        project, environments={"dev": {"storage": "artefacts", "mlflow": "http://127.0.0.1:9"}}
    )
    state, what, fix = found(project, "mlflow")
    assert state == "warning"
    assert what.startswith("MLflow at http://127.0.0.1:9 doesn't answer")
    assert fix.endswith("dsml sync")


def test_a_catalog_that_cannot_be_used_is_told_by_the_checks_that_need_it(project):
    (project / "catalog.yml").write_text("version: 1\nexperiments: 3\n", encoding="utf-8")
    told = list(examine(project, ["storage"]))
    assert {f.state for f in told} == {"broken"}
    assert any(f.what.startswith("catalog.yml") for f in told)


def test_where_dagster_cannot_be_imported_the_other_checks_are_made(project):
    code = "import sys; sys.modules['dagster'] = None; from dsml.cli import main; main()"
    done = run_command(sys.executable, "-c", code, "doctor", cwd=project, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = {line.split()[1]: line for line in done.stdout.splitlines() if line[:1] != " "}
    assert told.keys() == CHECKS.keys()
    assert "import of dagster halted" in told["database"]
    assert told["packages"].startswith("ok")


def test_the_command_says_it_line_by_line_and_ends_with_1_where_something_is_broken(
    project, monkeypatch
):
    kept = {name: CHECKS[name] for name in ("python", "packages")}
    for name in list(CHECKS):
        if name not in kept:
            monkeypatch.delitem(CHECKS, name)
    told = CliRunner().invoke(cli, ["doctor"], catch_exceptions=False)
    assert told.exit_code == 0
    assert [line.split()[:2] for line in told.output.splitlines()] == [
        ["ok", "python"],
        ["ok", "packages"],
    ]
    write_pyproject(project, packages='"no-such-package>=1"')
    told = CliRunner().invoke(cli, ["doctor"], catch_exceptions=False)
    assert told.exit_code == 1
    assert told.output.splitlines()[1:] == [
        "broken   packages  no-such-package is not installed",
        "                   make install",
    ]
    told = CliRunner().invoke(cli, ["doctor", "--json"], catch_exceptions=False)
    assert told.exit_code == 1
    assert json.loads(told.output)[1] == {
        "check": "packages",
        "state": "broken",
        "what": "no-such-package is not installed",
        "fix": "make install",
    }
