"""An old project takes in a new version of the template and keeps what its users made of it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import PROJECT_FOLDER, TEMPLATE, copy_template, run_command

from dsml.contract.scaffold import notebook
from dsml.contract.vendored import edits

pytestmark = pytest.mark.slow

MADE_UP, PRESENT = "made-up", "present"  # versions of the template, as tags
NAME = PROJECT_FOLDER.name
# What a made-up older version had: file, what stands there now, what stood there then.
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
    ("docs/sensors.md", "# ", "# All on "),
    ("catalog.yml", "What this project runs", "What the project runs"),
    ("{{cookiecutter.package_name}}/__init__.py", '"""', '"""Old: '),
]
ADDED_SINCE = "dsml/orchestrate/preview.py"
REMOVED_SINCE = "dsml/contract/forgotten.py"
EDITED, REMOVED = "dsml/contract/figures.py", "docs/sensors.md"  # by users, in their project
# States of this repository before there were versions: the message of the commit, and an example.
MILESTONES = {
    "before config_schema": ("ci: make demo and make test on a bare machine", "digits"),
    "before MLflow": ("docs: what a generated project can do, pictures of its UI", "empty"),
    "before storage": ("test: databases of Dagster, a trained project and what mypy", "digits"),
}
OUTPUTS = (
    "artefacts/baseline/model.joblib",
    ".dagster/storage/run.db",
    ".mlflow/mlflow.db",
    ".venv/bin/tool",
)


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def earlier():
    """The commits of earlier states that this clone has: all versions, and the milestones."""
    try:
        tags = git(TEMPLATE, "tag", "--list", "v*").split()
    except subprocess.CalledProcessError:  # no clone
        return {}
    found = {tag: (tag, "digits") for tag in tags}
    for name, (message, example) in MILESTONES.items():
        search = ("--fixed-strings", f"--grep={message}", "--max-count=1", "--format=%H")
        commit = git(TEMPLATE, "log", *search).strip()  # a shallow clone may lack it
        found |= {name: (commit, example)} if commit else {}
    return found


EARLIER = earlier()


def edit(file, old, new):
    """Replace a text that stands in a file."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", message)


def tag_of(version):
    return version.replace(" ", "-")


def text_of(*parts):
    return Path(*parts).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A repository of the template: the earlier states, a made-up one and the present one."""
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
    git(present, "tag", MADE_UP)
    for name, text in kept.items():
        (project / name).write_text(text, encoding="utf-8")
    (project / REMOVED_SINCE).unlink()
    commit(present, "present")
    git(present, "tag", PRESENT)
    if EARLIER:
        objects = TEMPLATE / git(TEMPLATE, "rev-parse", "--git-path", "objects").strip()
        (present / ".git/objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")
    for name, (commit_of, _) in EARLIER.items():
        alone = git(present, "commit-tree", f"{commit_of}^{{tree}}", "-m", name).strip()
        git(present, "tag", tag_of(name), alone)
    return present


def made_with(versions, version, home, **answers):
    """Make a project with a version of the template, as cruft does; it is committed."""
    home.mkdir(exist_ok=True)
    answers = {"project_name": 'The "old" one', "example": "empty", **answers}
    options = ("--no-input", "--checkout", tag_of(version), "--extra-context", json.dumps(answers))
    run_command("cruft", "create", versions, *options, cwd=home)
    project = home / "the_old_one"
    commit(project, "cruft")
    return project


def run_in(project):
    """Leave what runs of that version leave behind: git knows nothing of it."""
    for name in git(project, "check-ignore", *OUTPUTS).split():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("made by a run", encoding="utf-8")


def update(project, *options):
    return run_command("cruft", "update", "--skip-apply-ask", *options, cwd=project)


@pytest.fixture(scope="module")
def outdated(versions, tmp_path_factory):
    """A project that was made with the made-up version. Tests share it: copy it."""
    project = made_with(versions, MADE_UP, tmp_path_factory.mktemp("outdated"))
    assert not (project / ADDED_SINCE).exists()
    return project


@pytest.fixture(scope="module")
def updated(outdated, tmp_path_factory):
    """A project of the made-up version in which users have worked, updated to the present one."""
    project = tmp_path_factory.mktemp("my projects") / outdated.name
    shutil.copytree(outdated, project)
    work_in(project)
    edit(project / EDITED, '"""', '"""Ours: ')
    (project / REMOVED).unlink()
    commit(project, "mine")
    run_in(project)
    update(project, "--checkout", PRESENT)
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
    edit(project / "README.md", "This is a pipeline of", "We are three.\n\nThis is a pipeline of")
    edit(project / "pyproject.toml", '  "pyyaml', '  "pycountry>=24",\n  "pyyaml')
    edit(project / "pyproject.toml", 'version = "0.1.0"', 'version = "3.2.1"')
    (project / "tests" / "test_ours.py").write_text("def test_ours(): pass\n", encoding="utf-8")
    (project / "the_old_one" / "ours.py").write_text("VALUE = 1\n", encoding="utf-8")
    for notebook_of_the_example in project.glob("stages/load/*.ipynb"):
        edit(notebook_of_the_example, '"# ', '"# Ours: ')


def assert_kept(project):
    """Hold that what `work_in` and `run_in` have done is as it was."""
    makefile = text_of(project, "Makefile")
    assert "ruff check --fix --unsafe-fixes" in makefile
    assert run_command("make", "deploy", cwd=project).stdout == "ours\n"
    assert "make deploy" in run_command("make", "help", cwd=project).stdout
    assert "We are three." in text_of(project, "README.md")
    declared = tomllib.loads(text_of(project, "pyproject.toml"))["project"]
    assert "pycountry>=24" in declared["dependencies"]
    assert declared["version"] == "3.2.1"
    own = ("catalog.yml", "stages", "the_old_one", "tests/test_ours.py")
    assert git(project, "status", "--porcelain", "--", *own) == ""
    assert "# our own remark" in text_of(project, "catalog.yml")
    assert (project / "stages" / "own" / "draft.ipynb").exists()
    outputs = git(project, "check-ignore", *OUTPUTS).split()
    left = {text_of(project, name) for name in outputs if (project / name).exists()}
    assert left == {"made by a run"}


def assert_registered(project, said):
    """Hold that the notebooks that `work_in` has made are what they were, in what a check says."""
    assert "no errors" in said
    drafts = re.findall(r"^stages/(\S+)\n  note: is a draft", said, re.MULTILINE)
    assert drafts == ["own/draft.ipynb"]
    assert "own.first: {path: stages/own/first.ipynb" in text_of(project, "catalog.yml")


def conflicts(project):
    """Files with marks of git's, and what could not be applied."""
    marked = git(project, "diff", "--name-only", "--diff-filter=U").split()
    return [*marked, *(str(path.relative_to(project)) for path in project.rglob("*.rej"))]


