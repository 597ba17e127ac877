"""The types that a parameter can have, read from annotations without being run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial

from dsml.contract.literals import Json, NotLiteral, read_literal
from dsml.contract.problem import suggest
from dsml.contract.secret import FIX as SECRET_FIX
from dsml.contract.secret import NAME as SECRET
from dsml.contract.secret import is_variable
from dsml.contract.source import parse

_SCALARS: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "list": list,
    "dict": dict,
}
_ALIASES = {
    **dict.fromkeys(("List", "Sequence", "tuple", "Tuple"), "list"),
    **dict.fromkeys(("Dict", "Mapping"), "dict"),
}

# Modules that a type may be written with.
_MODULES = ("typing", "t", "collections", "abc", "datetime", "dt")
_DATES = ("date", "datetime")


@dataclass(frozen=True)
class ParameterType:
    """What values a parameter takes.

    ``kind`` is int, float, str, bool, list, dict, date, datetime, Secret, literal, shape or any.
    ``items`` is the type of a list's items or of a dict's values, ``choices`` holds the values of a
    ``Literal``, ``fields`` the types of the keys of a shape, which may be given in part.
    """

    kind: str
    optional: bool = False
    items: ParameterType | None = None
    choices: tuple[Json, ...] = ()
    fields: Mapping[str, ParameterType] = field(default_factory=dict)

    @property
    def is_secret(self) -> bool:
        """Whether values name variables of the environment, in which secrets are."""
        return self.kind == SECRET or (self.items is not None and self.items.is_secret)

    def refusal(self, value: Json) -> tuple[str, str]:
        """Why it does not take a value, and how to mend it; what may be a secret is not shown."""
        if self.is_secret:
            return "the value is no name of a variable of the environment", SECRET_FIX
        return f"{value!r} is no {self}", f"give a value of type {self}"

    def accepts(self, value: Json) -> bool:
        """Whether ``value`` is of this type. A bool is no number, an int is a float."""
        if value is None:
            return self.optional or self.kind == "any"
        if self.kind == "any":
            return True
        if self.kind == "literal":
            return any(type(value) is type(c) and value == c for c in self.choices)
        if self.kind in _TEXTS:
            return isinstance(value, str) and _TEXTS[self.kind](value)
        if self.kind == "shape":
            return isinstance(value, dict) and all(
                key in self.fields and self.fields[key].accepts(item) for key, item in value.items()
            )
        if isinstance(value, bool) and self.kind != "bool":
            return False
        return isinstance(value, _SCALARS[self.kind]) and self._accepts_items(value)

    def _accepts_items(self, value: Json) -> bool:
        if self.items is None:
            return True
        inner = value.values() if isinstance(value, dict) else value
        return all(self.items.accepts(item) for item in inner)  # type: ignore[union-attr]

    def overlay(self, below: Json, above: Json) -> Json:
        """Put ``above`` over ``below``: keys of a shape that are not given keep their value."""
        if self.kind != "shape" or not isinstance(below, dict) or not isinstance(above, dict):
            return above
        laid = {
            key: self.fields[key].overlay(below.get(key), item) if key in self.fields else item
            for key, item in above.items()
        }
        return {**below, **laid}

    def parse(self, text: str) -> Json:
        """Read a value given on a command line. Text is taken as it is where text is wanted.

        Raises:
            ValueError: saying what is wanted instead.
        """
        try:
            value = _literal(text)
        except ValueError:
            value = text
        wants_text = self.kind == "str" and value is not None
        if self.accepts(text) and (wants_text or not self.accepts(value)):
            value = text
        if not self.accepts(value):
            raise ValueError(self.refusal(text)[0])
        return value

    def __str__(self) -> str:
        text = self.kind
        if self.kind == "literal":
            text = "one of " + ", ".join(repr(choice) for choice in self.choices)
        elif self.kind in _DATES:
            text = f"ISO {self.kind}"
        elif self.kind == "shape":
            inner = ", ".join(f"{key}: {kind}" for key, kind in self.fields.items())
            text = f"{{{inner}}}"
        elif self.items is not None:
            inner = f"str, {self.items}" if self.kind == "dict" else str(self.items)
            text = f"{self.kind}[{inner}]"
        return f"{text} or None" if self.optional else text


ANY = ParameterType("any")


def _is_read(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


# Texts of a form of their own. Dates are in ISO 8601: JSON has none, and a run's configuration
# is JSON.
_TEXTS: dict[str, Callable[[str], bool]] = {
    "date": partial(_is_read, date.fromisoformat),
    "datetime": partial(_is_read, datetime.fromisoformat),
    SECRET: is_variable,
}


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
    name = _type_name(node)
    name = _ALIASES.get(name, name)
    if name in _SCALARS or name in _TEXTS:
        return ParameterType(name)
    if name in ("Any", "object"):
        return ANY
    raise ValueError(f"the type `{ast.unparse(node)}` is not known here; {suggest(name, _SCALARS)}")


def _subscript(node: ast.Subscript) -> ParameterType:
    name = _type_name(node.value)
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
        return ParameterType("list", items=_inside(inner[0]) if alike else None)
    if name == "dict" and len(inner) > 1:
        return ParameterType("dict", items=_inside(inner[1]))
    raise ValueError(f"the type `{ast.unparse(node)}` is not known here")


def _inside(node: ast.expr) -> ParameterType:
    """The type of what a list or a dict holds."""
    kind = read_type(node)
    if kind.is_secret:
        raise ValueError("a Secret is a parameter of its own, and no part of another")
    return kind


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
    return replace(kind, optional=optional)


def _type_name(node: ast.expr) -> str:
    """The name of a type, empty where it is written with a module that is none of the known."""
    if isinstance(node, ast.Attribute):
        return node.attr if _type_name(node.value) in _MODULES else ""
    return node.id if isinstance(node, ast.Name) else ""
