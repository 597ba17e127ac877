"""Checks on data: what an out has to hold, as a step declares it under ``checks``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from dsml.contract.declared import Record
from dsml.contract.figures import shortened
from dsml.contract.literals import Json, is_json
from dsml.contract.problem import suggest
from dsml.contract.types import ParameterType

TYPES = ("int", "float", "str", "bool", "date", "datetime")
TABLES = (".parquet", ".csv", ".json")
ARRAYS = (".npy",)

_VALUE_KEYS = ("type", "nullable", "unique", "min", "max", "in", "matches")
_COLUMN_KEYS = (*_VALUE_KEYS, "optional")
_TABLE_RULES = ("columns", "unique", "rows", "schema")
_TABLE_KEYS = (*_TABLE_RULES, "strict", "blocking")
_ARRAY_RULES = (*_VALUE_KEYS, "shape", "rows")
_ARRAY_KEYS = (*_ARRAY_RULES, "blocking")
_BOUND_TYPES = {"int": "float", "float": "float", "date": "date", "datetime": "datetime"}
_EXAMPLES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "True or False",
    "date": 'a date in quotes, such as "2024-01-31"',
    "datetime": 'a time in quotes, such as "2024-01-31T06:00"',
}
_NOTHING: tuple[Json, ...] = (None, {}, "")
_LISTED = 60  # characters of a list in the text of a rule


@dataclass(frozen=True)
class Values:
    """What the values of a column or an array have to be.

    A null breaks no rule but ``nullable``. ``type`` is empty where any will do, ``matches`` is a
    regular expression for the whole text. An ``optional`` column need not be there. Of ``min`` and
    ``max``, both included, and ``among`` those of dates are text in ISO 8601.
    """

    type: str = ""
    nullable: bool = True
    unique: bool = False
    min: Json = None
    max: Json = None
    among: tuple[Json, ...] = ()
    matches: str = ""
    optional: bool = False

    @property
    def rules(self) -> dict[str, str]:
        """The key of each rule that is set → the rule as a message names it."""
        texts = {
            "type": f"type {self.type}" if self.type else "",
            "nullable": "" if self.nullable else "not null",
            "unique": "unique" if self.unique else "",
            "min": "" if self.min is None else f"min {self.min}",
            "max": "" if self.max is None else f"max {self.max}",
            "in": f"in {{{shortened(', '.join(map(str, self.among)), _LISTED)}}}"
            if self.among
            else "",
            "matches": f"matches {self.matches}" if self.matches else "",
        }
        return {name: text for name, text in texts.items() if text}


@dataclass(frozen=True)
class Rows:
    """How many rows there may be, both bounds included; None is no bound."""

    min: int | None = None
    max: int | None = None

    @property
    def rules(self) -> dict[str, str]:
        """As those of values."""
        bounds = {"min": self.min, "max": self.max}
        return {name: f"{name} {bound}" for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True)
class Check:
    """What one out has to hold.

    ``columns`` are those of a table; a ``*`` in a name stands for any characters, and ``strict``
    forbids columns that are not among them. ``unique`` names columns whose values together are
    different in each row. ``schema`` is a pandera schema of the project's own, ``module:name``.
    ``values`` and ``shape`` are those of an array, where None in a shape is any length. Where a
    check that is ``blocking`` fails, the step fails and nothing is published.
    """

    columns: Mapping[str, Values] = field(default_factory=dict)
    unique: tuple[str, ...] = ()
    rows: Rows = field(default_factory=Rows)
    strict: bool = False
    schema: str = ""
    values: Values | None = None
    shape: tuple[int | None, ...] | None = None
    blocking: bool = False

    @property
    def description(self) -> str:
        """The rules, one a line."""
        lines = [
            f"column '{name}': {', '.join(values.rules.values()) or 'any value'}"
            for name, values in self.columns.items()
        ]
        if self.values is not None:
            lines.append("values: " + ", ".join(self.values.rules.values()))
        if self.unique:
            lines.append(f"unique together: {', '.join(self.unique)}")
        if self.rows.rules:
            lines.append("rows: " + ", ".join(self.rows.rules.values()))
        if self.shape is not None:
            lines.append(f"shape: {shape_text(self.shape)}")
        lines += ["no other columns"] if self.strict else []
        lines += [f"schema: {self.schema}"] if self.schema else []
        return "\n".join(lines)


def shape_text(shape: tuple[int | None, ...]) -> str:
    """A shape as a message names it: ``? x 64``."""
    return " x ".join("?" if length is None else str(length) for length in shape) or "one value"


def moment(text: str) -> datetime:
    """The time that a text in ISO 8601 stands for; without a time zone it is one in UTC.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_checks(record: Record, outs: Mapping[str, str]) -> dict[str, Check]:
    """What stands under ``checks``: out → what it has to hold. ``outs`` are name → file."""
    fix = 'write "checks": {"out": {"columns": {"column": {"nullable": False}}}}'
    checks = record.record("checks", "dict of checks", fix)
    written = record.value.get("outs")
    known = written if isinstance(written, dict) else {}
    found: dict[str, Check] = {}
    for out in checks.value:
        if out in outs:
            check = _read_check(checks, out, outs[out])
            found.update({out: check} if check else {})
        elif out not in known:  # of those that are, it has been said what is wrong
            fix = suggest(out, known, "" if known else "the step declares no outs")
            checks.report((out,), f"there is no out '{out}'", fix, "unknown-out")
    return found


