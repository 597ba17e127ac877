"""An old project takes in a new version of the template and keeps what its users made of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import PROJECT_FOLDER, copy_template, run_command

from dsml.contract.scaffold import notebook

pytestmark = pytest.mark.slow

OLD = "v0.0.9"
NAME = PROJECT_FOLDER.name
# What an older version of the template had: file, what stands there now, what stood there then.
SINCE = [
    ("Makefile", "port ?= 3000", "port ?= 3070"),
    ("Makefile", "## run the tests", "## run all the tests there are"),
    ("README.md", "You need Python", "You will need Python"),
    ("pyproject.toml", '"dagster>=1.13.27,<1.14"', '"dagster>=1.12,<1.13"'),
    ("pyproject.toml", '"types-PyYAML>=6.0.12"', '"types-PyYAML>=6.0.2"'),
    (".gitignore", ".coverage\n", ""),
    (".dagster/dagster.yaml", "No invitation", "No invitations"),
    ("tests/test_project.py", "The project holds together", "This project holds together"),
    ("dsml/contract/problem.py", "how to mend it.", "how to repair it."),
    ("catalog.yml", "What this project runs", "What the project runs"),
    ("{{cookiecutter.package_name}}/__init__.py", '"""', '"""Old: '),
]
ADDED_SINCE = "dsml/orchestrate/preview.py"
REMOVED_SINCE = "dsml/contract/forgotten.py"
OUTPUTS = (
    "artefacts/baseline/model.joblib",
    ".dagster/storage/run.db",
    ".mlflow/mlflow.db",
    ".venv/bin/tool",
)


def edit(file, old, new):
    """Replace a text that stands in a file."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", message)


def text_of(*parts):
    return Path(*parts).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory):
    """A repository of the template: an older version with a tag, then the present one."""
    folder = tmp_path_factory.mktemp("versions") / "dsml-template"
    present = copy_template(folder)
    project = present / NAME
    kept = {name: text_of(project, name) for name in {*(name for name, _, _ in SINCE), ADDED_SINCE}}
    for name, now, then in SINCE:
        edit(project / name, now, then)
    (project / ADDED_SINCE).unlink()
    (project / REMOVED_SINCE).write_text('"""Gone."""\n', encoding="utf-8")
    git(present, "init", "--quiet")
    commit(present, "older")
    git(present, "tag", OLD)
    for name, text in kept.items():
        (project / name).write_text(text, encoding="utf-8")
    (project / REMOVED_SINCE).unlink()
    commit(present, "present")
    return present


@pytest.fixture(scope="module", params=["digits", "empty"])
def updated(request, two_versions, tmp_path_factory):
    """A project that was made with the older version, worked in, and updated to the present one."""
    home = tmp_path_factory.mktemp("my projects")
    answers = {"project_name": 'The "old" one', "example": request.param}
    options = ("--no-input", "--checkout", OLD, "--extra-context", json.dumps(answers))
    run_command("cruft", "create", two_versions, *options, cwd=home)
    project = home / "the_old_one"
    commit(project, "cruft")
    assert not (project / ADDED_SINCE).exists()
    work_in(project)
    commit(project, "mine")
    for name in OUTPUTS:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("made by a run", encoding="utf-8")
    run_command("cruft", "update", "--skip-apply-ask", cwd=project)
    return project


