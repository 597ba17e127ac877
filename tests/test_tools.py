"""How the environments of this repository are made on machines of which little is known."""

from __future__ import annotations

import re
import subprocess

import environment
import pytest
from conftest import TEMPLATE, TEMPLATE_PARTS
from requirements import requirements


@pytest.fixture
def commands(monkeypatch):
    """Record the commands instead of running them; `commands.failing` names those that fail."""

    class Commands(list):
        failing = ()

        def run(self, *command):
            self.append(" ".join(command))
            if any(word in self[-1] for word in self.failing):
                raise subprocess.CalledProcessError(7, command)

    recorded = Commands()
    monkeypatch.setattr(environment, "_run", recorded.run)
    monkeypatch.setattr(environment, "find_uv", lambda: "uv")
    return recorded


def test_with_uv_the_packages_are_compiled(commands):
    assert environment.main(["here", "--group", "dev"]) == 0
    assert commands[-1] == "uv pip install --python here --compile-bytecode --group dev"


def test_without_uv_it_is_installed_first(commands, monkeypatch):
    found = iter([None, "build/uv/bin/uv"])
    monkeypatch.setattr(environment, "find_uv", lambda: next(found))
    assert environment.main(["here", "x"]) == 0
    assert commands[1].endswith("-m pip install --quiet uv")
    assert commands[-1].startswith("build/uv/bin/uv pip install")


def test_where_uv_cannot_be_installed_venv_and_pip_do_it(commands, monkeypatch, capsys):
    monkeypatch.setattr(environment, "find_uv", lambda: None)
    commands.failing = ("--quiet uv",)
    assert environment.main(["here", "x"]) == 0
    assert "uv cannot be installed: venv and pip are used instead" in capsys.readouterr().out
    assert re.fullmatch(r"here/(bin|Scripts)/python -m pip install --quiet x", commands[-1])


def test_where_uv_fails_venv_and_pip_do_it(commands):
    commands.failing = ("uv pip install",)
    assert environment.main(["here", "x"]) == 0
    assert commands[-1].endswith("-m pip install --quiet x")


def test_where_everything_fails_one_line_says_so(commands, capsys):
    commands.failing = ("install",)
    assert environment.main(["here", "x"]) == 1
    assert capsys.readouterr().err == "the environment here could not be made: exit code 7.\n"


def test_an_old_python_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(environment.sys, "version_info", (3, 10))
    assert environment.main(["here"]) == 1
    assert capsys.readouterr().err.startswith("Python 3.11 or newer is needed, this is ")


def test_no_setting_of_the_shell_leaves_the_environment_uncompiled(commands, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment.main(["here"])
    assert "PYTHONDONTWRITEBYTECODE" not in environment.os.environ


def test_the_requirements_are_those_of_the_project_and_of_the_groups_named(digits):
    found = requirements(digits / "pyproject.toml", ["dev"])
    assert any(line.startswith("dagster>=") for line in found)
    assert any(line.startswith("nbmake>=") for line in found)
    assert not any(
        line.startswith("nbmake>=") for line in requirements(digits / "pyproject.toml", [])
    )


def test_the_demo_is_made_from_the_template_alone_and_not_from_all_that_lies_beside_it(run):
    """Cookiecutter copies the folder that it is given, in a checkout that is used 2 GB."""
    said = run("make", "--dry-run", "demo", cwd=TEMPLATE, check=False).stdout
    (copied,) = re.findall(r"^cp -R (.*) build/template$", said, re.MULTILINE)
    parts = [path.name for word in copied.split() for path in TEMPLATE.glob(word)]
    assert sorted(parts) == sorted(TEMPLATE_PARTS)
    assert "--overwrite-if-exists build/template --output-dir" in said


def test_make_without_a_target_lists_every_target_in_columns(run):
    lines = run("make", cwd=TEMPLATE).stdout.splitlines()
    assert {line.split()[1] for line in lines} >= {
        "help",
        "demo",
        "test",
        "lint",
        "format",
        "clean",
    }
    assert len({re.match(r"  make [a-z-]+ +", line).end() for line in lines}) == 1
