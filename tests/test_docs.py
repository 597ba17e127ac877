"""The README and the pages of a project: each command exists, each snippet is what it says."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from conftest import TEMPLATE
from dagster._cli import cli as dagster_cli
from dagster_dg_cli.cli import cli as dg
from documents import blocks, lines, words_of

import dsml.cli
from dsml.contract.catalog import catalog_of
from dsml.contract.interface import read_interface
from dsml.contract.problem import Problem, Where, render
from dsml.contract.spec import check_keys
from dsml.contract.yaml_lines import load_yaml

EXAMPLES = ["digits", "empty", "dashboard", "untracked"]
# what stands in a block beside the commands of the project
SHELL = {"cp", "cruft", "export", "find", "git"}
INLINE = re.compile(r"(?<!`)`((?:uv run )?dsml [^`]+|make [^`]+)`(?!`)")
UNFINISHED = (click.MissingParameter, click.BadOptionUsage)  # `dsml backfill`, in a sentence


def pages(project):
    return [project / "README.md", *sorted(project.glob("docs/*.md"))]


def texts(page, language):
    return [block.text for block in blocks(page) if block.language == language]


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


# Commands that another test runs, by the reason why.
ELSEWHERE = {
    # they stay open
    "make dagit": "test_ui.py",
    "make serve": "runtime/test_serve.py",
    "make serve port=5002": "runtime/test_serve.py",
    "make debug": "runtime/test_debug.py",
    # they want something outside of the project
    "make notify": "runtime/test_notify.py",
    "make doctor": "runtime/test_doctor.py",
    "dsml summary --format json > before.json": "runtime/test_summary.py",
    "dsml summary --against before.json": "runtime/test_summary.py",
    "dsml summary --expand left/": "runtime/test_summary.py",
    # it fails on purpose
    "DSML_FAULTS=1 make run force=1": "test_digits_pipelines.py",
    # they want code or a pipeline of the page's own
    "uv run dagster job execute -m dag -j cards": "runtime/test_own_dagster.py",
    "make new step=train/scale in=data=load.main.data out=data=scaled.json python=1": (
        "runtime/test_python_steps.py"
    ),
    "uv run dsml run --select +train.scale": "runtime/test_python_steps.py",
    "make run pipeline=days": "runtime/test_partitions.py",
    "make run pipeline=days partition=2024-03-31": "runtime/test_partitions.py",
    "make backfill pipeline=days from=2024-03-01 to=2024-03-31 missing=1": (
        "runtime/test_backfill.py"
    ),
    "uv run dsml backfill days --from 2024-03-01 --to 2024-03-31 --missing-only": (
        "runtime/test_backfill.py"
    ),
    "uv run dsml backfill days --experiment all --dry-run": "runtime/test_backfill.py",
    "uv run dsml runs --pipeline days --partition 2024-03-31": "runtime/test_partitions.py",
    "uv run dg check defs": "runtime/test_dg.py",
    "uv run dg list defs": "runtime/test_dg.py",
    "uv run dg launch --job training --partition baseline": "runtime/test_dg.py",
    "uv run dg dev": "runtime/test_dg.py",
    "uv run dsml run --executor dask": "runtime/test_executors.py",
    # they take as long as those that are run here, and do much the same
    "make run experiment=all": "runtime/test_backfill.py",
    'make run set="train.fit.n_train=[200,800]"': "runtime/test_fanout.py",
    'make run pipeline=inference set="predict.batch.source=data/sample.csv"': (
        "test_digits_pipelines.py"
    ),
    "make run pipeline=inference experiment=wide": "test_digits_pipelines.py",
    "make run pipeline=release": "test_digits_pipelines.py",
    "make promote dry=1": "runtime/test_promote.py",
    "make promote run=latest": "runtime/test_promote.py",
    "make promote to=1": "runtime/test_promote.py",
    "uv run dsml promote digits --metric accuracy --higher": "runtime/test_promote.py",
    "dsml report --out public": "runtime/test_report.py",
    "dsml report --all": "runtime/test_report.py",
    "make reproduce run=latest": "runtime/test_resuming.py",
    "uv run dsml reproduce 97d00303 --json": "runtime/test_resuming.py",
    "uv run dsml run --from-failure 97d00303": "runtime/test_resuming.py",
}
FIRST = {"resuming.md": 0, "experiments.md": 1}  # they leave what other pages ask for
OUTSIDE = {"cruft", "export", "find", "git"}  # those of the page on updating: see test_update.py


def shortened(project):
    """Give a trained project less data, so that each of its experiments takes seconds."""
    for name, old, new in (
        ("stages/load/digits.ipynb", "n_images: int = 1797", "n_images: int = 300"),
        ("stages/train/fit.ipynb", "[100, 400, 1347]", "[50, 150]"),
        ("catalog.yml", "n_images: 600", "n_images: 300"),
        ("catalog.yml", "n_train: [50, 150, 450]", "n_train: [50, 150]"),
    ):
        text = (project / name).read_text(encoding="utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow(minutes=3)
def test_the_commands_of_the_pages_work_as_they_stand(trained, installed, run, monkeypatch):
    project = installed(trained)
    shortened(project)
    monkeypatch.setenv("BROWSER", "true")
    monkeypatch.setenv("DSML_WEBHOOK_URL", "http://127.0.0.1:9")
    ordered = sorted(pages(project), key=lambda page: FIRST.get(page.name, len(FIRST)))
    shown = [re.split(r" +# ", line)[0] for page in ordered for line in lines(page)]
    found = list(dict.fromkeys(shown))
    assert [line for line in ELSEWHERE if line not in found] == []
    with Commands(project) as commands:
        run_id = json.loads(commands("dsml", "runs", "--json"))[0]["run_id"]
        commands("dsml", "run", "--set", "load.digits.source=late.csv", code=1)
        for file in ("late.csv", "new.csv"):
            shutil.copy(project / "data" / "sample.csv", project / file)
        for line in found:
            words = [
                run_id if re.fullmatch("[0-9a-f]{8}", word) else word for word in words_of(line)
            ]
            if line in ELSEWHERE or words[0] in OUTSIDE:
                continue
            if words[0] == "cp":
                run(*words, cwd=project)
            elif words[0] != "make":
                commands(*words)
            else:
                for command in as_dry_run(project, words, run):
                    commands("dsml", *command[1:])


class Commands:
    """One process that runs commands of a project, as `tests/commands.py` does."""

    def __init__(self, project):
        self.project = project

    def __enter__(self):
        home, path = self.project / ".dagster", self.project
        environment = {"DAGSTER_HOME": str(home), "PYTHONPATH": str(path)}
        self.process = subprocess.Popen(
            [sys.executable, TEMPLATE / "tests" / "commands.py"],
            cwd=self.project,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)

    def __call__(self, *words, code=0):
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        done = json.loads(self.process.stdout.readline())
        assert done["code"] == code, f"{shlex.join(words)}\n{done['said']}"
        return done["said"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_readme_leads_to_every_page(example, request):
    project = request.getfixturevalue(example)
    readme, *others = pages(project)
    links = re.findall(r"\]\((docs/\w+\.md)\)", readme.read_text(encoding="utf-8"))
    assert sorted(set(links)) == [page.relative_to(project).as_posix() for page in others]
    assert len(readme.read_text(encoding="utf-8").splitlines()) < 230


def test_every_piece_of_a_catalog_in_a_page_is_one(digits):
    found = [(page.name, block) for page in pages(digits)[1:] for block in texts(page, "yaml")]
    assert len(found) > 5
    for name, block in found:
        problems: list[Problem] = []
        catalog_of(load_yaml(f"version: 1\n{block}"), problems)
        assert render(problems) == "", name


def test_every_op_parameters_in_a_page_can_be_declared(digits):
    found = []
    for page in pages(digits)[1:]:
        for block in texts(page, "python"):
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

        check_keys(report, declared)
        read_interface(report, declared)
        assert render(problems) == "", name
