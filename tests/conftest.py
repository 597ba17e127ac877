"""What the tests share: projects to look at, and how to run commands in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cookiecutter.environment import StrictEnvironment
from cookiecutter.main import cookiecutter

from dsml.contract.lock import locked

TEMPLATE = Path(__file__).resolve().parent.parent
PROJECT_FOLDER = TEMPLATE / "{{cookiecutter.project_slug}}"
# What cookiecutter needs of this repository. Environments and builds stay behind.
TEMPLATE_PARTS = ("cookiecutter.json", "hooks", "templates", PROJECT_FOLDER.name)
CACHES = ("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache")

# Without a Docker engine there is nothing to test: `make containers` asks for it.
collect_ignore = [] if os.environ.get("WITH_CONTAINERS") else ["test_containers.py"]

BIN = Path(sys.executable).parent  # the tools of the tests

Bake = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _library_settings() -> dict[str, str]:
    """The variables that libraries set for the whole process."""
    return {k: v for k, v in os.environ.items() if k.startswith(("MLFLOW_", "MPLBACKEND"))}


_GIVEN = _library_settings()

_QUICK, _SLOW = 0.002, 0.2  # minutes that a test is taken to last, where it doesn't say


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that take longest, so that no worker is at one when all others are over.

    Workers are given whole files, since tests of a file share what was made for one of them.
    """
    minutes: dict[Path, float] = defaultdict(float)
    for item in items:
        slow = item.get_closest_marker("slow")
        minutes[item.path] += _QUICK if slow is None else slow.kwargs.get("minutes", _SLOW)
    items.sort(key=lambda item: -minutes[item.path])


@pytest.fixture(autouse=True)
def _libraries_leave_the_environment_as_it_was() -> Iterator[None]:
    """Take back what fixtures, tests, and libraries by being imported, set in this process."""

    def take_back() -> None:
        for name in _library_settings().keys() - _GIVEN.keys():
            del os.environ[name]
        os.environ.update(_GIVEN)

    take_back()
    yield
    take_back()


@pytest.fixture(autouse=True)
def _definitions_are_those_of_one_project() -> Iterator[None]:
    """Forget ``dag.py`` after each test: the next project's has the same name, and is not read."""
    yield
    sys.modules.pop("dag", None)


def _of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of the whole run, which its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _a_home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the settings of git, cookiecutter and make out, and give git an identity."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n", encoding="utf-8"
    )
    # Their caches would move with HOME, and be filled anew by every worker.
    kept = {
        "XDG_CACHE_HOME": Path.home() / ".cache",
        "MPLCONFIGDIR": Path.home() / ".config" / "matplotlib",
        "DOCKER_CONFIG": Path.home() / ".docker",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in kept.items():
            patch.setenv(name, os.environ.get(name, str(folder)))
        # Content decides what mypy takes from it, so fresh projects share what is the same in all,
        # and what `make lint` knows of it.
        patch.setenv("MYPY_CACHE_DIR", str(TEMPLATE / ".mypy_cache"))
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        patch.setenv("COOKIECUTTER_CONFIG", str(home / "no-such-file"))
        patch.delenv("COOKIECUTTER_CONFIG")
        # `make test` tells the makes below it that it is their parent; they would say so.
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _each_text_of_the_template_is_compiled_once() -> Iterator[None]:
    """Let cookiecutter remember what it has compiled: hundreds of projects are made of one text."""
    compiled: dict[tuple[Any, ...], Any] = {}
    compile_ = StrictEnvironment.compile

    def remembered(self: StrictEnvironment, source: Any, *arguments: Any) -> Any:
        key = (tuple(self.extensions), source, *arguments)
        if key not in compiled:
            compiled[key] = compile_(self, source, *arguments)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StrictEnvironment, "compile", remembered)
        yield


def graphql(url: str, query: str, **variables: Any) -> Any:
    """Send what a button of Dagster's UI sends."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def without(missing: str) -> NoReturn:
    """Skip a test that wants what this machine doesn't have; in CI nothing is skipped."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def npm_tool(package: str, version: str, tool: str) -> Path:
    """A program from the npm registry, of a fixed version; one worker installs it for all."""
    folder = TEMPLATE / "build" / "npm" / package / version
    found = folder / "node_modules" / ".bin" / tool
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, patience=300):
        if not found.exists():
            npm = shutil.which("npm")
            if npm is None:
                without("npm is missing")
            folder.mkdir(parents=True, exist_ok=True)
            quiet = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
            run_command(npm, "install", *quiet, f"{package}@{version}", cwd=folder)
    return found


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template without caches, so that a test may break it and runs find it clean."""
    return copy_template(tmp_path_factory.mktemp("template") / "dsml-template")


def copy_template(target: Path) -> Path:
    """Copy what cookiecutter needs of this repository to `target`."""
    target.mkdir(parents=True)
    for part in TEMPLATE_PARTS:
        source = TEMPLATE / part
        if source.is_dir():
            shutil.copytree(
                source, target / part, ignore=shutil.ignore_patterns(*CACHES, "artefacts")
            )
        else:
            shutil.copy2(source, target / part)
    return target


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Bake:
    """Generate a project into this test's folder: `bake(example="empty")` returns its path."""
    return lambda **answers: make(template, tmp_path / "out", answers)


