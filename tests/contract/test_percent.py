"""Text notebooks: reading and writing cells, lines in messages, pairs, what is no notebook."""

from __future__ import annotations

import json
import random

import nbformat
import pytest

from dsml.contract.percent import ScriptCell, is_notebook, read_script, write_script
from dsml.contract.register import check_project

from .conftest import cell, document, step_cells

STEP = """\
# ---
# jupyter:
#   kernelspec:
#     name: python3
# ---

# %% [markdown]
# # Fit

# %% tags=["op_parameters"]
op_parameters = {
    "outs": {"x": "x.json"},
}

# %% tags=["parameters"]
n: int = 3  # trees

# %%
from dsml import get_context

context = get_context(op_parameters)
context.save("x", n)
"""
FIT = "stages/train/fit.py"


def cells_of(text):
    return [(c.kind, c.source, *c.tags) for c in read_script(text)]


# --- reading


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", []),
        ("\n\n", []),
        ("x = 1\n", [("code", "x = 1")]),
        ("# %%\nx = 1\n\n# %%\ny = 2\n", [("code", "x = 1"), ("code", "y = 2")]),
        ("# %%\n# %%\n", [("code", ""), ("code", "")]),
        ("#%% tags=['a']\nx\n", [("code", "x", "a")]),
        ('# %% A title tags=["a", "b"] other=1\nx', [("code", "x", "a", "b")]),
        ('# %% other="tags=[1]" tags=["a"]\nx', [("code", "x", "a")]),
        ('# %% {"tags": ["a"]}\nx', [("code", "x", "a")]),
        ("# %% tags=[oops\nx", [("code", "x")]),
        ("# %% [markdown]\n# # T\n#\n# text\n", [("markdown", "# T\n\ntext")]),
        ('# %% [md]\n"""\n# T\n# %% no\n"""\n', [("markdown", "# T\n# %% no")]),
        ('# %% [markdown] tags=["a"]\n# t', [("markdown", "t", "a")]),
        ("# %% [raw]\n# t", [("raw", "t")]),
        ('x = """\n# %% no\n"""\n# %%\ny', [("code", 'x = """\n# %% no\n"""'), ("code", "y")]),
        ("# it's\n# %%\ny", [("code", "# it's"), ("code", "y")]),
        ("x = '\\''  # %% no\n", [("code", "x = '\\''  # %% no")]),
        ("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %%\nx", [("code", "x")]),
        ("\ufeff# %%\r\nx\r\ny\r\n", [("code", "x\ny")]),
        ("# ---\n# never closed\nx", [("code", "# ---\n# never closed\nx")]),
        ('# %% tags=["active-ipynb"]\n# x = 1\n', [("code", "x = 1", "active-ipynb")]),
        ('# %% tags=["active-py"]\nx = 1\n', [("raw", "x = 1", "active-py")]),
    ],
)
def test_a_script_is_read_as_cells(text, cells):
    assert cells_of(text) == cells


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("# %time x = 1", "%time x = 1"),
        ("# %%time\nx = 1", "%%time\nx = 1"),
        ("    # %time f()", "    %time f()"),
        ("# !ls -l", "!ls -l"),
        ("# !echo a \\\n#   b\nx", "!echo a \\\n  b\nx"),
        ("# files = !ls", "files = !ls"),
        ("# # %time x", "# %time x"),
        ("%time x", "%time x"),
        ("x = '''\n# %time\n'''", "x = '''\n# %time\n'''"),
    ],
)
def test_magics_are_comments_in_a_script(written, read):
    assert cells_of(f"# %%\n{written}\n") == [("code", read)]


@pytest.mark.parametrize("prose", ["# copy the files", "# ls", "# really?", "# 5 % of it", "#: x"])
def test_prose_stays_a_comment(prose):
    assert cells_of(f"# %%\n{prose}\n") == [("code", prose)]


def test_a_cell_in_another_language_gets_its_magic_back():
    text = '# %% language="bash" magic_args="-s"\n# ls\n'
    assert cells_of(text) == [("code", "%%bash -s\nls")]


def test_cells_know_how_many_lines_stand_above_them():
    lines = STEP.split("\n")
    cells = [c for c in read_script(STEP) if c.kind == "code"]
    assert [lines[c.above] for c in cells] == [c.source.split("\n")[0] for c in cells]


