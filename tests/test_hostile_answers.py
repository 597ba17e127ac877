"""Answers and places that break templates: a valid project comes out, or one framed message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_template, make
from cookiecutter.exceptions import FailedHookException
from readable import unreadable

from dsml.contract.problem import render
from dsml.contract.register import check_project

# What is answered with the same at once, and in which example. A folder's name that is given would
# hide the one that comes of the project's name.
GROUPS = {
    "stages": ("empty", ("description", "stages")),
    "texts": ("digits", ("project_name", "author_name", "author_email")),
    "names": ("digits", ("project_slug", "package_name")),
}
VALUES = {
    "nothing": "",
    "blanks": "   ",
    "double quotes": 'a "quoted" name"',
    "three quotes": "\"\"\" and '''",
    "apostrophes": "it's Ada's 'own'",
    "backslashes": "back\\slash \\n \\u1234 \\x \\",
    "opening brackets": "{{ 7 * 7",
    "an expression": "{{ cookiecutter.project_slug }}",
    "a statement": "{% for x in y %}",
    "a comment of jinja": "{# gone #}",
    "closing brackets": "}} %} #}",
    "percent": "100 % %s %(name)s %PATH%",
    "a command": "$(touch pwned) ${HOME} $HOME $$",
    "a function of make": "$(shell touch pwned)",
    "backticks": "`touch pwned`",
    "two lines": "one\ntwo: [three]",
    "a carriage return": "one\rtwo",
    "a tab": "one\ttwo",
    "a terminal's escape": "\x1b[31mred\x1b[0m",
    "emoji": "🎉 👩🏽‍🔬 🏳️‍🌈",
    "right to left": "שלום עולם مرحبا",
    "an override of direction": "abc\u202edef",
    "accents": "Ünïcödé Straße 数据科学",
    "300 characters": "x" * 300,
    "300 characters in words": "word " * 60,
    "a leading digit": "2024 sales",
    "a reserved name": "CON",
    "a keyword": "class",
    "yaml": "# no: [a, b] {c: d} & * ! | > @ - ?",
    "a date": "2024-01-01",
    "no": "no",
    "toml": "]]\n[tool.x]\ny = 1",
    "html": "<script>alert(1)</script> &amp; [link](x)",
    "an option": "--help",
    "a path": "../../up/c:\\windows",
    "a separator": "a,b;c|d&e",
}
# All of them take half a minute; these go into every file and into the graph.
QUICK = ("stages",)
NO_OVERRIDE = "-dac_override,-dac_read_search"


def as_typed(value):
    """An answer as the prompt takes it; one on the command line goes through Jinja first."""
    return "{% raw %}" + value + "{% endraw %}"


def generate(template, output, answers):
    """Generate a project; None where it was refused."""
    try:
        return make(template, output, answers)
    except FailedHookException:
        return None


@pytest.mark.parametrize("what", VALUES)
@pytest.mark.parametrize(
    "group", [pytest.param(g, marks=[] if g in QUICK else pytest.mark.slow) for g in GROUPS]
)
def test_a_hostile_answer_gives_a_valid_project_or_the_framed_message(
    group, what, template, tmp_path, capfd
):
    example, answered = GROUPS[group]
    keys, output = set(answered), tmp_path / "out"
    while keys:  # without those that are refused, so that each is seen to be taken or refused
        answers = {"example": example, **dict.fromkeys(keys, as_typed(VALUES[what]))}
        project = generate(template, output, answers)
        said = capfd.readouterr().err
        if project is not None:
            assert said == ""
            assert unreadable(project) == []
            assert render(check_project(project).errors) == ""
            make_help = ["make", "-n", "help"]
            assert subprocess.run(make_help, cwd=project, capture_output=True, check=True)
            break
        keys -= refused(said, keys)
        assert list(output.iterdir()) == []
    assert list(tmp_path.rglob("pwned")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def refused(said, keys):
    """Which answers the framed message names: of a name whose folder cannot be made, the folder."""
    lines = said.strip().splitlines()
    assert lines[0].startswith("┏━━━")
    assert "┃ This project cannot be made. Nothing was written." in lines
    assert "Traceback" not in said
    named = {key for key in keys if any(line.startswith(f"┃ {key}: ") for line in lines)}
    if not named:
        assert any(line.startswith("┃ project_slug: ") for line in lines)
        named = keys & {"project_name"}
    assert named
    return named


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["double quotes", "backslashes", "a command", "right to left", "emoji", "yaml"]
)
def test_a_project_made_of_hostile_answers_passes_its_own_tests_of_the_contract(
    what, template, tmp_path, run
):
    texts = ("project_name", "description", "author_name")
    answers = {**dict.fromkeys(texts, VALUES[what]), "project_slug": "hostile", "example": "empty"}
    project = make(template, tmp_path, answers)
    run("pytest", "-q", "-k", "valid or register or graph", cwd=project)
    run("ruff", "check", "--no-cache", cwd=project)
    assert list(tmp_path.rglob("pwned")) == []


@pytest.mark.parametrize("program", ["cookiecutter", "cruft"])
@pytest.mark.parametrize(
    "what", [what for what in VALUES if what.startswith(("opening", "a state"))]
)
def test_brackets_of_jinja_on_the_command_line_leave_no_folder_behind(
    program, what, commands, tmp_path
):
    done = commands(program, {"description": VALUES[what]}, tmp_path / "out")
    assert done.returncode == 1
    assert not list(tmp_path.rglob("catalog.yml"))
    if program == "cookiecutter":
        assert done.stderr.splitlines()[:2] == [
            f"description: {VALUES[what]!r} on the command line is read as Jinja, and is none",
            "  leave the braces out, or give the answer when you are asked, or in a file:",
        ]
        assert "Traceback" not in done.stdout + done.stderr


# --- where it goes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(template, tmp_path_factory):
    """The template as cruft wants it: in a git repository."""
    copy = copy_template(tmp_path_factory.mktemp("repository") / "dsml-template")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all of it"]):
        subprocess.run(["git", *command], cwd=copy, check=True)
    return copy


@pytest.fixture
def commands(repository, tmp_path):
    """Run cookiecutter or cruft as a user does; as one whom file permissions stop, if asked to."""

    def commands(program, answers, output, *options, ordinary=False, **environment):
        command = [Path(sys.executable).parent / program]
        if program == "cruft":
            command += ["create", repository, "--no-input", "--extra-context", json.dumps(answers)]
        else:
            command += [repository, "--no-input", *(f"{k}={v}" for k, v in answers.items())]
        default = () if "--config-file" in options else ("--default-config",)
        command += [*default, "--output-dir", output, *options]
        if ordinary and os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("root may write anywhere, and there is no setpriv to change that")
            command = ["setpriv", "--bounding-set", NO_OVERRIDE, *command]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return commands


@pytest.fixture
def read_only(tmp_path):
    """A folder that may not be written to; it can be removed again after the test."""
    folder = tmp_path / "read only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize("program", ["cookiecutter", "cruft"])
@pytest.mark.parametrize("below", ["", "new/folder"])
def test_a_folder_that_may_not_be_written_to_stays_empty(program, below, commands, read_only):
    done = commands(program, {}, read_only / below, ordinary=True)
    assert done.returncode == 1
    assert list(read_only.iterdir()) == []
    if program == "cookiecutter":
        assert done.stderr.splitlines() == [
            f"{read_only / below}: '{read_only}' may not be written to",
            "  name another folder: cookiecutter --output-dir FOLDER",
        ]
        assert done.stdout.splitlines() == ["Pre-Prompt Hook script failed"]


def test_a_folder_below_a_file_is_told(commands, tmp_path):
    file = tmp_path / "a file"
    file.touch()
    done = commands("cookiecutter", {}, file / "below")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        f"{file / 'below'}: '{file}' is a file, so there can be no folder below it",
    )


@pytest.mark.parametrize("has_config", [False, True])
def test_without_a_writable_home_the_hooks_still_finish(has_config, commands, read_only, tmp_path):
    config = tmp_path / "config.yml"
    config.write_text(f"replay_dir: {tmp_path / 'replay'}\ncookiecutters_dir: {tmp_path / 'c'}\n")
    program = "cookiecutter" if has_config else "cruft"
    options = ("--config-file", config) if has_config else ()
    done = commands(program, {}, tmp_path / "out", *options, ordinary=True, HOME=str(read_only))
    assert done.returncode == 0, done.stderr
    assert "digits_demo is there." in done.stdout
    assert "it knows neither your name nor your e-mail" in done.stdout
    assert list(read_only.iterdir()) == []


@pytest.mark.parametrize("locked", [".", "dsml", "stages"])
def test_a_project_that_may_not_be_written_over_is_left_as_it_is(locked, commands, tmp_path):
    project = tmp_path / "out" / "digits_demo"
    for folder in (project / "dsml", project / "stages"):
        folder.mkdir(parents=True)
        (folder / "mine").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    (project / locked).chmod(0o555)
    done = commands("cookiecutter", {}, tmp_path / "out", "--overwrite-if-exists", ordinary=True)
    (project / locked).chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("┏━━━")
    assert "is there already, and you may not write to it" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("program", ["cookiecutter", "cruft"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_target_that_is_there_already_is_left_as_it_is(program, kind, commands, tmp_path):
    target = tmp_path / "out" / "digits_demo"
    target.parent.mkdir()
    if kind == "folder":
        target.mkdir()
        target = target / "mine"
    target.write_text("kept")
    done = commands(program, {}, tmp_path / "out")
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["digits_demo"]
    assert target.read_text() == "kept"


def test_cruft_may_be_told_to_write_over_a_project(commands, tmp_path):
    assert commands("cruft", {}, tmp_path / "out").returncode == 0
    assert commands("cruft", {}, tmp_path / "out", "-f").returncode == 0


@pytest.mark.parametrize(
    "name",
    ["two  words", "Übung 数据 ñ", "it's", 'a "b"', "$HOME `x` $(y)", "a#b", "{x}", "-o"],
)
def test_a_project_is_made_and_checked_in_a_folder_of_any_name(name, commands, tmp_path, run):
    done = commands("cookiecutter", {}, tmp_path / name)
    assert done.returncode == 0, done.stderr
    project = tmp_path / name / "digits_demo"
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""
    assert "no errors" in run(sys.executable, "-m", "dsml", "check", cwd=project).stdout
    assert "make run" in run("make", "help", cwd=project).stdout


@pytest.mark.slow
def test_a_project_in_a_folder_with_spaces_accents_and_quotes_passes_its_own_tests(
    template, tmp_path, run
):
    project = make(template, tmp_path / "it's an Übung 数据", {"example": "empty"})
    run("pytest", "-q", cwd=project)
