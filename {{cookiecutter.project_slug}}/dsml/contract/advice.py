"""Warnings: what a notebook may do and had better not, found by reading its source.

``ADVICE`` holds their names. ``# dsml: ignore[name]`` in a cell silences a warning in that cell,
``# dsml: ignore`` all of them.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Collection, Iterator, Mapping

from dsml.contract.cells import OP_PARAMETERS, Cell, Notebook
from dsml.contract.problem import Problem, suggest
from dsml.contract.source import parse
from dsml.contract.spec import StepSpec
from dsml.contract.suspicious import absolute_paths, may_hold_path, may_hold_secret, secrets
from dsml.contract.usage import unused

ADVICE: Mapping[str, str] = {
    "unused-in": "an in that no cell reads",
    "unwritten-out": "an out that no cell writes",
    "absolute-path": "a path that only one machine has",
    "secret": "a password, token or key that is written in the code",
    "cached-champion": "a champion that is fetched where the step may be left out as unchanged",
    "stored-outputs": "a notebook with stored outputs or execution counts",
    "unknown-ignore": "`# dsml: ignore[...]` with a name that is not in this table",
}

_MARK = "dsml:"
_IGNORE = re.compile(r"#[ \t]*dsml:[ \t]*ignore\b(?:[ \t]*\[([^\]\n]*)\])?")

_Found = tuple[Cell, Problem]
_Ignored = Mapping[int, Collection[str]]


def advice(notebook: Notebook, spec: StepSpec | None) -> Iterator[Problem]:
    """The warnings about a notebook, or about the file of a Python step as one cell.

    ``spec`` is what it declares, where that could be read.
    """
    # Looked through as a whole first: of most notebooks no cell has to be parsed.
    text = "\n".join(cell.source for cell in notebook.code)
    ignored = _ignored(notebook) if _MARK in text else {}
    # Code that is nested too deeply to be read gets no advice.
    with contextlib.suppress(RecursionError):
        for cell, problem in _findings(notebook, text, spec, ignored):
            if problem.name not in ignored.get(cell.number, ()):
                yield problem


def _findings(
    notebook: Notebook, text: str, spec: StepSpec | None, ignored: _Ignored
) -> Iterator[_Found]:
    if ignored:
        yield from _unknown_ignores(notebook)
    if spec is not None and spec.function is None:
        yield from _unused(notebook, text, spec, notebook.tagged(OP_PARAMETERS)[0])
    if may_hold_path(text):
        yield from _absolute_paths(notebook)
    if may_hold_secret(text):
        yield from _secrets(notebook)
    if spec is not None and spec.is_cached and ".champion(" in text:
        yield from _champions(notebook)
    yield from _stored_outputs(notebook, ignored)


def _ignored(notebook: Notebook) -> _Ignored:
    """Cell → the warnings that are not to be given for it."""
    found: dict[int, Collection[str]] = {}
    for cell in notebook.code:
        comments = list(_IGNORE.finditer(cell.source)) if _MARK in cell.source else []
        if any(comment[1] is None for comment in comments):
            found[cell.number] = ADVICE.keys()
        elif comments:
            found[cell.number] = {name for comment in comments for name in _names(comment[1])}
    return found


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _unknown_ignores(notebook: Notebook) -> Iterator[_Found]:
    for cell in notebook.code:
        for comment in _IGNORE.finditer(cell.source):
            for name in _names(comment[1] or ""):
                if name not in ADVICE:
                    line = cell.source.count("\n", 0, comment.start()) + 1
                    what = f"dsml: ignore: there is no warning '{name}'"
                    fix = suggest(name, ADVICE)
                    yield _found(cell, line, what, fix, "unknown-ignore")


def _found(cell: Cell, line: int | None, what: str, fix: str, name: str) -> _Found:
    return cell, Problem(cell.where(line), what, fix, name, "warning")


def _unused(notebook: Notebook, text: str, spec: StepSpec, cell: Cell) -> Iterator[_Found]:
    unread, unwritten = unused(notebook, text, spec)
    for name in unread:
        fix = f'read it with context.load("{name}") or context.ins.{name}, or take it out'
        what = "no cell reads it"
        yield cell, spec.problem(("ins", name), what, fix, "unused-in", "warning")
    for name in unwritten:
        what = "no cell writes it"
        fix = f'write it with context.save("{name}", ...) or to context.outs.{name}, or take it out'
        yield cell, spec.problem(("outs", name), what, fix, "unwritten-out", "warning")


def _absolute_paths(notebook: Notebook) -> Iterator[_Found]:
    fix = "read ins, write outs, or make it a parameter; paths in the project are relative"
    for cell in notebook.code:
        if not may_hold_path(cell.source):
            continue
        try:
            found = absolute_paths(parse(cell.source))
        except SyntaxError:
            continue
        for line, path in found:
            what = f"'{path}' is a path that only one machine has"
            yield _found(cell, line, what, fix, "absolute-path")


def _secrets(notebook: Notebook) -> Iterator[_Found]:
    fix = 'read it when it is needed: os.environ["NAME"]; if it was committed, make a new one'
    for cell in notebook.code:
        if may_hold_secret(cell.source):
            for line, what in secrets(cell.source):
                yield _found(cell, line, f"{what} is written here", fix, "secret")


def _champions(notebook: Notebook) -> Iterator[_Found]:
    """Champions that are fetched: no hash of the step's inputs tells that another one has come."""
    what = "the step is left out where nothing has changed, and a new champion is no change to it"
    for cell in notebook.code:
        with contextlib.suppress(SyntaxError):
            for node in ast.walk(parse(cell.source)):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "champion":
                    fix = 'let it run each time: "cache": False, in op_parameters'
                    yield _found(cell, node.lineno, what, fix, "cached-champion")


def _stored_outputs(notebook: Notebook, ignored: _Ignored) -> Iterator[_Found]:
    """One warning for all cells, at the first of them."""
    name = "stored-outputs"
    cells = [
        cell
        for cell in notebook.code
        if (cell.has_outputs or cell.is_counted) and name not in ignored.get(cell.number, ())
    ]
    if cells:
        several = f"{len(cells)} cells hold" if len(cells) > 1 else "the cell holds"
        what = f"{several} stored outputs or execution counts, which git keeps for ever"
        fix = f"make format, or: nbstripout --keep-id {notebook.path}"
        yield _found(cells[0], None, what, fix, name)
