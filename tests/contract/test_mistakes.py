"""The README's table of mistakes: each is made here, and what is told has to stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import RUNTIME, cell, document, step_cells

README = Path(__file__).resolve().parents[2] / "README.md"
TITLE = "## Mistakes, and what you are told"

FIT = "stages/train/fit.ipynb"
TWO = cell("op_parameters = {}", "op_parameters")
CHECK = ("check", FIT)
SCRIPT = "stages/train/fit.py"
REGISTERED = f"register:\n  train.fit: {{path: {FIT}}}\n"


class Python(str):
    """The source of a Python step, in the place of a notebook."""

    __slots__ = ()


# mistake → the step train.fit (None: a notebook as it should be), the catalog, the command that
# tells it
MISTAKES = {
    "the file is no JSON": ('{\n "cells": [\n', "", CHECK),
    "no cell is tagged": (document(cell("n = 1")), "", CHECK),
    "two cells are tagged": (step_cells("{}", "", TWO), "", CHECK),
    "a value is computed": (
        step_cells('{\n    "outs": {"model": name + ".joblib"},\n}'),
        "",
        CHECK,
    ),
    "a key is not known": (step_cells('{\n    "output": {"model": "m.joblib"},\n}'), "", CHECK),
    "nobody writes what is read": (
        step_cells('{\n    "ins": {"train": "prepare.split.trian"},\n}'),
        "",
        CHECK,
    ),
    "steps wait for each other": (
        step_cells('{\n    "ins": {"train": "prepare.split.train"},\n}'),
        "",
        ("check",),
    ),
    "a grid comes from a step further on": (
        step_cells(
            '{\n    "ins": {"train": "prepare.split.train"},\n'
            '    "outs": {"sizes": "sizes.json"},\n}'
        ),
        "",
        ("check",),
    ),
    "a grid sets what is not there": (
        step_cells('{\n    "map": {"n_tran": [100, 400]},\n}', "n_train: int = 100"),
        "",
        CHECK,
    ),
    "a grid is no list": (
        step_cells('{\n    "map": {"n_train": 100},\n}', "n_train: int = 100"),
        "",
        CHECK,
    ),
    "a value stands twice in a grid": (
        step_cells('{\n    "map": {"n_train": [100, 400, 100]},\n}', "n_train: int = 100"),
        "",
        CHECK,
    ),
    "two outs share a file": (
        step_cells('{\n    "outs": {"a": "a.csv", "b": "a.csv"},\n}'),
        "",
        CHECK,
    ),
    "a parameter is declared twice": (step_cells("{}", "n: int = 1\nn: int = 2"), "", CHECK),
    "a default is not of its type": (step_cells("{}", 'n: int = "ten"'), "", CHECK),
    "a name is no identifier": (
        step_cells('{\n    "outs": {"the model": "m.joblib"},\n}'),
        "",
        CHECK,
    ),
    "an experiment sets what is not there": (
        step_cells("{}", "n_trees: int = 100"),
        "experiments:\n  wide: {config: {train.fit: {n_tres: 500}}}\n",
        ("check", "catalog.yml"),
    ),
    "a cron is none": (
        None,
        "pipelines:\n  weekly:\n    schedule: {cron: 0 25 * * 1}\n",
        ("check", "catalog.yml"),
    ),
    "a time zone is unknown": (
        None,
        'pipelines:\n  weekly:\n    schedule: {cron: "@weekly", timezone: Europe/Berln}\n',
        ("check", "catalog.yml"),
    ),
    "a sensor looks into a folder that is missing": (
        step_cells("{}", 'source: str = ""'),
        "pipelines:\n  new:\n"
        "    sensor: {watch: data/incoming/*.csv, parameter: train.fit.source}\n" + REGISTERED,
        ("check",),
    ),
    "a start date lies in the future": (
        None,
        "pipelines:\n  days:\n    partitions: {daily: 2999-01-01}\n",
        ("check", "catalog.yml"),
    ),
    "a Python step takes what it does not read": (
        Python(
            'op_parameters = {"ins": {"train": "prepare.split.train"}}\n\n\n'
            "def step_fn(train, labels):\n    return None\n"
        ),
        "",
        ("check", SCRIPT),
    ),
    "a Python step asks for an unknown resource": (
        Python("op_parameters = {}\n\n\ndef step_fn(*, db):\n    return None\n"),
        "resources: {database: my_package.resources:database}\n",
        ("check", SCRIPT),
    ),
    "the register is not up to date": (
        None,
        f"register:\n  train.fit: {{path: {FIT}, outs: {{model: model.pkl}}}}\n",
        ("check", "catalog.yml"),
    ),
    "there is no such experiment": (
        None,
        (
            f"experiments: {{baseline: {{}}, wide: {{}}}}\nregister:\n"
            f"  train.fit: {{path: {FIT}, outs: {{model: model.joblib}}}}\n"
        ),
        ("run", "--experiment", "wyde"),
    ),
    "an in is not used": (
        document(
            cell(
                'op_parameters = {\n    "ins": {"train": "prepare.split.train"},\n}',
                "op_parameters",
            ),
            cell("context = get_context(op_parameters)"),
        ),
        "",
        CHECK,
    ),
    "a secret is written in a cell": (
        step_cells("{}", "", cell('connect(user="ann", password="hunter2")')),
        "",
        CHECK,
    ),
}
# mistake → what prepare.split declares, where there is such a step
SPLIT = '{\n    "outs": {"train": "train.parquet"},\n}'
OTHERS = {
    "nobody writes what is read": SPLIT,
    "steps wait for each other": SPLIT.replace("\n}", '\n    "after": ["train.fit"],\n}'),
    "a grid comes from a step further on": SPLIT.replace(
        "\n}", '\n    "map": {"n": "train.fit.sizes"},\n}'
    ),
    "a Python step takes what it does not read": SPLIT,
    "an in is not used": SPLIT,
}
AT_RUN_TIME = "an out is not written"
GOOD = step_cells('{\n    "outs": {"model": "model.joblib"},\n}')


def row(mistake: str, message: str) -> str:
    """A row of the table. A line that holds backticks is put between double ones."""
    lines = [line.strip() for line in message.split("\n")]
    return (
        f"| {mistake} | {'<br>'.join(f'`{n}`' if '`' not in n else f'`` {n} ``' for n in lines)} |"
    )


def undated(text: str) -> str:
    """The text without its dates, one of which is that of today."""
    return re.sub(r"\d{4}-\d\d-\d\d", "DATE", text)


def rows() -> dict[str, str]:
    """The rows of the README, by mistake."""
    section = README.read_text(encoding="utf-8").partition(TITLE)[2].partition("\n## ")[0]
    table = [line for line in section.split("\n") if line.startswith("| ")][1:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table}


@pytest.fixture
def told(make):
    """Make a mistake: what is told, without the notes on drafts and the line that counts."""

    def told(mistake):
        notebook, catalog, command = MISTAKES[mistake]
        if isinstance(notebook, Python):
            make.file(SCRIPT, notebook)
        elif isinstance(notebook, str):
            make.file(FIT, notebook)
        else:
            make.notebook("train.fit", notebook or GOOD)
        if mistake in OTHERS:
            make.step("prepare.split", OTHERS[mistake], "n: int = 1")
        make.catalog(f"version: 1\n{catalog}")
        done = make.run(*command)
        parts = (done.stdout + done.stderr).strip().split("\n\n")
        (message,) = (p for p in parts if "\n  note: " not in p and p.count("\n") == 2)
        return message

    return told


def test_the_table_lists_the_mistakes_that_are_made_here():
    assert list(rows()) == [*MISTAKES, AT_RUN_TIME]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_the_table_says_is_what_is_told(told, mistake):
    assert undated(rows()[mistake]) == undated(row(mistake, told(mistake)))


@pytest.mark.slow
def test_what_the_table_says_of_an_out_that_is_not_written_is_what_is_told(make):
    notebook = document(
        cell('op_parameters = {\n    "outs": {"model": "model.joblib"},\n}', "op_parameters"),
        cell("from dsml import get_context\n\ncontext = get_context(op_parameters)"),
    )
    make.notebook("train.fit", notebook).register()
    make.file("dag.py", (RUNTIME / "dag.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "dsml", "run"],
        cwd=make.root,
        env={**os.environ, "PYTHONPATH": str(RUNTIME), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    parts = (done.stdout + done.stderr).split("\n\n")
    (message,) = (part for part in parts if part.startswith("stages/"))
    assert rows()[AT_RUN_TIME] == row(AT_RUN_TIME, message)
