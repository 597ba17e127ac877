"""The typed, described, defaulted parameters of a step.

The convention is papermill's (https://papermill.readthedocs.io): a cell tagged ``parameters``
with assignments such as ``n_estimators: int = 100  # trees in the forest``.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from dsml.contract.cells import (
    PARAMETERS,
    Assignment,
    Cell,
    Json,
    Notebook,
    NotLiteral,
    assignments,
    parse,
    read_literal,
)
from dsml.contract.problem import Problem, Where, suggest

_SCALARS: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "list": list,
    "dict": dict,
}
_ALIASES = {
    "List": "list",
    "Dict": "dict",
    "Sequence": "list",
    "Mapping": "dict",
    "tuple": "list",
    "Tuple": "list",
}


@dataclass(frozen=True)
class ParameterType:
    """What values a parameter takes.

    ``kind`` is int, float, str, bool, list, dict, literal or any. ``items`` is the type of a
    list's items or of a dict's values, ``choices`` the values of a ``Literal``.
    """

    kind: str
    optional: bool = False
    items: ParameterType | None = None
    choices: tuple[Json, ...] = ()

    def accepts(self, value: Json) -> bool:
        """Whether ``value`` is of this type. A bool is no number, an int is a float."""
        if value is None:
            return self.optional or self.kind == "any"
        if self.kind == "any":
            return True
        if self.kind == "literal":
            return any(type(value) is type(c) and value == c for c in self.choices)
        if isinstance(value, bool) and self.kind != "bool":
            return False
        if not isinstance(value, _SCALARS[self.kind]):
            return False
        if self.items is None:
            return True
        inner = value.values() if isinstance(value, dict) else value
        return all(self.items.accepts(item) for item in inner)  # type: ignore[union-attr]

    def __str__(self) -> str:
        text = self.kind
        if self.kind == "literal":
            text = "one of " + ", ".join(repr(choice) for choice in self.choices)
        elif self.items is not None:
            inner = f"str, {self.items}" if self.kind == "dict" else str(self.items)
            text = f"{self.kind}[{inner}]"
        return f"{text} or None" if self.optional else text


ANY = ParameterType("any")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its type, its default, what it means, and the line that declares it."""

    name: str
    type: ParameterType
    default: Json
    description: str
    line: int

    def parse(self, text: str) -> Json:
        """Read a value given on a command line. Text is taken as it is where text is wanted.

        Raises:
            ValueError: saying what is wanted instead.
        """
        try:
            value = _literal(text)
        except ValueError:
            value = text
        wants_text = self.type.kind == "str" and value is not None
        if self.type.accepts(text) and (wants_text or not self.type.accepts(value)):
            value = text
        if not self.type.accepts(value):
            raise ValueError(f"{text!r} is no {self.type}")
        return value


def _literal(text: str) -> Json:
    words: dict[str, Json] = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        body = parse(text.strip()).body
        if len(body) == 1 and isinstance(body[0], ast.Expr):
            return read_literal(body[0].value).value
    except (SyntaxError, NotLiteral, RecursionError) as error:
        raise ValueError(str(error)) from None
    raise ValueError(f"{text!r} is no literal")


def read_parameters(notebook: Notebook, problems: list[Problem]) -> dict[str, Parameter]:
    """The parameters of a notebook; what is wrong with them is appended to ``problems``."""
    found: dict[str, Parameter] = {}
    cells = notebook.tagged(PARAMETERS)
    for extra in cells[1:]:
        what = f"a second cell is tagged 'parameters'; the first is cell {cells[0].number}"
        problems.append(
            Problem(extra.where(notebook.path), what, "merge the two cells", "two-parameters")
        )
    for cell in cells[:1]:
        _read_cell(notebook.path, cell, found, problems)
    return found


def _read_cell(path: str, cell: Cell, found: dict[str, Parameter], problems: list[Problem]) -> None:
    try:
        declared = list(assignments(cell.source))
    except SyntaxError as error:
        problems.append(syntax_problem(path, cell, error))
        return
    for item in declared:
        if isinstance(item, NotLiteral):
            fix = "give a literal default, and compute from it in a later cell"
            for part in (item, *item.others):
                what = f"{part.keys[0]}: {part.what}"
                problems.append(Problem(cell.where(path, part.line), what, fix, "no-literal"))
            continue
        if item.name in found:
            where = cell.where(path, item.literal.line)
            what = f"{item.name}: the parameter is assigned twice"
            problems.append(Problem(where, what, "keep one of the two", "duplicate"))
        parameter = _parameter(item, cell.where(path, item.literal.line), problems)
        if parameter is not None:
            found[item.name] = parameter