def _read_check(checks: Record, out: str, file: str) -> Check | None:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix not in (*TABLES, *ARRAYS):
        known = ", ".join((*TABLES, *ARRAYS))
        fix = f"there are checks for {known}; write what is to be checked as one"
        checks.report((out,), f"'{file}' cannot be checked", fix, "no-check")
        return None
    keys = _ARRAY_KEYS if suffix in ARRAYS else _TABLE_KEYS
    rules = _ARRAY_RULES if suffix in ARRAYS else _TABLE_RULES
    given = checks.value[out]
    if not isinstance(given, dict):
        fix = f"write a dict with some of {', '.join(keys)}"
        checks.report((out,), f"{given!r} is no dict of rules", fix, "wrong-type")
        return None
    record = checks.record(out)
    record.known(keys)
    if set(given) <= set(keys) and all(given.get(rule) in _NOTHING for rule in rules):
        fix = f"write some of {', '.join(rules)}, or leave it out"
        record.report((), "nothing is checked", fix, "no-rule")
    return _read_array(record) if suffix in ARRAYS else _read_table(record)


def _read_table(record: Record) -> Check:
    columns = record.record("columns")
    strict = record.flag("strict", default=False)
    if strict and not columns.value:
        fix = 'name those that there may be: "columns": {"column": {}}'
        record.report(("strict",), "no columns are declared", fix, "no-rule")
    return Check(
        columns={name: _read_column(columns.record(name)) for name in columns.value},
        unique=record.texts("unique"),
        rows=_read_rows(record),
        strict=strict,
        schema=_read_schema(record),
        blocking=record.flag("blocking", default=False),
    )


def _read_array(record: Record) -> Check:
    return Check(
        values=_read_values(record),
        rows=_read_rows(record),
        shape=_read_shape(record),
        blocking=record.flag("blocking", default=False),
    )


def _read_column(record: Record) -> Values:
    record.known(_COLUMN_KEYS)
    return _read_values(record)


def _read_values(record: Record) -> Values:
    kind = _read_type(record)
    least, most = (_read_bound(record, name, kind) for name in ("min", "max"))
    _check_order(record, least, most)
    return Values(
        type=kind,
        nullable=record.flag("nullable", default=True),
        unique=record.flag("unique", default=False),
        min=least,
        max=most,
        among=_read_among(record, kind),
        matches=_read_matches(record, kind),
        optional=record.flag("optional", default=False),
    )


