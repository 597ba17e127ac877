"""Notebook cells, and the literals that tagged cells declare, read from the source with ``ast``.

Nothing here runs a notebook's code: a magic, an undefined name or ``1 / 0`` breaks nothing.
The file format is nbformat (https://nbformat.readthedocs.io), versions 3 and 4, or that of
``dsml.contract.percent``.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import stat
import tokenize
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from dsml.contract import percent
from dsml.contract.problem import Problem, ProjectError, Where

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
KeyPath = tuple[str, ...]

OP_PARAMETERS = "op_parameters"
PARAMETERS = "parameters"

_COUNTS = ("execution_count", "prompt_number")  # nbformat 4 and 3
_DEEPEST = 50  # levels of lists in lists: a value that goes deeper holds itself

_MAGIC_LINE = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?{1,2}\s*)$")
_MAGIC_VALUE = re.compile(r"^(\s*[\w, ]+=\s*)[%!].*$")


@dataclass(frozen=True)
class Cell:
    """One cell: ``number`` counts all cells of the notebook from 1.

    ``above`` is the number of lines that stand above the source in the file of a text notebook.
    """

    number: int
    kind: str
    source: str
    tags: frozenset[str] = frozenset()
    has_outputs: bool = False
    is_counted: bool = False  # it holds the number that its last execution had
    above: int | None = None

    def where(self, path: str, line: int | None = None) -> Where:
        """The place of a line of this cell, named by its contract tag where it has one."""
        tag = next((tag for tag in (OP_PARAMETERS, PARAMETERS) if tag in self.tags), None)
        line = line if self.above is None else self.above + (line or 1)
        return Where(path, self.number, tag, line)


@dataclass(frozen=True)
class Notebook:
    """The cells of one notebook; ``path`` is relative to the project, with forward slashes."""

    path: str
    cells: tuple[Cell, ...]

    @property
    def code(self) -> Iterator[Cell]:
        """The code cells, in order."""
        return (cell for cell in self.cells if cell.kind == "code")

    def tagged(self, tag: str) -> list[Cell]:
        """The code cells that carry ``tag``."""
        return [cell for cell in self.code if tag in cell.tags]


@dataclass(frozen=True)
class Literal:
    """A literal value, and the line on which each of its keys and items stands.

    ``whole`` is False where entries that could not be read are left out of it. ``apart`` holds the
    source of entries that were not to be read as literals.
    """

    value: Json
    line: int
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    whole: bool = True
    apart: Mapping[str, ast.expr] = field(default_factory=dict)

    def line_of(self, *keys: str) -> int:
        """The line of the innermost of ``keys`` that exists."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return self.lines[keys[:end]]
        return self.line


@dataclass(frozen=True)
class Assignment:
    """``name: annotation = value  # comment`` of a ``parameters`` cell."""

    name: str
    annotation: ast.expr | None
    literal: Literal
    comment: str


class NotLiteral(Exception):
    """An expression that cannot be read without being run.

    ``others`` are further ones in the same value, ``partial`` is what of the value can be read,
    ``fix`` how to mend it where that is not to write the value out.
    """

    def __init__(self, node: ast.AST, keys: KeyPath, what: str, fix: str = "") -> None:
        self.line: int = getattr(node, "lineno", 1)
        self.keys = keys
        self.what = what
        self.fix = fix
        self.others: list[NotLiteral] = []
        self.partial = Literal(None, self.line, whole=False)
        super().__init__(what)


def read_notebook(file: Path, path: str) -> Notebook:
    """Read the cells of ``file``; ``path`` is how messages name it.

    Raises:
        ProjectError: the file is unreadable, no JSON, or no notebook.
    """
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):  # to read a pipe is to wait for ever
            raise _broken(path, "cannot be read: it is no file")
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == percent.SUFFIX:
            return Notebook(path, tuple(_script_cells(text)))
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(path, f"is no JSON: {error.msg}", error.lineno) from None
    except UnicodeDecodeError:
        raise _broken(path, "is no UTF-8 text") from None
    except ValueError:  # Python refuses to read a number of thousands of digits
        raise _broken(path, "holds a number that is too long") from None
    except RecursionError:
        raise _broken(path, "is nested too deeply to be a notebook") from None
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror or error}") from None
    return Notebook(path, tuple(_cells(document, path)))


