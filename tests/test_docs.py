"""The README and the pages of a project: each command exists, each snippet is what it says."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shlex
from textwrap import dedent

import click
import pytest
from conftest import TEMPLATE
from dagster._cli import cli as dagster_cli
from dagster_dg_cli.cli import cli as dg

import dsml.cli
from dsml.contract.catalog import catalog_of
from dsml.contract.interface import read_interface
from dsml.contract.problem import Problem, Where, render
from dsml.contract.spec import KEYS, check_keys
from dsml.contract.yaml_lines import load_yaml

EXAMPLES = ["digits", "empty", "dashboard", "untracked"]
# what stands in a block beside the commands of the project
SHELL = {"cp", "cruft", "export", "find", "git"}
CHEAP = re.compile(r"make (help|check|schedules)\b|uv run dsml (check|runs|schedules|notify$)")
INLINE = re.compile(r"(?<!`)`((?:uv run )?dsml [^`]+|make [^`]+)`(?!`)")
UNFINISHED = (click.MissingParameter, click.BadOptionUsage)  # `dsml backfill`, in a sentence


def pages(project):
    return [project / "README.md", *sorted(project.glob("docs/*.md"))]


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [dedent(block) for _, block in found]


def lines(page):
    """The command lines in the blocks of a page."""
    found = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in found if shlex.split(line, comments=True)]


def words_of(line):
    """The words of a command, without what is set for it: `DSML_FAULTS=1 make run`."""
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words[2:] if words[:2] == ["uv", "run"] else words


def shown(page):
    """Every command that a page shows, and whether it is to be typed as it stands."""
    inline = INLINE.findall(page.read_text(encoding="utf-8"))
    found = [(words_of(line), True) for line in lines(page)]
    found += [(words_of(line), False) for line in inline]
    return [(words, whole) for words, whole in found if words[0] not in SHELL]


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Read a command as click does when it is run, without running it."""
    for module in pkgutil.iter_modules(dsml.cli.__path__, "dsml.cli."):
        importlib.import_module(module.name)
    for name in ("old.ipynb", "NOTEBOOK"):  # which `dsml adopt` is shown with
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def silence(command):
        monkeypatch.setattr(command, "callback", lambda **_: None)
        for below in getattr(command, "commands", {}).values():
            silence(below)

    dg.list_commands(click.Context(dg))  # it imports its commands when they are asked for
    tools = {"dsml": dsml.cli.cli, "dagster": dagster_cli, "dg": dg}
    for tool in tools.values():
        silence(tool)

    def parse(words, *, whole=True):
        try:
            tools[words[0]].main(words[1:], standalone_mode=False)
        except UNFINISHED:
            assert not whole, words

    return parse


def as_dry_run(project, words, run):
    """What make would do: the commands that it would start, in words."""
    said = run("make", "--dry-run", *words[1:], cwd=project).stdout.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in said.splitlines() if "bin/dsml" in line]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_command_that_is_shown_exists_with_its_options(
    example, request, installed, parse, run
):
    project = installed(request.getfixturevalue(example))
    makefile = (project / "Makefile").read_text(encoding="utf-8")
    tried = 0
    for page in pages(project):
        for words, whole in shown(page):
            tried += 1
            if words[0] != "make":
                parse(words, whole=whole)
                continue
            variables = [word.partition("=")[0] for word in words[2:]]
            assert [name for name in variables if f"$({name})" not in makefile] == [], words
            for command in as_dry_run(project, words, run):
                if command[0].endswith("dsml"):
                    parse(["dsml", *command[1:]], whole=whole)
    assert tried > 80


def test_every_command_of_dsml_in_the_readme_of_the_template_exists(parse):
    found = [words for words, _ in shown(TEMPLATE / "README.md") if words[0] == "dsml"]
    assert found
    for words in found:
        parse(words, whole=False)


@pytest.mark.slow
def test_the_commands_that_only_look_or_switch_work_as_they_stand(digits, installed, run):
    project = installed(digits)
    path = f"{project / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    found = [line for page in pages(project) for line in lines(page) if CHEAP.match(line)]
    assert len(found) > 10
    for line in found:
        run("sh", "-ec", line.removeprefix("uv run "), cwd=project, PATH=path)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_readme_leads_to_every_page(example, request):
    project = request.getfixturevalue(example)
    readme, *others = pages(project)
    links = re.findall(r"\]\((docs/\w+\.md)\)", readme.read_text(encoding="utf-8"))
    assert sorted(links) == [page.relative_to(project).as_posix() for page in others]
    assert len(readme.read_text(encoding="utf-8").splitlines()) < 230


def test_every_piece_of_a_catalog_in_a_page_is_one(digits):
    found = [(page.name, block) for page in pages(digits)[1:] for block in blocks(page, "yaml")]
    assert len(found) > 5
    for name, block in found:
        problems: list[Problem] = []
        catalog_of(load_yaml(f"version: 1\n{block}"), problems)
        assert render(problems) == "", name


def test_every_op_parameters_in_a_page_can_be_declared(digits):
    found = []
    for page in pages(digits)[1:]:
        for block in blocks(page, "python"):
            found += [
                (page.name, ast.literal_eval(node.value))
                for node in ast.parse(block).body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "op_parameters"
            ]
    assert len(found) > 5
    for name, declared in found:
        problems: list[Problem] = []

        def report(keys, what, fix, kind, problems=problems):
            problems.append(Problem(Where(".".join(keys)), what, fix, kind))

        check_keys(report, declared, KEYS)
        read_interface(report, declared)
        assert render(problems) == "", name