def _parameter(item: Assignment, where: Where, problems: list[Problem]) -> Parameter | None:
    value = item.literal.value
    try:
        kind = infer_type(value) if item.annotation is None else read_type(item.annotation)
    except ValueError as error:
        fix = "use int, float, str, bool, list, dict, Optional[...] or Literal[...]"
        problems.append(Problem(where, f"{item.name}: {error}", fix, "unknown-type"))
        return None
    if not kind.accepts(value):
        what = f"{item.name}: the default {value!r} is no {kind}"
        fix = f"change the default, or the type to {infer_type(value)}"
        problems.append(Problem(where, what, fix, "default-type"))
    return Parameter(item.name, kind, value, item.comment, item.literal.line)


def syntax_problem(path: str, cell: Cell, error: SyntaxError) -> Problem:
    """A tagged cell that is no Python."""
    return Problem(
        cell.where(path, error.lineno),
        f"the cell is no Python: {error.msg}",
        "mend the line, so that the cell can be read without being run",
        "no-python",
    )


def infer_type(value: Json) -> ParameterType:
    """The type of a parameter that has no annotation: that of its default."""
    if value is None:
        return ANY
    for kind in ("bool", "int", "float", "str", "list", "dict"):
        if ParameterType(kind).accepts(value):
            return ParameterType(kind)
    return ANY


def read_type(node: ast.expr) -> ParameterType:
    """Read an annotation: builtins, ``X | None``, ``Optional``, ``Literal``, ``list[X]``.

    Raises:
        ValueError: naming a type that has no place in a parameters cell.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return read_type(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            raise ValueError(f"the type {node.value!r} is not known here") from None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _optional(_union([node.left, node.right]))
    if isinstance(node, ast.Subscript):
        return _subscript(node)
    name = _last_name(node)
    name = _ALIASES.get(name, name)
    if name in _SCALARS:
        return ParameterType(name)
    if name in ("Any", "object"):
        return ANY
    raise ValueError(f"the type `{ast.unparse(node)}` is not known here; {suggest(name, _SCALARS)}")


def _subscript(node: ast.Subscript) -> ParameterType:
    name = _last_name(node.value)
    name = _ALIASES.get(name, name)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Optional":
        return _optional([node.slice])
    if name == "Union":
        return _optional(_union(inner))
    if name == "Literal":
        choices = _choices(node, inner)
        some = tuple(choice for choice in choices if choice is not None)
        return ParameterType("literal", optional=None in choices, choices=some)
    if name == "list":
        alike = len(inner) == 1 or ast.unparse(inner[1]) == "..."
        return ParameterType("list", items=read_type(inner[0]) if alike else None)
    if name == "dict" and len(inner) > 1:
        return ParameterType("dict", items=read_type(inner[1]))
    raise ValueError(f"the type `{ast.unparse(node)}` is not known here")


def _choices(node: ast.Subscript, inner: Sequence[ast.expr]) -> list[Json]:
    try:
        return [read_literal(choice).value for choice in inner]
    except NotLiteral:
        raise ValueError(f"`{ast.unparse(node)}` lists something that is no literal") from None


def _union(members: Sequence[ast.expr]) -> list[ast.expr]:
    flat: list[ast.expr] = []
    for member in members:
        if isinstance(member, ast.BinOp) and isinstance(member.op, ast.BitOr):
            flat += _union([member.left, member.right])
        else:
            flat.append(member)
    return flat


def _optional(members: Sequence[ast.expr]) -> ParameterType:
    some = [m for m in members if not (isinstance(m, ast.Constant) and m.value is None)]
    optional = len(some) < len(members) or len(members) == 1
    if len(some) != 1:
        return ParameterType("any")
    kind = read_type(some[0])
    return ParameterType(kind.kind, optional, kind.items, kind.choices)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr if _last_name(node.value) in ("typing", "t", "collections", "abc") else ""
    return node.id if isinstance(node, ast.Name) else ""