def _broken(path: str, what: str, line: int | None = None) -> ProjectError:
    fix = "restore the file from git, or save it again from Jupyter"
    return ProjectError(
        [Problem(Where(path, line=line), f"the notebook {what}", fix, "no-notebook")]
    )


def _cells(document: object, path: str) -> Iterator[Cell]:
    raw = _raw_cells(document)
    if raw is None:
        raise _broken(path, "has no list of cells")
    for number, cell in enumerate(raw, start=1):
        if not isinstance(cell, dict):
            raise _broken(path, f"has a cell that is no object (cell {number})")
        source = cell.get("source", cell.get("input", ""))
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        yield Cell(
            number=number,
            kind=str(cell.get("cell_type", "code")),
            source="".join(map(str, source)) if isinstance(source, list) else str(source),
            tags=frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
            has_outputs=bool(cell.get("outputs")),
            is_counted=any(cell.get(key) is not None for key in _COUNTS),
        )


def _script_cells(text: str) -> Iterator[Cell]:
    for number, cell in enumerate(percent.read_script(text), start=1):
        yield Cell(number, cell.kind, cell.source, frozenset(cell.tags), above=cell.above)


def _raw_cells(document: object) -> list[object] | None:
    if not isinstance(document, dict):
        return None
    worksheets = document.get("worksheets")  # nbformat 3
    if isinstance(worksheets, list) and worksheets and isinstance(worksheets[0], dict):
        document = worksheets[0]
    cells = document.get("cells")
    return cells if isinstance(cells, list) else None


def parse(source: str, *, magics: bool = True) -> ast.Module:
    """Parse the source of a cell, IPython's magics taken out and line numbers kept.

    Without ``magics`` they are mistakes, as in any Python file.

    Raises:
        SyntaxError: what is left is no Python.
    """
    try:
        return _quiet_parse(source)
    except SyntaxError:
        if not magics:
            raise
        return _quiet_parse(without_magics(source))


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


def read_literal(node: ast.expr, apart: Collection[str] = ()) -> Literal:
    """Evaluate an expression made of JSON literals; entries named in ``apart`` are set apart.

    Raises:
        NotLiteral: naming the first part that is none, and its line.
    """
    evaluation = _Evaluation(apart)
    value: Json = None
    try:
        value = evaluation.of(node, ())
    except NotLiteral as error:
        evaluation.wrong.append(error)
    if evaluation.wrong:
        first, *first.others = evaluation.wrong
        first.partial = replace(evaluation.result(value, node), whole=False)
        raise first
    return evaluation.result(value, node)


class _Evaluation:
    """Goes on behind what is no literal, so that all of it can be told at once."""

    def __init__(self, apart: Collection[str]) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.wrong: list[NotLiteral] = []
        self._names_apart = apart
        self._apart: dict[str, ast.expr] = {}

    def result(self, value: Json, node: ast.expr) -> Literal:
        return Literal(value, node.lineno, self.lines, apart=self._apart)

    def of(self, node: ast.expr, keys: KeyPath) -> Json:
        self.lines[keys] = node.lineno
        if isinstance(node, ast.Constant) and _is_scalar(node.value):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self.of(node.operand, keys)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.List | ast.Tuple):
            return self._list(node, keys)
        if isinstance(node, ast.Dict):
            return self._dict(node, keys)
        raise NotLiteral(node, keys, f"{_shown(node)} is no literal")

    def _list(self, node: ast.List | ast.Tuple, keys: KeyPath) -> list[Json]:
        """The items; a list of which one is no literal is none either."""
        items: list[Json] = []
        wrong: list[NotLiteral] = []
        for i, item in enumerate(node.elts):
            try:
                items.append(self.of(item, (*keys, str(i))))
            except NotLiteral as error:
                wrong.append(error)
        if wrong:
            self.wrong += wrong[:-1]
            raise wrong[-1]
        return items

    def _dict(self, node: ast.Dict, keys: KeyPath) -> dict[str, Json]:
        """The entries; those that are no literals are left out."""
        result: dict[str, Json] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            try:
                name = _dict_key(key, value, keys, result if keys else [*result, *self._apart])
                if not keys and name in self._names_apart:
                    self._apart[name] = value
                    continue
                result[name] = self.of(value, (*keys, name))
                self.lines[(*keys, name)] = (key or value).lineno
            except NotLiteral as error:
                self.wrong.append(error)
        return result