def make(
    template: Path, output: Path, answers: Mapping[str, str], *, accept_hooks: bool = True
) -> Path:
    """Generate a project below `output`, with the template's defaults for what is not answered."""
    output.mkdir(parents=True, exist_ok=True)
    made = cookiecutter(
        str(template),
        no_input=True,
        default_config=True,
        extra_context=dict(answers),
        output_dir=str(output),
        accept_hooks=accept_hooks,
    )
    return Path(made)


@pytest.fixture(scope="session")
def digits(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project. Tests share it: read it, or copy it with `copy_of`."""
    return make(template, tmp_path_factory.mktemp("digits"), {})


@pytest.fixture(scope="session")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project after a run of each of its steps on `small`, shared like `digits`."""
    project = _of_all_workers(tmp_path_factory) / "trained" / digits.name
    project.parent.mkdir(exist_ok=True)
    done = project.with_suffix(".done")
    with locked(project, patience=300):  # it takes a while: one worker makes it for all
        if not done.exists():
            shutil.copytree(digits, project)
            for pipeline in ("training", "inference"):
                command = ("-m", "dsml", "run", pipeline, "--experiment", "small")
                run_command(sys.executable, *command, cwd=project)
            done.touch()
    return project


@pytest.fixture(scope="session")
def empty(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project of the empty example, shared like `digits`."""
    answers = {"example": "empty", "project_name": "Empty demo"}
    return make(template, tmp_path_factory.mktemp("empty"), answers)


@pytest.fixture(scope="session")
def dashboard(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project with a dashboard, shared like `digits`."""
    return make(template, tmp_path_factory.mktemp("dashboard"), {"dashboard": "streamlit"})


@pytest.fixture(scope="session")
def untracked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project without MLflow, shared like `digits`."""
    return make(template, tmp_path_factory.mktemp("untracked"), {"tracking": "none"})


@pytest.fixture(scope="session")
def deployed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project with services, shared like `digits`."""
    return make(template, tmp_path_factory.mktemp("deployed"), {"deploy": "compose"})


@pytest.fixture(scope="session")
def clustered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default project for a Kubernetes cluster, shared like `digits`."""
    return make(template, tmp_path_factory.mktemp("clustered"), {"deploy": "kubernetes"})


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a shared project into this test's folder, which has a space in its name."""
    return lambda project: shutil.copytree(
        project, tmp_path / "a copy" / project.name, symlinks=True
    )


@pytest.fixture
def installed(copy_of: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Copy a shared project so that it looks installed: its .venv holds the tools of the tests."""

    return lambda project: look_installed(copy_of(project))


def look_installed(project: Path) -> Path:
    """Give a project a .venv that holds the tools of the tests."""
    folder = project / ".venv" / "bin"
    folder.mkdir(parents=True)
    for tool in BIN.iterdir():
        (folder / tool.name).symlink_to(tool)
    launcher = folder / "dsml"
    launcher.unlink(missing_ok=True)
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dsml "$@"\n')
    launcher.chmod(0o755)
    (project / ".venv" / ".installed").touch()
    return project


def targets(makefile: Path) -> set[str]:
    """The targets of a Makefile that `make help` explains."""
    return set(re.findall(r"^([a-z-]+):.*## ", makefile.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture
def run() -> Run:
    """Run a command as a user of a project would, with the tools of the tests."""
    return run_command


def run_command(
    *command: str | Path,
    cwd: Path,
    check: bool = True,
    timeout: float = 300,
    input: str | None = None,  # noqa: A002 - as subprocess.run names it
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a project that is not installed: it is found through PYTHONPATH.

    Raises:
        AssertionError: The command failed and `check` is set; the text is what it printed.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment_in(cwd, environment),
        capture_output=True,
        input=input,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def environment_in(project: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a command in a project, which find the tools of the tests."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        **more,
    }


def files_of(project: Path) -> set[str]:
    """All files of a project but those of git, as paths from its root."""
    paths = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".git"}


def published(project: Path, experiment: str) -> set[str]:
    """The steps that have published in an experiment."""
    found = (project / "artefacts" / experiment).rglob("manifest.json")
    return {json.loads(path.read_text(encoding="utf-8"))["step"] for path in found}


def links_lead_somewhere(root: Path) -> None:
    """Fail where a README or a page of `docs/` links to a file that is not there."""
    for page in (root / "README.md", *root.glob("docs/*.md")):
        links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured with `record_property`, and don't judge by the clock."""
    reports = (report for found in terminalreporter.stats.values() for report in found)
    measured = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    if measured:
        terminalreporter.section("measured")
    for name, value in dict.fromkeys(measured):
        terminalreporter.line(f"{name}: {value}")