SOURCES = (
    *("x = 1", "%time x = 1", "!ls", "files = !ls", "# note", "%%time\nx\ny", "%%bash\nls\n# hi"),
    *("s = '''\n# %% no\n'''", "def f():\n    %timeit g()\n    return 1", "", "a\n\n\nb"),
    *("# %time x", "%matplotlib inline\nimport os", "!echo a \\\n  b\nz = 3", "if x:\n    !ls"),
)
TEXTS = ("# Title\n\n'a' \"b\"", "- a\n- b", "just")


def random_cells(seed):
    choose = random.Random(seed)
    made = []
    for _ in range(choose.randint(1, 6)):
        kind = choose.choice(["code", "code", "code", "markdown", "raw"])
        source = choose.choice(SOURCES if kind == "code" else TEXTS)
        tags = choose.choice([(), (), ("parameters",), ("op_parameters", "x")])
        made.append(ScriptCell(kind, source, tags))
    return made


@pytest.mark.parametrize("seed", range(100))
def test_what_is_written_is_read_back(seed):
    cells = random_cells(seed)
    assert cells_of(write_script(cells)) == [(c.kind, c.source, *c.tags) for c in cells]


@pytest.mark.parametrize("seed", range(50))
def test_jupytext_writes_what_is_read_here_and_reads_what_is_written_here(seed):
    jupytext = pytest.importorskip("jupytext")
    v4 = nbformat.v4
    makers = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}
    cells = random_cells(seed)
    made = [
        makers[c.kind](c.source, metadata={"tags": list(c.tags)} if c.tags else {}) for c in cells
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = v4.new_notebook(cells=made, metadata={"kernelspec": kernel})
    expected = [(c.kind, c.source, *c.tags) for c in cells]
    assert cells_of(jupytext.writes(notebook, "py:percent")) == expected
    back = jupytext.reads(write_script(cells), "py:percent").cells
    assert [(c.cell_type, c.source, *c.metadata.get("tags", ())) for c in back] == expected


# --- which scripts are notebooks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STEP, True),
        ('# %% tags=["anything"]\n', True),
        ("# %%\nx = 1\n", False),
        ("def step_fn(a): ...\n", False),
        ("'''\n# %% tags=[\"parameters\"]\n'''\n", False),
        ("x = 1\n", False),
    ],
)
def test_a_script_is_a_notebook_if_a_cell_carries_a_tag(text, expected):
    assert is_notebook(text) is expected


def test_other_scripts_in_a_stage_are_left_alone(make):
    make.step("train.fit").file("stages/train/helpers.py", "def f(): ...\n")
    make.file("stages/train/lab.py", "# %%\nx = 1\n").file("stages/train/latin.py", b"x = '\xe9'")
    assert (list(make.project.steps), make.messages) == (["train.fit"], "")


def test_a_folder_that_is_called_like_a_script_is_no_notebook(make):
    (make.root / "stages" / "train" / "fit.py").mkdir(parents=True)
    assert (make.project.steps, make.messages) == ({}, "")


# --- the contract


def test_a_text_notebook_is_a_step(make):
    make.file(FIT, STEP).register()
    step = make.project.registered["train.fit"]
    assert (step.path, dict(step.outs)) == (FIT, {"x": "x.json"})
    assert (step.parameters["n"].default, step.parameters["n"].description) == (3, "trees")
    assert f"train.fit: {{path: {FIT}, outs: {{x: x.json}}}}" in make.text
    assert make.messages == make.notes == ""


def test_code_changes_the_fingerprint_and_prose_does_not(make):
    def code(text):
        return make.file(FIT, text).project.steps["train.fit"].code

    before = code(STEP)
    assert code(STEP.replace("# # Fit", "# # Fitted")) == before
    assert code(STEP.replace("n)", "n + 1)")) != before


@pytest.mark.parametrize(
    ("old", "new", "place", "what"),
    [
        (
            '"outs"',
            '"out"',
            "cell 2 (op_parameters), line 12",
            "out: op_parameters has no such key",
        ),
        ("n: int = 3", "n: int = 3.5", "cell 3 (parameters), line 16", "n: the default 3.5 is no"),
        ("n: int = 3", "n: int = 3 +", "cell 3 (parameters), line 16", "the cell is no Python"),
        (
            "op_parameters =",
            "other =",
            "cell 2 (op_parameters), line 11",
            "the cell assigns no op_",
        ),
    ],
)
def test_messages_carry_the_lines_of_the_script(make, old, new, place, what):
    make.file(FIT, STEP.replace(old, new, 1))
    first, second, *_ = make.messages.split("\n")
    assert first == f"{FIT}, {place}"
    assert second.strip().startswith(what)