def _is_scalar(value: object) -> TypeGuard[bool | int | float | str | None]:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def is_json(value: object, depth: int = 0) -> bool:
    """Whether JSON can hold ``value``; YAML also has dates, infinities, lists in themselves."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        keys_are_text = all(isinstance(key, str) for key in value)
        return keys_are_text and all(is_json(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return all(is_json(item, depth + 1) for item in value)
    return _is_scalar(value)


def _dict_key(key: ast.expr | None, value: ast.expr, keys: KeyPath, above: Collection[str]) -> str:
    if key is None:
        raise NotLiteral(value, keys, f"`**{_shown(value)[1:-1]}` is no literal")
    if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
        raise NotLiteral(key, keys, f"the key {_shown(key)} is no string literal")
    if key.value in above:
        what = f"the key '{key.value}' stands twice"
        raise NotLiteral(key, keys, what, "keep one of the two")
    return key.value


def _shown(node: ast.AST, limit: int = 60) -> str:
    text = ast.unparse(node)
    return f"`{text[:limit]}…`" if len(text) > limit else f"`{text}`"


def assignments(source: str, apart: Collection[str] = ()) -> Iterator[Assignment | NotLiteral]:
    """The assignments of a cell to plain names, in order; other statements are passed over.

    An assignment whose value is no literal comes as the ``NotLiteral`` that says so. Entries of a
    dict that ``apart`` names are not read.

    Raises:
        SyntaxError: the source is no Python.
    """
    tree = parse(source)
    comments = comments_of(source)
    for node in tree.body:
        target, annotation, value = _target(node)
        if target is None or value is None:
            continue
        try:
            literal = read_literal(value, apart)
        except NotLiteral as error:
            for part in (error, *error.others):
                part.keys = (target, *part.keys)
            yield error
            continue
        yield Assignment(target, annotation, literal, _comment_for(node, comments))


def _target(node: ast.stmt) -> tuple[str | None, ast.expr | None, ast.expr | None]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.annotation, node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            return target.id, None, node.value
    return None, None, None


def comments_of(source: str) -> dict[int, tuple[str, bool]]:
    """Line → the comment on it, and whether the comment has the line to itself."""
    if "#" not in source:
        return {}
    found: dict[int, tuple[str, bool]] = {}
    lines = source
    try:
        _quiet_parse(source)
    except SyntaxError:
        lines = without_magics(source)
    try:
        for token in tokenize.generate_tokens(io.StringIO(lines).readline):
            if token.type == tokenize.COMMENT:
                alone = token.line[: token.start[1]].strip() == ""
                found[token.start[0]] = (token.string.lstrip("#").strip(), alone)
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # the comments read so far are still right
    return found


def _comment_for(node: ast.stmt, comments: Mapping[int, tuple[str, bool]]) -> str:
    for line in range(node.end_lineno or node.lineno, node.lineno - 1, -1):
        if line in comments and not comments[line][1]:
            return comments[line][0]
    above: list[str] = []
    line = node.lineno - 1
    while line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    return " ".join(above)
