"""Python source as cells hold it: parsed and searched with ``ast``, and never run.

A magic, an undefined name or ``1 / 0`` breaks nothing.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from pathlib import Path

_MAGIC_LINE = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?{1,2}\s*)$")
_MAGIC_VALUE = re.compile(r"^(\s*[\w, ]+=\s*)[%!].*$")


def text_of(file: Path) -> str:
    """What stands in a file; nothing where it can't be read. To read a pipe is to wait for ever."""
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""
    except OSError:
        return ""


def parse(source: str, *, magics: bool = True) -> ast.Module:
    """Parse the source of a cell, IPython's magics taken out and line numbers kept.

    Without ``magics`` they are mistakes, as in any Python file.

    Raises:
        SyntaxError: what is left is no Python.
    """
    return read_python(source)[0] if magics else _quiet_parse(source)


def read_python(source: str) -> tuple[ast.Module, str]:
    """Parse the source of a cell; return the Python that was parsed too, without the magics.

    Raises:
        SyntaxError: what is left is no Python.
    """
    try:
        return _quiet_parse(source), source
    except SyntaxError:
        python = without_magics(source)
        return _quiet_parse(python), python


def is_python(source: str) -> bool:
    """Whether a source is Python as it stands, without a magic in it."""
    try:
        _quiet_parse(source)
    except SyntaxError:
        return False
    return True


def _quiet_parse(source: str) -> ast.Module:
    """Parse without the warnings of Python's own, which would name no file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None


def without_magics(source: str) -> str:
    """Replace magics and shell lines by ``pass``, keeping every line number."""
    lines = []
    continued = False  # a line that ends with a backslash goes on in the next one
    for line in source.split("\n"):
        python = _MAGIC_VALUE.sub(r"\1None", _MAGIC_LINE.sub(r"\1pass", line))
        lines.append("" if continued else python)
        continued = (continued or python != line) and line.rstrip("\r").endswith("\\")
    return "\n".join(lines)


def comments_of(python: str) -> dict[int, tuple[str, bool]]:
    """Line → the comment on it, and whether the comment has the line to itself."""
    if "#" not in python:
        return {}
    found: dict[int, tuple[str, bool]] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(python).readline):
            if token.type == tokenize.COMMENT:
                alone = token.line[: token.start[1]].strip() == ""
                found[token.start[0]] = (token.string.lstrip("#").strip(), alone)
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # the comments read so far are still right
    return found


def last_name(node: ast.AST) -> str:
    """The name that a plain or dotted name ends with, empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """The name and the value of an assignment to one plain name, empty for anything else."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    else:
        return "", None
    return (target.id, node.value) if isinstance(target, ast.Name) else ("", None)