def test_warnings_carry_the_lines_of_the_script(make):
    make.file(FIT, STEP + '\npath = "/home/ann/data.csv"\n')
    assert f"{FIT}, cell 4, line 24\n  warning: '/home/ann/data.csv'" in make.notes


def test_a_name_that_is_no_identifier_is_refused_with_its_own_suffix(make):
    make.file("stages/train/my-fit.py", STEP)
    assert make.messages.endswith("rename it to stages/train/my_fit.py")


def test_text_that_is_not_utf_8_is_refused(make):
    make.file(FIT, STEP.encode() + b"# \xe9")
    assert make.messages.startswith(f"{FIT}\n  the notebook is no UTF-8 text")


# --- pairs

CELLS = (
    cell('op_parameters = {\n    "outs": {"x": "x.json"},\n}', "op_parameters"),
    cell("n: int = 3  # trees", "parameters"),
    cell(
        'from dsml import get_context\n\ncontext = get_context(op_parameters)\ncontext.save("x", n)'
    ),
)
PAIRED = document(cell("# Fit", kind="markdown"), *CELLS)


def pair(make, script, *more):
    notebook = document(*PAIRED["cells"], *(cell(source) for source in more))
    return make.notebook("train.fit", notebook).file(FIT, script).register()


def test_of_a_pair_the_notebook_is_the_step(make):
    pair(make, STEP)
    assert make.project.steps["train.fit"].path == "stages/train/fit.ipynb"
    assert make.messages == make.notes == ""


def test_magics_and_blank_lines_at_the_end_make_no_difference(make):
    magics = "%time x = 1\n!ls \\\n  -l\nx?\ncopy a b\n# copy a b\n\n"
    commented = "# %time x = 1\n# !ls \\\n#   -l\n# x?\n# copy a b\n# # copy a b\n"
    pair(make, f"{STEP}\n# %%\n{commented}", magics)
    assert make.messages == ""


@pytest.mark.parametrize(
    ("script", "where", "what"),
    [
        (
            STEP.replace("3  # trees", "4  # trees"),
            "stages/train/fit.ipynb, cell 3 (parameters), line 1",
            f"the cell differs from its pair {FIT}, line 16",
        ),
        (
            STEP.replace("# # Fit", "# # Fitted"),
            "stages/train/fit.ipynb, cell 1",
            f"the cell differs from its pair {FIT}, line 8",
        ),
        (
            f"{STEP}\n# %%\nmore = 1\n",
            "stages/train/fit.ipynb",
            f"has no cell like that of {FIT}, cell 5, line 25",
        ),
        (
            STEP.partition("# %%\nfrom")[0],
            "stages/train/fit.ipynb, cell 4",
            f"the paired script {FIT} has no such cell",
        ),
    ],
)
def test_a_pair_that_is_out_of_step_is_a_finding(make, script, where, what):
    pair(make, STEP).file(FIT, script)
    fix = (
        "run: jupytext --set-formats ipynb,py:percent --sync stages/train/fit.ipynb, "
        "or delete one of the two"
    )
    assert make.messages == f"{where}\n  {what}\n  {fix}"
    assert [p.name for p in check_project(make.root).errors] == ["out-of-step"]


def test_a_pair_that_jupytext_knows_is_told_the_shorter_command(make):
    known = {"jupytext": {"formats": "ipynb,md,py:percent"}}
    make.notebook("train.fit", PAIRED | {"metadata": known}).file(FIT, STEP + "more = 1\n")
    assert "run: jupytext --sync stages/train/fit.ipynb, or delete one" in make.messages


@pytest.mark.parametrize("seed", range(50))
def test_a_pair_that_jupytext_has_written_is_in_step(make, seed):
    jupytext = pytest.importorskip("jupytext")
    cells = [cell(c.source, kind=c.kind) for c in random_cells(seed)]
    notebook = document(*PAIRED["cells"], *cells, *(cell(s) for s in ("x?", "ls", "# copy it")))
    text = jupytext.writes(nbformat.from_dict(notebook), "py:percent")
    make.notebook("train.fit", notebook).file(FIT, text).register()
    assert make.messages == ""


def test_a_helper_beside_a_notebook_is_no_pair(make):
    make.notebook("train.fit", step_cells()).file(FIT, "def f(): ...\n").register()
    assert make.messages == ""


def test_both_kinds_are_found_in_one_order(make):
    make.step("a.b").file("stages/a/a.py", STEP).file("stages/a/c.py", STEP).step("b.a")
    assert list(make.project.steps) == ["a.a", "a.b", "a.c", "b.a"]
    assert json.dumps(make.messages) == '""'
