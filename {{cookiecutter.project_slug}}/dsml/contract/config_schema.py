"""Parameters that are declared in ``config_schema``, the way Dagster's own ops declare them.

Read from the source and never run: ``Field(int, default_value=100, description="...")``, a type
with nothing else, a dict with ``type``, ``default`` and ``description``, a nested dict, or just a
default. The words are those of https://docs.dagster.io/guides/operate/configuration.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dsml.contract.cells import Cell
from dsml.contract.literals import Json, NotLiteral, read_literal
from dsml.contract.parameters import Parameter, default_refusal
from dsml.contract.problem import Problem, suggest
from dsml.contract.secret import NAME as SECRET
from dsml.contract.source import last_name
from dsml.contract.types import ParameterType, infer_type, read_type

_DAGSTER_NAMES = {"Int": "int", "Float": "float", "String": "str", "Bool": "bool"}
_FIELD_KEYWORDS = ("config", "default_value", "is_required", "description")
_DICT_KEYS = {"type", "default", "description"}
_NO_DEFAULT = object()
_FIX = 'write Field(int, default_value=100, description="..."), or a dict of such fields'


@dataclass(frozen=True)
class _Declared:
    """One field as it is declared; ``default`` may be missing."""

    type: ParameterType
    default: object = _NO_DEFAULT
    description: str = ""


class _Refused(Exception):
    """A field that cannot be read."""

    def __init__(self, node: ast.AST, what: str, name: str, fix: str = _FIX) -> None:
        self.line: int = getattr(node, "lineno", 1)
        self.what, self.name, self.fix = what, name, fix
        super().__init__(what)


def read_config_schema(node: ast.expr, cell: Cell, problems: list[Problem]) -> dict[str, Parameter]:
    """The parameters of a ``config_schema``; what is wrong is appended to ``problems``."""
    found: dict[str, Parameter] = {}
    try:
        entries = list(_entries(node))
    except _Refused as error:
        problems.append(_problem(cell, "config_schema", error))
        return found
    for name, value in entries:
        try:
            declared = _declared(value)
            default = _default(value, declared)
        except _Refused as error:
            problems.append(_problem(cell, f"config_schema.{name}", error))
            continue
        found[name] = Parameter(
            name, declared.type, default, declared.description, value.lineno, in_schema=True
        )
    return found


def _problem(cell: Cell, subject: str, error: _Refused) -> Problem:
    return Problem(cell.where(error.line), f"{subject}: {error.what}", error.fix, error.name)


def _entries(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Dict):
        raise _Refused(node, f"`{ast.unparse(node)}` is no dict of fields", "wrong-type")
    seen: set[str] = set()
    for key, value in zip(node.keys, node.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise _Refused(value, "a key is no string literal", "no-literal")
        if not (key.value.isidentifier() and key.value.isascii()):
            what = f"the name {key.value!r} is no identifier"
            raise _Refused(key, what, "no-identifier", "name it as a variable is named")
        if key.value in seen:
            what = f"the key '{key.value}' stands twice"
            raise _Refused(key, what, "no-literal", "keep one of the two")
        seen.add(key.value)
        yield key.value, value


def _default(node: ast.expr, declared: _Declared) -> Json:
    if declared.default is _NO_DEFAULT:
        if declared.type.optional:
            return None
        fix = "give default_value=..., so that the notebook also runs by itself"
        raise _Refused(node, "the field has no default", "no-default", fix)
    default: Json = declared.default  # type: ignore[assignment]  # a literal, as it was read
    if not declared.type.accepts(default):
        what, fix = default_refusal(declared.type, default)
        raise _Refused(node, what, "default-type", fix)
    return default


def _declared(node: ast.expr) -> _Declared:
    if isinstance(node, ast.Call) and last_name(node.func) == "Field":
        return _field(node)
    if isinstance(node, ast.Call) and last_name(node.func) == "Shape" and node.args:
        return _declared(node.args[0])
    if isinstance(node, ast.Dict):
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        return _described(node) if keys and keys <= _DICT_KEYS else _shape(node)
    if isinstance(node, ast.Constant):
        default = _literal(node)
        return _Declared(infer_type(default), default)
    return _Declared(_type(node))


def _field(node: ast.Call) -> _Declared:
    given = dict(zip(_FIELD_KEYWORDS, node.args, strict=False))
    for keyword in node.keywords:
        if keyword.arg not in _FIELD_KEYWORDS:
            what = f"Field has no argument '{keyword.arg}'"
            raise _Refused(node, what, "unknown-key", suggest(str(keyword.arg), _FIELD_KEYWORDS))
        given[keyword.arg] = keyword.value
    inner = _declared(given["config"]) if "config" in given else _Declared(ParameterType("any"))
    if inner.default == SECRET:  # the type in quotes
        inner = _Declared(ParameterType(SECRET))
    if "default_value" in given:
        inner = replace(inner, default=_literal(given["default_value"]))
    return replace(inner, description=_text(given.get("description")))


def _described(node: ast.Dict) -> _Declared:
    given = dict(_entries(node))
    default = _literal(given["default"]) if "default" in given else _NO_DEFAULT
    if "type" in given:
        kind = _type(given["type"])
    elif default is _NO_DEFAULT:
        return _shape(node)
    else:
        kind = infer_type(default)  # type: ignore[arg-type]  # a literal, as it was read
    return _Declared(kind, default, _text(given.get("description")))


def _shape(node: ast.Dict) -> _Declared:
    fields: dict[str, ParameterType] = {}
    defaults: dict[str, Json] = {}
    for name, value in _entries(node):
        declared = _declared(value)
        fields[name], defaults[name] = _part(value, declared.type), _default(value, declared)
    return _Declared(ParameterType("shape", fields=fields), defaults)


def _type(node: ast.expr) -> ParameterType:
    """A type in Python's or in Dagster's words."""
    if isinstance(node, ast.List) and len(node.elts) == 1:
        return ParameterType("list", items=_part(node, _type(node.elts[0])))
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        if name == "Noneable" and node.args:
            return replace(_type(node.args[0]), optional=True)
        if name == "Array" and node.args:
            return ParameterType("list", items=_part(node, _type(node.args[0])))
        if name == "Permissive" and not node.args:
            return ParameterType("dict")
    name = last_name(node)
    if name in _DAGSTER_NAMES:
        return ParameterType(_DAGSTER_NAMES[name])
    try:
        return read_type(node)
    except ValueError as error:
        raise _Refused(node, str(error), "unknown-type") from None


def _part(node: ast.expr, kind: ParameterType) -> ParameterType:
    """The type of what is inside of another."""
    if kind.is_secret:
        what = "a Secret is a parameter of its own, and no part of another"
        raise _Refused(node, what, "wrong-type")
    return kind


def _literal(node: ast.expr) -> Json:
    try:
        return read_literal(node).value
    except NotLiteral as error:
        raise _Refused(node, error.what, "no-literal", "write the value out") from None


def _text(node: ast.expr | None) -> str:
    if node is None:
        return ""
    value = _literal(node)
    if isinstance(value, str):
        return value
    raise _Refused(node, f"the description {value!r} is no text", "wrong-type", "write it as text")
