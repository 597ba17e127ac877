"""A notebook and a script of the same name, which jupytext keeps in step: whether they are."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

from dsml.contract.cells import Cell, Notebook, read_notebook
from dsml.contract.percent import SUFFIX, is_magic, is_notebook
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.source import text_of

# What jupytext comments out besides: a request for help, and commands that need no sign.
_HELP = re.compile(r"\s*(?:# )*(?:\S*\?\s*$|\?\s*\w)")
_COMMAND = re.compile(
    r"(?:# |#)*(?:cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren)(?:$|\s$|\s[^=,])"
)


def is_text_notebook(file: Path) -> bool:
    """Whether a file is a text notebook: a script in which a cell carries a tag."""
    return is_notebook(text_of(file))


def pair_problem(notebook: Notebook, file: Path) -> Problem | None:
    """The first cell in which a notebook and the script beside it differ; ``file`` is its own.

    The notebook is the step, so a script that says something else misleads whoever reads it.
    """
    script = file.with_suffix(SUFFIX)
    if not is_text_notebook(script):
        return None
    name = notebook.path.removesuffix(file.suffix) + SUFFIX
    known = '"formats"' in file.read_text(encoding="utf-8-sig")  # to jupytext, as a pair
    options = "--sync" if known else "--set-formats ipynb,py:percent --sync"
    fix = f"run: jupytext {options} {notebook.path}, or delete one of the two"
    try:
        cells = read_notebook(script, name).cells
    except ProjectError:
        return Problem(Where(name), "is no UTF-8 text", fix, "out-of-step")
    for ours, theirs in zip_longest(notebook.cells, cells):
        if ours is None:
            where, there = Where(notebook.path), theirs.where()
            return Problem(where, f"has no cell like that of {there}", fix, "out-of-step")
        if theirs is None:
            what = f"the paired script {name} has no such cell"
            return Problem(ours.where(), what, fix, "out-of-step")
        line = _difference(ours, theirs)
        if line is not None:
            where = ours.where(line if ours.kind == "code" else None)
            there = theirs.where(line).line
            what = f"the cell differs from its pair {name}, line {there}"
            return Problem(where, what, fix, "out-of-step")
    return None


def _difference(ours: Cell, theirs: Cell) -> int | None:
    """The first line in which two cells differ, None where they don't.

    As with jupytext, blank lines at the end don't count, and magics are comments in a script.
    """
    mine, other = (cell.source.rstrip().split("\n") for cell in (ours, theirs))
    continued = False
    for number, (line, there) in enumerate(zip_longest(mine, other), start=1):
        if line is None or there is None or ours.kind != theirs.kind:
            return number
        commented = is_magic(line) or _HELP.match(line) or _COMMAND.match(line)
        magic = ours.kind == "code" and bool(continued or commented)
        if line.rstrip() != there.rstrip() and not (magic and _without_sign(there) == line.strip()):
            return number
        continued = magic and line.endswith("\\")
    return None


def _without_sign(line: str) -> str:
    return line.strip().removeprefix("#").strip()