def dsml(project, *arguments):
    return run_command(sys.executable, "-m", "dsml", *arguments, cwd=project).stdout


def test_nothing_is_rejected_and_no_mark_of_a_conflict_is_left(updated):
    assert conflicts(updated) == []
    assert git(updated, "diff", "--check", "HEAD") == ""


def test_only_what_the_template_changed_is_changed(updated):
    lines = git(updated, "status", "--porcelain").splitlines()
    changed = {line[3:]: line[:2].strip() for line in lines}
    of_the_template = {
        name
        for name, _, _ in SINCE
        if name.split("/")[0] not in ("catalog.yml", "docs", "{{cookiecutter.package_name}}")
    }
    assert changed == {
        **dict.fromkeys(of_the_template, "M"),
        ADDED_SINCE: "A",
        REMOVED_SINCE: "D",
        "dsml/SHA256SUMS": "M",
        ".cruft.json": "M",
    }


def test_the_runtime_is_the_present_one_and_what_users_edited_in_it_is_kept_and_known(updated):
    modules = [file.relative_to(PROJECT_FOLDER) for file in PROJECT_FOLDER.glob("dsml/**/*.py")]
    other = [name for name in modules if text_of(updated, name) != text_of(PROJECT_FOLDER, name)]
    assert other == [Path(EDITED)]
    assert not (updated / REMOVED_SINCE).exists()
    assert edits(updated) == {EDITED: "changed"}


def test_what_the_template_changed_elsewhere_is_there(updated):
    assert "port ?= 3000" in text_of(updated, "Makefile")
    assert "## run the tests" in text_of(updated, "Makefile")
    assert "You need Python" in text_of(updated, "README.md")
    assert ".coverage" in text_of(updated, ".gitignore")
    assert "No invitation to" in text_of(updated, ".dagster", "dagster.yaml")
    needed = tomllib.loads(text_of(updated, "pyproject.toml"))["project"]["dependencies"]
    assert "dagster>=1.13.27,<1.14" in needed


def test_what_the_users_changed_is_kept(updated):
    assert_kept(updated)


def test_the_register_is_right_and_the_draft_is_still_one(updated):
    assert_registered(updated, dsml(updated, "check"))


def test_the_updated_project_passes_its_own_tests_of_the_contract(updated):
    run_command("pytest", "-q", "-k", "valid or register or graph or ours", cwd=updated)


def test_a_second_update_finds_nothing_to_do(updated):
    assert json.loads(text_of(updated, ".cruft.json"))["checkout"] == PRESENT
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


# --- from each version, and from earlier states ---------------------------------------------------


@pytest.mark.parametrize("version", [*EARLIER] or [MADE_UP])
def test_a_project_of_an_earlier_version_works_with_the_present_one(version, versions, tmp_path):
    _, example = EARLIER.get(version, (version, "digits"))
    project = made_with(versions, version, tmp_path / "my projects", example=example)
    work_in(project)
    commit(project, "mine")
    run_in(project)
    update(project)
    assert conflicts(project) == []
    assert edits(project) == {}
    do_what_the_changelog_says(project)
    assert_registered(project, dsml(project, "check"))
    assert_kept(project)