def work_in(project):
    """Edit a project as its users would."""
    declared = {"description": "Mine.", "ins": {}, "outs": {"table": "table.csv"}}
    own = notebook("# Mine", declared, "rows: int = 3  # how many", 'print("mine")')
    for path in ("stages/own/first.ipynb", "stages/own/draft.ipynb"):
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(own, encoding="utf-8")
    edit(
        project / "catalog.yml",
        "experiments:\n",
        "# our own remark\nexperiments:\n  tiny: {config: {own.first: {rows: 1}}}\n",
    )
    dsml(project, "register", "stages/own/first.ipynb")
    edit(
        project / "Makefile", "@$(BIN)/ruff check --fix", "@$(BIN)/ruff check --fix --unsafe-fixes"
    )
    with (project / "Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("\n.PHONY: deploy\ndeploy: ## ours\n\t@echo ours\n")
    edit(project / "README.md", "## Working together", "## Working together in our team")
    edit(project / "pyproject.toml", '  "universal-pathlib', '  "tqdm>=4",\n  "universal-pathlib')
    edit(project / "pyproject.toml", 'version = "0.1.0"', 'version = "3.2.1"')
    (project / "tests" / "test_ours.py").write_text("def test_ours(): pass\n", encoding="utf-8")
    (project / "the_old_one" / "ours.py").write_text("VALUE = 1\n", encoding="utf-8")
    for notebook_of_the_example in project.glob("stages/load/*.ipynb"):
        edit(notebook_of_the_example, '"# ', '"# Ours: ')


def dsml(project, *arguments):
    return run_command(sys.executable, "-m", "dsml", *arguments, cwd=project).stdout


def test_nothing_is_rejected_and_no_mark_of_a_conflict_is_left(updated):
    assert list(updated.rglob("*.rej")) == []
    assert git(updated, "diff", "--check", "HEAD") == ""
    assert git(updated, "ls-files", "--unmerged") == ""


def test_only_what_the_template_changed_is_changed(updated):
    lines = git(updated, "status", "--porcelain").splitlines()
    changed = {line[3:]: line[:2].strip() for line in lines}
    of_the_template = {
        name
        for name, _, _ in SINCE
        if name.split("/")[0] not in ("catalog.yml", "{{cookiecutter.package_name}}")
    }
    assert changed == {
        **dict.fromkeys(of_the_template, "M"),
        ADDED_SINCE: "A",
        REMOVED_SINCE: "D",
        ".cruft.json": "M",
    }


def test_the_runtime_is_the_present_one(updated):
    for file in (PROJECT_FOLDER / "dsml").rglob("*.py"):
        assert text_of(updated, file.relative_to(PROJECT_FOLDER)) == text_of(file)
    assert not (updated / REMOVED_SINCE).exists()


def test_what_the_template_changed_elsewhere_is_there(updated):
    assert "port ?= 3000" in text_of(updated, "Makefile")
    assert "## run the tests" in text_of(updated, "Makefile")
    assert "You need Python" in text_of(updated, "README.md")
    assert ".coverage" in text_of(updated, ".gitignore")
    assert "No invitation to" in text_of(updated, ".dagster", "dagster.yaml")
    needed = tomllib.loads(text_of(updated, "pyproject.toml"))["project"]["dependencies"]
    assert "dagster>=1.13.27,<1.14" in needed


def test_what_the_users_changed_is_kept(updated):
    makefile = text_of(updated, "Makefile")
    assert "ruff check --fix --unsafe-fixes" in makefile
    assert run_command("make", "deploy", cwd=updated).stdout == "ours\n"
    assert "make deploy" in run_command("make", "help", cwd=updated).stdout
    assert "## Working together in our team" in text_of(updated, "README.md")
    project = tomllib.loads(text_of(updated, "pyproject.toml"))["project"]
    assert "tqdm>=4" in project["dependencies"]
    assert project["version"] == "3.2.1"
    assert (updated / "tests" / "test_ours.py").exists()


def test_catalog_stages_and_package_are_left_alone(updated):
    own = ("catalog.yml", "stages", "the_old_one")
    assert git(updated, "status", "--porcelain", "--", *own) == ""
    assert "# our own remark" in text_of(updated, "catalog.yml")
    assert (updated / "stages" / "own" / "draft.ipynb").exists()


def test_the_outputs_of_runs_are_left_alone(updated):
    assert {text_of(updated, name) for name in OUTPUTS} == {"made by a run"}


def test_the_register_is_right_and_the_draft_is_still_one(updated):
    said = dsml(updated, "check")
    assert "no errors" in said
    assert re.findall(r"^stages/(\S+)\n  note: is a draft", said, re.MULTILINE) == [
        "own/draft.ipynb"
    ]
    assert "own.first: {path: stages/own/first.ipynb" in text_of(updated, "catalog.yml")


def test_the_updated_project_passes_its_own_tests_of_the_contract(updated):
    run_command("pytest", "-q", "-k", "valid or register or graph or ours", cwd=updated)


def test_a_second_update_finds_nothing_to_do(updated):
    assert "up to date" in run_command("cruft", "check", cwd=updated).stdout


def test_an_update_skips_what_is_the_users_and_what_runs_leave_behind(updated):
    skipped = tomllib.loads(text_of(updated, "pyproject.toml"))["tool"]["cruft"]["skip"]
    assert {"catalog.yml", "stages", "the_old_one", ".git", "artefacts"} <= set(skipped)
    tracked = git(updated, "ls-files").splitlines()
    of_users = ("catalog.yml", "data/", "stages/", "the_old_one/")
    reached = [
        name
        for name in tracked
        if not name.startswith(of_users)
        and any(name == path or name.startswith(f"{path}/") for path in skipped)
    ]
    assert reached == []
