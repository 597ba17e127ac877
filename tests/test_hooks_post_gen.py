"""What the hook after generation does to a project, and what it does where a tool is missing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import post_gen_project as hook
import pytest
from conftest import CACHES, copy_template, files_of

# Not the script: where the path has a space, that is started by a shell, which sets PWD.
COOKIECUTTER = (sys.executable, "-m", "cookiecutter")


@pytest.fixture
def generate(template, tmp_path):
    """Run cookiecutter as a user does: `generate(PATH=...)` returns what it printed."""

    def generate(*arguments, source=template, **environment):
        output = tmp_path / "out"
        output.mkdir(exist_ok=True)
        return subprocess.run(
            [
                *COOKIECUTTER,
                source,
                "--no-input",
                "--default-config",
                "--output-dir",
                output,
                *arguments,
            ],
            cwd=output,
            env={**os.environ, "PWD": str(output), **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return generate


@pytest.fixture
def project(tmp_path):
    """Where `generate` puts the default project."""
    return tmp_path / "out" / "digits_demo"


@pytest.fixture
def path_with(tmp_path):
    """Return a PATH on which there are the named tools and nothing else."""

    def path_with(*tools):
        folder = tmp_path / "bin"
        folder.mkdir()
        for tool in tools:
            (folder / tool).symlink_to(shutil.which(tool) or "/bin/true")
        return str(folder)

    return path_with


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def tree(project):
    """Every file with its bytes, but those of git."""
    return {name: (project / name).read_bytes() for name in files_of(project)}


def break_a_notebook(template):
    """Make a notebook of the digits example read an artefact that nobody writes."""
    (notebook,) = template.rglob("*accuracy.ipynb*")
    text = notebook.read_text(encoding="utf-8")
    assert "prepare.split.test" in text
    notebook.write_text(text.replace("prepare.split.test", "prepare.split.tset"), encoding="utf-8")


# --- what a good project gets ---------------------------------------------------------------------


def test_the_register_holds_every_notebook_of_the_example(digits):
    catalog = (digits / "catalog.yml").read_text(encoding="utf-8")
    notebooks = [path.relative_to(digits).as_posix() for path in digits.glob("stages/*/*.ipynb")]
    assert len(notebooks) == 9
    assert all(f"path: {notebook}" in catalog for notebook in notebooks)


def test_the_empty_example_gets_one_starter_notebook_for_each_stage(bake):
    project = bake(example="empty", stages="fetch, clean ,fit,")
    notebooks = {
        path.relative_to(project / "stages").parts[0] for path in project.glob("stages/*/*.ipynb")
    }
    assert notebooks == {"fetch", "clean", "fit"}


def test_no_folder_is_left_empty(digits, empty):
    for project in (digits, empty):
        folders = [
            path for path in project.rglob("*") if path.is_dir() and ".git" not in path.parts
        ]
        assert [folder for folder in folders if not any(folder.iterdir())] == []


def test_the_project_starts_with_one_commit_on_main_and_nothing_left_to_commit(digits):
    assert git(digits, "log", "--format=%s") == hook.FIRST_COMMIT
    assert git(digits, "branch", "--show-current") == "main"
    assert git(digits, "status", "--porcelain") == ""


def test_caches_of_a_working_copy_of_the_template_do_not_come_along(tmp_path, generate, project):
    template = copy_template(tmp_path / "dsml-template")
    for cache in CACHES:
        folder = template / "{{cookiecutter.project_slug}}" / "dsml" / "contract" / cache
        folder.mkdir()
        (folder / "left.pyc").write_bytes(b"\0")
    assert generate(source=template).returncode == 0
    assert [name for name in files_of(project) if set(Path(name).parts) & set(CACHES)] == []


def test_the_summary_tells_what_was_made_and_checked_and_the_next_three_commands(generate):
    said = generate("dashboard=streamlit").stdout
    assert "\ndigits_demo is there.\n" in said
    assert "\n  Made:    10 steps in 8 stages, with MLflow, a dashboard, GitHub\n" in said
    assert "\n  Checked: answers, notebooks, catalog.yml, and how the steps fit together\n" in said
    commands = [line.split("#")[0].strip() for line in said[said.index("Next:") :].splitlines()[1:]]
    assert commands == ["cd digits_demo", "make run", "make dagit"]


def test_the_summary_gives_the_whole_path_to_who_stands_elsewhere(generate, tmp_path):
    project = tmp_path / "out" / "digits_demo"
    assert f"\n  cd {project}\n" in generate(PWD="/").stdout


def test_the_sums_of_the_runtime_are_what_sha256sum_checks_and_name_every_file(digits):
    runtime = digits / "dsml"
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    done = subprocess.run(command, cwd=runtime, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    listed = {line.split("  ")[1] for line in (runtime / "SHA256SUMS").read_text().splitlines()}
    assert listed == files_of(runtime) - {"SHA256SUMS"}


# --- answers that come from a file ----------------------------------------------------------------


@pytest.mark.slow
def test_the_answers_may_come_from_a_configuration_or_from_an_earlier_time(template, tmp_path, run):
    settings = tmp_path / "answers.yml"
    replays = f"replay_dir: '{tmp_path / 'replays'}'"
    context = "default_context: {project_name: From a file, example: empty, ci: none}"
    settings.write_text(f"{replays}\n{context}\n", encoding="utf-8")
    saved = tmp_path / "replays" / f"{template.name}.json"
    made = []
    for number, options in enumerate(
        [
            ("--no-input", "--config-file", settings),
            ("--replay", "--config-file", settings),
            ("--replay-file", saved),
        ]
    ):
        output = ("--output-dir", tmp_path / str(number))
        run(*COOKIECUTTER, template, *options, *output, cwd=tmp_path)
        made.append(tree(tmp_path / str(number) / "from_a_file"))
    assert made[0] == made[1] == made[2]
    assert {"stages/load/main.ipynb", "catalog.yml"} <= made[0].keys()
    assert ".github/workflows/ci.yml" not in made[0]


# --- run twice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", ["digits", "empty"])
def test_generating_over_a_project_changes_no_byte_and_makes_no_commit(example, generate, project):
    assert generate(f"example={example}").returncode == 0
    before = tree(project)
    commit = git(project, "rev-parse", "HEAD")
    assert generate(f"example={example}", "--overwrite-if-exists").returncode == 0
    assert tree(project) == before
    assert git(project, "rev-parse", "HEAD") == commit
    assert git(project, "status", "--porcelain") == ""


def test_two_projects_with_the_same_answers_are_the_same(template, bake, digits):
    assert tree(bake()) == tree(digits)


# --- an invalid notebook --------------------------------------------------------------------------


def test_an_invalid_notebook_stops_generation_with_its_place_and_leaves_no_folder(
    tmp_path, generate, project
):
    template = copy_template(tmp_path / "dsml-template")
    break_a_notebook(template)
    done = generate(source=template)
    assert done.returncode == 1
    assert "┃ The notebooks of this project do not fit together." in done.stderr
    assert "┃ stages/evaluate/accuracy.ipynb, cell " in done.stderr
    assert "did you mean 'prepare.split.test'?" in done.stderr
    assert not project.exists()


def test_a_refused_project_can_be_kept_to_look_at(tmp_path, generate, project):
    template = copy_template(tmp_path / "dsml-template")
    break_a_notebook(template)
    assert generate("--keep-project-on-failure", source=template).returncode == 1
    assert (project / "catalog.yml").exists()
    assert not (project / ".git").exists()


# --- git and uv are nice to have ------------------------------------------------------------------


def test_without_git_the_project_is_made_and_one_line_says_so(generate, project, path_with):
    done = generate(PATH=path_with("uv"))
    assert done.returncode == 0
    notes = [line for line in done.stdout.splitlines() if "Note:" in line]
    assert notes == [
        "  Note:    git was not found: later, run `git init`, `git add -A` and `git commit`."
    ]
    assert not (project / ".git").exists()


def test_without_uv_the_project_is_made_and_one_line_says_so(generate, path_with):
    done = generate(PATH=path_with("git"))
    assert done.returncode == 0
    notes = [line for line in done.stdout.splitlines() if "Note:" in line]
    assert len(notes) == 1
    assert notes[0].startswith(
        "  Note:    uv was not found: `make install` will use python -m venv"
    )


def test_with_git_and_uv_there_is_nothing_to_note(generate, path_with):
    assert "Note:" not in generate(PATH=path_with("git", "uv")).stdout


def test_without_an_identity_the_first_commit_is_left_to_the_user(
    generate, project, tmp_path, path_with
):
    done = generate(HOME=str(tmp_path), PATH=path_with("git", "uv"))
    assert done.returncode == 0
    notes = [line for line in done.stdout.splitlines() if "Note:" in line]
    reason = "it knows neither your name nor your e-mail"
    assert notes == [
        f"  Note:    git could not make the first commit ({reason}): run `git commit` yourself."
    ]
    assert git(project, "status", "--porcelain").startswith("A  ")


def test_a_git_that_fails_is_a_note_and_no_failure(generate, project, tmp_path, path_with):
    path = path_with("uv")
    broken = Path(path, "git")
    broken.write_text("#!/bin/sh\necho 'fatal: disk on fire' >&2\nexit 128\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    done = generate(PATH=path)
    assert done.returncode == 0
    assert "git could not make the first commit (fatal: disk on fire)" in done.stdout


def test_settings_of_the_user_neither_sign_nor_stop_the_first_commit(generate, project, tmp_path):
    hooks = tmp_path / "home" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "commit-msg", "post-commit"):
        (hooks / name).write_text("#!/bin/sh\ntouch ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    settings = f"""
        [user]\nname = A\nemail = a@example.org
        [commit]\ngpgsign = true\n[gpg]\nprogram = /bin/false
        [init]\ndefaultBranch = trunk\n[core]\nhooksPath = {hooks}\nautocrlf = true\nsafecrlf = true
    """
    (tmp_path / "home" / ".gitconfig").write_text(settings)
    done = generate(HOME=str(tmp_path / "home"))
    assert "could not" not in done.stdout
    assert git(project, "log", "--format=%s %G?") == f"{hook.FIRST_COMMIT} N"
    assert git(project, "branch", "--show-current") == "main"
    assert not (project / "ran").exists()


def test_inside_another_repository_no_second_one_is_made(generate, project, tmp_path):
    git(tmp_path, "init", "--quiet")
    done = generate()
    assert "this folder is part of a git repository already" in done.stdout
    assert not (project / ".git").exists()


def test_a_repository_that_ignores_the_folder_does_not_count(generate, project, tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/out/\n")
    assert "already" not in generate().stdout
    assert (project / ".git").is_dir()


def test_variables_of_a_surrounding_git_command_do_not_lead_astray(generate, project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    generate(
        GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other), GIT_INDEX_FILE=str(other / "index")
    )
    assert git(project, "log", "--format=%s") == hook.FIRST_COMMIT
    assert not (other / "index").exists()


# --- under cruft ----------------------------------------------------------------------------------


def test_under_cruft_a_note_tells_to_commit_its_file():
    assert hook.commit_cruft({"_commit": "abc"}) == (
        "after `cruft create`, commit .cruft.json: `cruft update` needs a clean repository."
    )
    assert hook.commit_cruft({}) == ""
