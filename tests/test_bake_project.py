"""What a fresh project can do: lint, types, hooks and make targets, in a path with a space."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE

BIN = Path(sys.executable).parent
BASH = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed(copy_of):
    """A copy of a project that looks installed: its .venv holds the tools of the tests."""

    def installed(project):
        copy = copy_of(project)
        folder = copy / ".venv" / "bin"
        folder.mkdir(parents=True)
        for tool in BIN.iterdir():
            (folder / tool.name).symlink_to(tool)
        launcher = folder / "dsml"
        launcher.unlink(missing_ok=True)
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dsml "$@"\n')
        launcher.chmod(0o755)
        (copy / ".venv" / ".installed").touch()
        return copy

    return installed


def targets(makefile):
    return set(re.findall(r"^([a-z-]+):.*## ", makefile.read_text(encoding="utf-8"), re.MULTILINE))


# --- style, types, hooks --------------------------------------------------------------------------


@pytest.mark.parametrize("example", ["digits", "empty"])
def test_a_fresh_project_passes_its_own_linter(example, request, run):
    project = request.getfixturevalue(example)
    run("ruff", "check", "--no-cache", cwd=project)


@pytest.mark.parametrize("example", ["digits", "empty"])
def test_formatting_a_fresh_project_changes_nothing(example, request, run):
    project = request.getfixturevalue(example)
    run("ruff", "format", "--check", "--no-cache", cwd=project)


@pytest.mark.parametrize("package", ["aaa", "zzz"])
def test_the_order_of_imports_does_not_depend_on_the_name_of_the_package(package, bake, run):
    run("ruff", "check", "--no-cache", cwd=bake(package_name=package))


@pytest.mark.slow
@pytest.mark.parametrize("example", ["digits", "empty"])
def test_a_fresh_project_passes_the_strict_type_checker(example, request, copy_of, run):
    run("mypy", cwd=copy_of(request.getfixturevalue(example)))


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


def test_every_target_is_declared_to_be_no_file(digits):
    text = (digits / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    assert set(phony) == targets(digits / "Makefile")


def test_the_readme_explains_every_target_and_its_equivalent_without_make(digits):
    table = re.findall(
        r"^\| `make ([a-z]+)[^|]*\| ([^|]*)\|",
        (digits / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    explained = {target: equivalent.strip() for target, equivalent in table}
    assert set(explained) == targets(digits / "Makefile") - {"help"}
    assert [target for target, equivalent in explained.items() if not equivalent] == ["clean"]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], "run"),
        (["experiment=wide"], "run --experiment wide"),
        (["pipeline=training", "workers=1"], "run training --workers 1"),
        (["set=a.b.c=1 d.e.f=x"], "run --set a.b.c=1 --set d.e.f=x"),
        (["select=train+ load"], "run --select train+ load"),
    ],
)
def test_make_run_passes_on_what_it_is_given(given, arguments, digits, installed, run):
    project = installed(digits)
    (project / ".venv" / "bin" / "dsml").write_text('#!/bin/sh\necho "$@"\n')
    assert run("make", "run", *given, cwd=project).stdout.strip() == arguments


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


@pytest.mark.slow
@pytest.mark.parametrize("example", ["digits", "empty"])
def test_make_lint_and_check_pass_in_a_path_with_a_space(example, request, installed, run):
    project = installed(request.getfixturevalue(example))
    run("make", "lint", cwd=project)
    run("make", "check", cwd=project)


@pytest.mark.slow
@pytest.mark.parametrize(("example", "experiment"), [("digits", "small"), ("empty", "baseline")])
def test_make_run_finishes_the_pipeline_in_a_path_with_a_space(
    example, experiment, request, installed, run
):
    project = installed(request.getfixturevalue(example))
    run("make", "run", f"experiment={experiment}", cwd=project)
    manifests = list((project / "artefacts" / experiment).rglob("manifest.json"))
    assert len(manifests) == len(list(project.glob("stages/*/*.ipynb")))
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("example", ["digits", "empty"])
def test_a_fresh_project_passes_its_own_tests(example, request, installed, run):
    run("make", "test", cwd=installed(request.getfixturevalue(example)))


# --- READMEs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("readme", [TEMPLATE / "README.md", "digits", "empty"])
def test_every_link_to_a_file_leads_somewhere(readme, request):
    if isinstance(readme, str):
        readme = request.getfixturevalue(readme) / "README.md"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme.read_text(encoding="utf-8"))
    assert [link for link in links if not (readme.parent / link).exists()] == []


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


def ways_to_run(project):
    """The rows of a project's README on running: the command with make, and the one without."""
    text = (project / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `make (run[^`]*)` \| `uv run dsml (run[^`]*)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("example", ["digits", "empty"])
def test_running_with_make_is_the_same_as_without(example, request, installed, run):
    project = installed(request.getfixturevalue(example))
    rows = ways_to_run(project)
    assert len(rows) == 5
    for with_make, with_dsml in rows:
        said = run("sh", "-ec", f"make --dry-run {with_make}", cwd=project).stdout
        assert said.replace("'", "").split()[1:] == with_dsml.split()


@pytest.mark.slow
def test_every_way_to_run_that_the_readme_of_a_project_shows_works(empty, installed, run):
    project = installed(empty)
    for with_make, _ in ways_to_run(project):
        run("sh", "-ec", f"make {with_make}", cwd=project)