def do_what_the_changelog_says(project):
    """Make those steps of *To do when updating* that `dsml check` asks for."""
    changelog = (TEMPLATE / "CHANGELOG.md").read_text(encoding="utf-8")
    restored = "git checkout HEAD -- tests/test_digits.py"
    if git(project, "diff", "--name-only", "HEAD", "--", "tests/test_digits.py"):
        assert f"`{restored}`" in changelog
        git(project, *shlex.split(restored)[1:])
    said = run_command(sys.executable, "-m", "dsml", "check", cwd=project, check=False).stdout
    if "no errors" not in said:
        assert 'pickles: ["*"]' in changelog
        with (project / "catalog.yml").open("a", encoding="utf-8") as catalog:
            catalog.write('pickles: ["*"]\n')
        commit(project, "what the CHANGELOG says")


# --- conflicts, as docs/updating.md of a project tells them ---------------------------------------


def blocks(project):
    """The blocks of commands of the page."""
    page = text_of(project, "docs", "updating.md")
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def block(project, beginning):
    (found,) = [block for block in blocks(project) if block.startswith(beginning)]
    return found


def do(project, commands):
    """Run commands as a user would who copies them, until one fails; what they printed."""
    return run_command("sh", "-ec", commands, cwd=project).stdout


@pytest.fixture
def disagreeing(outdated, installed):
    """A project of the made-up version in which a line is edited that was changed since."""
    project = installed(outdated)
    edit(project / "Makefile", "port ?= 3070", "port ?= 4444")
    commit(project, "mine")
    return project


def test_every_block_of_commands_of_the_page_is_run_here(empty):
    begins = ("git status", "make install", "git diff", "git reset", "cruft update", "cruft link")
    assert [[b for b in begins if block.startswith(b)] for block in blocks(empty)] == [
        [each] for each in begins
    ]


def test_a_conflict_is_found_decided_taken_back_and_passed_over_by_the_commands_of_the_page(
    disagreeing,
):
    project = disagreeing
    assert "UU Makefile\n" in do(project, block(project, "git status"))
    assert do(project, block(project, "git diff")) == "Makefile\n"
    assert "<<<<<<< ours\nport ?= 4444\n=======\nport ?= 3000\n>>>>>>> theirs" in text_of(
        project, "Makefile"
    )
    do(project, "git checkout --ours Makefile; git add Makefile")
    assert conflicts(project) == []
    assert "port ?= 4444" in text_of(project, "Makefile")
    do(project, block(project, "git reset"))
    assert git(project, "status", "--porcelain") == ""
    assert not (project / ADDED_SINCE).exists()
    update(project, "--skip-update")
    assert git(project, "status", "--porcelain") == " M .cruft.json\n"


def test_a_file_that_is_skipped_stays_and_the_rest_is_committed_as_the_page_says(disagreeing):
    project = disagreeing
    edit(project / "pyproject.toml", '  "catalog.yml",', '  "catalog.yml", "Makefile",')
    commit(project, "keep our Makefile")
    do(project, block(project, "git status"))
    assert conflicts(project) == []
    assert "port ?= 4444" in text_of(project, "Makefile")
    (project / ".venv" / ".installed").touch()  # nothing to install, and nothing from outside
    # Its own tests are those of a fresh project, which has them run elsewhere.
    commands = block(project, "make install").replace("make test\n", "")
    said = do(project, commands)
    assert "runtime   dsml/ is as it was generated" in said
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "-1", "--format=%s") == "Update from dsml-template\n"


def test_an_edit_of_the_runtime_that_meets_the_update_leaves_rejects_and_is_told_later(disagreeing):
    project = disagreeing
    edit(project / REMOVED_SINCE, "Gone.", "Ours.")
    commit(project, "an edit of a file that goes away")
    do(project, block(project, "git status"))
    assert do(project, block(project, "git diff")) == "./Makefile.rej\n"
    assert "-port ?= 3070\n+port ?= 3000" in text_of(project, "Makefile.rej")
    assert (project / ADDED_SINCE).exists()
    assert edits(project) == {REMOVED_SINCE: "added"}


def test_a_project_of_cookiecutter_is_linked_and_answers_are_changed(digits, copy_of, versions):
    project = copy_of(digits)
    link = block(project, "cruft link").replace(
        "https://github.com/org/dsml-template", str(versions)
    )
    do(project, link.replace("v0.1.0", PRESENT))
    assert "up to date" in run_command("cruft", "check", cwd=project).stdout
    do(project, block(project, "cruft update"))
    assert conflicts(project) == []
    assert (project / "deploy" / "compose.yaml").exists()
    assert "\nup: " in text_of(project, "Makefile")
