"""The literals that tagged cells declare, read from the source with ``ast`` and never run."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from dsml.contract.declared import Keys, line_in
from dsml.contract.figures import shortened
from dsml.contract.source import assigned, comments_of, read_python

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_LONGEST = 60  # characters of code in a message
_DEEPEST = 50  # levels of lists in lists: a value that goes deeper holds itself


@dataclass(frozen=True)
class Literal:
    """A literal value, and the line on which each of its keys and items stands.

    ``whole`` is False where entries that could not be read are left out of it. ``apart`` holds the
    source of entries that were not to be read as literals.
    """

    value: Json
    line: int
    lines: Mapping[Keys, int] = field(default_factory=dict)
    whole: bool = True
    apart: Mapping[str, ast.expr] = field(default_factory=dict)

    def line_of(self, *keys: str) -> int:
        """The line of the innermost of ``keys`` that exists."""
        return line_in(self.lines, keys, self.line)


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

    def __init__(self, node: ast.AST, keys: Keys, what: str, fix: str = "") -> None:
        self.line: int = getattr(node, "lineno", 1)
        self.keys = keys
        self.what = what
        self.fix = fix
        self.others: list[NotLiteral] = []
        self.partial = Literal(None, self.line, whole=False)
        super().__init__(what)


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
        self.lines: dict[Keys, int] = {}
        self.wrong: list[NotLiteral] = []
        self._names_apart = apart
        self._apart: dict[str, ast.expr] = {}

    def result(self, value: Json, node: ast.expr) -> Literal:
        return Literal(value, node.lineno, self.lines, apart=self._apart)

    def of(self, node: ast.expr, keys: Keys) -> Json:
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

    def _list(self, node: ast.List | ast.Tuple, keys: Keys) -> list[Json]:
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

    def _dict(self, node: ast.Dict, keys: Keys) -> dict[str, Json]:
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


def _dict_key(key: ast.expr | None, value: ast.expr, keys: Keys, above: Collection[str]) -> str:
    if key is None:
        raise NotLiteral(value, keys, f"`**{_shown(value)[1:-1]}` is no literal")
    if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
        raise NotLiteral(key, keys, f"the key {_shown(key)} is no string literal")
    if key.value in above:
        what = f"the key '{key.value}' stands twice"
        raise NotLiteral(key, keys, what, "keep one of the two")
    return key.value


def _shown(node: ast.AST) -> str:
    return f"`{shortened(ast.unparse(node), _LONGEST)}`"


def assignments(source: str, apart: Collection[str] = ()) -> Iterator[Assignment | NotLiteral]:
    """The assignments of a cell to plain names, in order; other statements are passed over.

    An assignment whose value is no literal comes as the ``NotLiteral`` that says so. Entries of a
    dict that ``apart`` names are not read.

    Raises:
        SyntaxError: the source is no Python.
    """
    tree, python = read_python(source)
    comments = comments_of(python)
    for node in tree.body:
        target, value = assigned(node)
        if value is None:
            continue
        try:
            literal = read_literal(value, apart)
        except NotLiteral as error:
            for part in (error, *error.others):
                part.keys = (target, *part.keys)
            yield error
            continue
        annotation = getattr(node, "annotation", None)
        yield Assignment(target, annotation, literal, _comment_for(node, comments))


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
