"""What a fresh project can do: lint, types, hooks and make targets, in a path with a space."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tomllib

import pytest
import yaml
from conftest import BIN, TEMPLATE, published, targets

BASH = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# --- style, types, hooks --------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["aaa", "zzz"])
def test_the_order_of_imports_does_not_depend_on_the_name_of_the_package(package, bake, run):
    run("ruff", "check", "--no-cache", cwd=bake(package_name=package))


@pytest.mark.slow
@pytest.mark.parametrize("example", ["dashboard", "untracked"])
def test_a_fresh_project_passes_the_strict_type_checker(example, request, copy_of, run):
    run("mypy", cwd=copy_of(request.getfixturevalue(example)))


def test_the_hooks_of_git_strip_notebooks_and_check_with_the_tools_of_the_project(digits):
    settings = yaml.safe_load((digits / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in settings["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    started = {hook["id"]: hook["args"] for hook in hooks}
    assert started["nbstripout"] == ["nbstripout", "--keep-id"]
    assert started["dsml-check"] == ["dsml", "check"]
    metadata = tomllib.loads((digits / "pyproject.toml").read_text(encoding="utf-8"))
    tools = [*metadata["dependency-groups"]["dev"], *metadata["project"]["scripts"]]
    of_the_project = {re.match(r"[\w-]+", tool)[0] for tool in tools}
    shared = {"end-of-file-fixer", "check-yaml"}  # of pre-commit-hooks
    known = {name.removesuffix("-hook") for name, *_ in started.values()} - shared
    assert known <= of_the_project


@pytest.mark.slow
@pytest.mark.parametrize("example", ["digits", "empty"])
def test_pre_commit_changes_nothing_in_a_fresh_project_whether_or_not_venv_is_activated(
    example, request, installed, run, tmp_path
):
    project = installed(request.getfixturevalue(example))
    activated = f"{project / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for path in (os.environ["PATH"], activated):
        run(
            BIN / "pre-commit",
            "run",
            "--all-files",
            cwd=project,
            PATH=path,
            PRE_COMMIT_HOME=str(tmp_path),
        )
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.slow
def test_pre_commit_strips_outputs_and_keeps_the_kernel(empty, installed, run, tmp_path):
    project = installed(empty)
    (notebook, *_) = sorted(project.glob("stages/*/*.ipynb"))
    before = notebook.read_text(encoding="utf-8")
    output = '"outputs": [{"output_type": "stream", "name": "stdout", "text": ["x"]}]'
    notebook.write_text(before.replace('"outputs": []', output), encoding="utf-8")
    assert notebook.read_text(encoding="utf-8") != before
    hook = ("run", "nbstripout", "--all-files")
    done = run(BIN / "pre-commit", *hook, cwd=project, check=False, PRE_COMMIT_HOME=str(tmp_path))
    assert done.returncode == 1
    assert notebook.read_text(encoding="utf-8") == before
    assert '"kernelspec"' in before


# --- make -----------------------------------------------------------------------------------------


def test_make_without_a_target_lists_every_target_in_columns(digits, run):
    lines = run("make", cwd=digits).stdout.splitlines()
    shown = {line.split()[1] for line in lines}
    assert shown == targets(digits / "Makefile")
    assert shown >= {
        "install",
        "run",
        "dagit",
        "notebook",
        "check",
        "register",
        "test",
        "lint",
        "format",
        "clean",
    }
    starts = {re.match(r"  make [a-z]+ +", line).end() for line in lines}
    assert len(starts) == 1


@pytest.mark.parametrize("example", ["digits", "dashboard", "untracked", "deployed"])
def test_every_target_is_declared_to_be_no_file(example, request):
    makefile = request.getfixturevalue(example) / "Makefile"
    text = makefile.read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    assert set(phony) == targets(makefile)


@pytest.mark.parametrize("example", ["digits", "dashboard", "untracked", "deployed"])
def test_the_readme_explains_every_target_and_its_equivalent_without_make(example, request):
    project = request.getfixturevalue(example)
    table = re.findall(
        r"^\| `make ([a-z]+)[^|]*\| ([^|]*)\|",
        (project / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    explained = {target: equivalent.strip() for target, equivalent in table}
    assert set(explained) == targets(project / "Makefile") - {"help"}
    assert [target for target, equivalent in explained.items() if not equivalent] == ["clean"]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], "run"),
        (["experiment=wide"], "run --experiment wide"),
        (["pipeline=training", "workers=1"], "run training --workers 1"),
        (["set=a.b.c=1 d.e.f=x"], "run --set a.b.c=1 --set d.e.f=x"),
        (["select=train+ load"], "run --select train+ load"),
        (["partition=2024-03-31"], "run --partition 2024-03-31"),
        (["force=1"], "run --force"),
        (["from=latest"], "run --from-failure latest"),
    ],
)
def test_make_run_passes_on_what_it_is_given(given, arguments, digits, installed, run):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", "run", *given, cwd=project).stdout.strip() == arguments


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], "compare"),
        (["runs=a b", "sort=accuracy"], "compare a b --sort accuracy"),
        (["metric=x y", "where=n > 3"], "compare --metric x --metric y --where n > 3"),
        (
            ["pipeline=p", "experiment=e", "limit=3"],
            "compare --pipeline p --experiment e --limit 3",
        ),
        (["html=a b.html", "plot=c.png"], "compare --html a b.html --plot c.png"),
    ],
)
def test_make_compare_passes_on_what_it_is_given(given, arguments, digits, installed, run):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", "compare", *given, cwd=project).stdout.strip() == arguments


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], "trace latest"),
        (["run=ab", "query=level=step and seconds>1"], "trace ab --query level=step and seconds>1"),
        (["expand=a b"], "trace latest --expand a b"),
    ],
)
def test_make_trace_passes_on_what_it_is_given(given, arguments, digits, installed, run):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", "trace", *given, cwd=project).stdout.strip() == arguments


@pytest.mark.parametrize(
    ("target", "given", "arguments"),
    [
        ("promote", [], "promote"),
        ("promote", ["model=m", "metric=f1", "run=a b"], "promote m --metric f1 --run a b"),
        ("promote", ["experiment=wide", "dry=1"], "promote --experiment wide --dry-run"),
        ("promote", ["to=2"], "promote --to 2"),
        ("serve", [], "serve"),
        ("serve", ["model=m", "port=5002"], "serve m --port 5002"),
    ],
)
def test_make_promote_and_serve_pass_on_what_they_are_given(
    target, given, arguments, digits, installed, run
):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", target, *given, cwd=project).stdout.strip() == arguments


def test_the_targets_of_a_part_are_there_where_it_was_chosen(
    digits, dashboard, untracked, deployed
):
    tracking = {"mlflow", "promote", "serve", "sync"}
    assert targets(digits / "Makefile") - targets(untracked / "Makefile") == tracking
    assert targets(dashboard / "Makefile") - targets(digits / "Makefile") == {"dashboard"}
    services = {"up", "down", "lock"}
    assert targets(deployed / "Makefile") - targets(digits / "Makefile") == services


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (["mlflow"], "mlflow"),
        (["mlflow", "port=5055"], "mlflow --port 5055"),
        (["dashboard"], "dashboard"),
        (["dashboard", "port=8600"], "dashboard --port 8600"),
        (["sync", "run=3f"], "sync 3f"),
    ],
)
def test_each_server_has_a_port_of_its_own_unless_one_is_given(
    given, arguments, dashboard, installed, run
):
    project = installed(dashboard)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", *given, cwd=project).stdout.strip() == arguments


def test_make_gives_every_command_the_dagster_home_of_the_project(digits, installed, run):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$DAGSTER_HOME"\n')
    assert run("make", "check", cwd=project).stdout.strip() == str(project / ".dagster")


def test_the_ui_listens_on_this_machine_only(digits, installed, run):
    project = installed(digits)
    dagster = project / ".venv" / "bin" / "dagster"
    dagster.unlink()
    dagster.write_text('#!/bin/sh\necho "$@"\n')
    dagster.chmod(0o755)
    assert (
        run("make", "dagit", "port=3456", cwd=project).stdout.strip()
        == "dev --host 127.0.0.1 --port 3456"
    )


# The same in the digits, and their tests, are what the jobs of test_ci.py run.
@pytest.mark.slow
def test_make_lint_and_check_pass_in_a_path_with_a_space(empty, installed, run):
    project = installed(empty)
    run("make", "lint", cwd=project)
    run("make", "check", cwd=project)


# --- READMEs --------------------------------------------------------------------------------------


def test_every_make_command_of_the_readme_exists():
    text = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^make ([a-z-]+)", "".join(BASH.findall(text)), re.MULTILINE))
    project = targets(TEMPLATE / "{{cookiecutter.project_slug}}" / "Makefile")
    assert commands <= targets(TEMPLATE / "Makefile") | project
    assert {"demo", "test"} <= commands


@pytest.mark.slow
def test_the_commands_of_the_readme_make_a_project_and_run_its_pipeline(
    template, installed, tmp_path, run
):
    text = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    blocks = BASH.findall(text)
    (generate,) = [block for block in blocks if block.startswith("cookiecutter ")]
    (use,) = [block for block in blocks if block.startswith("cd ")]
    local = re.sub(r"\S*dsml-template\S*", str(template), generate).strip()
    run("sh", "-ec", f"{local} --no-input", cwd=tmp_path)
    project = tmp_path / use.split()[1]
    assert project.is_dir()
    ready = installed(project)
    commands = [
        line for line in use.splitlines() if line.startswith("make ") and "dagit" not in line
    ]
    assert commands == ["make run"]
    shutil.rmtree(project)
    run("sh", "-ec", "\n".join(commands), cwd=ready)


def commands_of(project):
    """The rows of a project's README: commands of dsml with make, and without."""
    text = (project / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `make ([^`]*)` \| `uv run dsml ([^`]*)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("example", ["dashboard", "empty"])
def test_a_command_with_make_is_the_same_as_without(example, request, installed, run):
    project = installed(request.getfixturevalue(example))
    rows = commands_of(project)
    assert len(rows) > 10
    for with_make, with_dsml in rows:
        said = run("sh", "-ec", f"make --dry-run {with_make}", cwd=project).stdout
        assert shlex.split(said.replace("\\\n", ""))[1:] == with_dsml.split()


@pytest.mark.slow
def test_every_way_to_run_that_the_readme_of_a_project_shows_works(empty, installed, run):
    project = installed(empty)
    ways = [with_make for with_make, _ in commands_of(project) if with_make.startswith("run")]
    assert len(ways) == 8
    assert ways[0] == "run"
    notebooks = {f"{path.parent.name}.{path.stem}" for path in project.glob("stages/*/*.ipynb")}
    for way in ways:
        if "from=" in way:
            fail_once(project, run)
        run("sh", "-ec", f"make {way}", cwd=project)
        assert published(project, "baseline") == notebooks
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


def fail_once(project, run):
    """Leave a run that has failed, for a reason that is gone."""
    notebook = next((project / "stages").glob("*/*.ipynb"))
    text = notebook.read_text(encoding="utf-8")
    document = json.loads(text)
    document["cells"][-1]["source"].append("\nraise SystemExit(1)")
    notebook.write_text(json.dumps(document), encoding="utf-8")
    assert run("make", "run", cwd=project, check=False).returncode != 0
    notebook.write_text(text, encoding="utf-8")