def _read_type(record: Record) -> str:
    """The type that is declared, else the one that the other rules are for."""
    kind = record.text("type")
    if kind and kind not in TYPES:
        fix = suggest(kind, TYPES)
        record.report(("type",), f"there is no type '{kind}'", fix, "unknown-type")
    if kind in TYPES:
        return kind
    if "matches" in record.value:
        return "str"
    bounds = [record.value[name] for name in ("min", "max") if name in record.value]
    if any(isinstance(bound, str) for bound in bounds):
        return "datetime"
    return "float" if bounds else ""


def _read_bound(record: Record, name: str, kind: str) -> Json:
    bound: Json = record.value.get(name)
    if bound is None:
        return None
    if kind not in _BOUND_TYPES:
        fix = f"{name} is for columns of type {', '.join(_BOUND_TYPES)}"
        record.report((name,), f"values of type {kind} have no {name}", fix, "wrong-rule")
        return None
    wanted = _BOUND_TYPES[kind]
    if is_json(bound) and ParameterType(wanted).accepts(bound):
        return bound
    what = f"{bound!r} is no bound for values of type {kind}"
    record.report((name,), what, f"write {_EXAMPLES[wanted]}", "wrong-type")
    return None


def _check_order(record: Record, least: Json, most: Json) -> None:
    if least is not None and most is not None and _order(least) > _order(most):
        what = f"{least} is more than max, which is {most}"
        record.report(("min",), what, "exchange the two", "min-max")


def _order(bound: Json) -> Any:
    return moment(bound) if isinstance(bound, str) else bound


def _read_among(record: Record, kind: str) -> tuple[Json, ...]:
    items = record.value.get("in")
    if items is None:
        return ()
    if not isinstance(items, list) or not items:
        fix = 'write the values that there may be: "in": ["a", "b"]'
        record.report(("in",), f"{items!r} is no list of values", fix, "wrong-type")
        return ()
    good: list[Json] = []
    for i, item in enumerate(items):
        keys = ("in", str(i))
        if item is None:
            fix = "leave it out: whether there may be nulls is said by nullable"
            record.report(keys, "null is no value", fix, "wrong-type")
        elif isinstance(item, list | dict) or not is_json(item):
            fix = "write numbers, texts, True or False"
            record.report(keys, f"{item!r} is no single value", fix, "wrong-type")
        elif kind and not ParameterType(kind).accepts(item):
            record.report(keys, f"{item!r} is no {kind}", f"write {_EXAMPLES[kind]}", "wrong-type")
        else:
            good.append(item)
    return tuple(good)


def _read_matches(record: Record, kind: str) -> str:
    pattern = record.text("matches")
    if pattern and kind != "str":
        fix = 'matches is for columns of type "str"'
        record.report(("matches",), f"values of type {kind} have no pattern", fix, "wrong-rule")
        return ""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        what = f"{pattern!r} is no regular expression: {error}"
        record.report(("matches",), what, "write one as Python's re reads it", "no-regex")
        return ""
    return pattern


def _read_rows(record: Record) -> Rows:
    rows = record.record("rows", "dict of bounds", 'write "rows": {"min": 1, "max": 1000}')
    rows.known(("min", "max"))
    least, most = (rows.whole(name, None, what="number of rows") for name in ("min", "max"))
    _check_order(rows, least, most)
    return Rows(least, most)


def _read_shape(record: Record) -> tuple[int | None, ...] | None:
    value = record.value.get("shape")
    if value is None:
        return None
    if isinstance(value, list) and all(
        length is None or (type(length) is int and length >= 0) for length in value
    ):
        return tuple(value)
    fix = "write the length of each dimension, None for any: [None, 64]"
    record.report(("shape",), f"{value!r} is no shape", fix, "wrong-type")
    return None


def _read_schema(record: Record) -> str:
    schema = record.text("schema")
    module, _, name = schema.partition(":")
    if not schema or all(part.isidentifier() for part in (*module.split("."), name)):
        return schema
    fix = 'write "module:name", such as "my_package.schemas:Table"'
    record.report(("schema",), f"'{schema}' names no schema", fix, "no-schema")
    return ""
