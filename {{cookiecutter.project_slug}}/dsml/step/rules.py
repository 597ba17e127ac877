"""What of a check a file breaks.

The rules are left to pandera, whose findings, those of a project's own schemas too, are told in one
form: which column, which rule, how many rows, and the first of them.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsml.contract.checks import ARRAYS, Check, Rows, Values, moment, shape_text
from dsml.contract.figures import shortened
from dsml.step.checks import Broken
from dsml.step.formats import load
from dsml.step.tables import SCALARS, columns_of, read_table, typed

if TYPE_CHECKING:
    import numpy as np

    from dsml.step.tables import Frame, Series

_FIRST = 5  # rows that are named
_LONGEST = 40  # characters of a value
_NAMES = {
    "not_nullable": "not null",
    "field_uniqueness": "unique",
    "multiple_fields_uniqueness": "unique together",
    "column_in_dataframe": "is there",
    "column_in_schema": "no other columns",
}
_NOTES = {
    "column_in_dataframe": "there is no such column",
    "column_in_schema": "it is not declared",
}
_DTYPE = re.compile(r"(?:coerce_)?dtype\('(.*)'\)")


@dataclass(frozen=True)
class Looked:
    """What was found in a file: the rules that it breaks, and its size."""

    broken: list[Broken]
    rows: int | None
    columns: int | None = None


def look_at(check: Check, path: Path, root: Path) -> Looked:
    """Hold a file against its check.

    Raises:
        Exception: whatever comes of a file that cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries; what is wrong with the data is told
        return (_array if path.suffix.lower() in ARRAYS else _table)(check, path, root)


def _table(check: Check, path: Path, root: Path) -> Looked:
    raw = read_table(path, check)
    frame = raw.reset_index(drop=not any(raw.index.names))
    columns = columns_of(check, list(frame.columns))
    broken = [*_row_count(check.rows, len(frame)), *_rules(frame, columns, check)]
    if check.schema:
        broken += _own_schema(check.schema, raw.infer_objects(), root)
    return Looked(broken, len(frame), len(frame.columns))


def _row_count(rows: Rows, count: int) -> Iterator[Broken]:
    if rows.min is not None and count < rows.min:
        yield Broken("the rows", rows.rules["min"], f"there are {count:,}")
    if rows.max is not None and count > rows.max:
        yield Broken("the rows", rows.rules["max"], f"there are {count:,}")


def _rules(frame: Frame, columns: Mapping[str, Values], check: Check) -> list[Broken]:
    """The rules that are declared. Of a column with values of another type no others are tried."""
    import pandera.pandas as pa

    broken: list[Broken] = []
    converted = frame.copy(deep=False)
    declared: dict[str, Any] = {}
    for name, values in columns.items():
        checks: list[Any] = []
        if name in frame.columns:
            converted[name], wrong = typed(frame[name], values.type)
            broken += _wrong_type(name, values, frame[name], wrong)
            checks = [] if wrong.any() else list(_pandera_checks(values))
        declared[name] = pa.Column(
            None, checks=checks, nullable=values.nullable, required=not values.optional
        )
    together = list(check.unique) if set(check.unique) <= set(frame.columns) else None
    schema = pa.DataFrameSchema(declared, unique=together, strict=check.strict)
    return broken + _validate(schema, converted)


def _wrong_type(name: str, values: Values, series: Series, wrong: Series) -> Iterator[Broken]:
    if wrong.any():
        first = tuple((str(row), _shown(value)) for row, value in series[wrong][:_FIRST].items())
        yield Broken(_column(name), values.rules["type"], count=int(wrong.sum()), first=first)


def _pandera_checks(values: Values) -> Iterator[Any]:
    import pandas as pd
    import pandera.pandas as pa

    def bound(value: Any) -> Any:
        is_date = values.type in ("date", "datetime")
        return pd.Timestamp(moment(value)) if is_date and isinstance(value, str) else value

    pattern = re.compile(values.matches)
    made = {
        "unique": lambda text: pa.Check(lambda s: ~s.duplicated(keep=False), error=text),
        "min": lambda text: pa.Check.ge(bound(values.min), error=text),
        "max": lambda text: pa.Check.le(bound(values.max), error=text),
        "in": lambda text: pa.Check.isin([bound(item) for item in values.among], error=text),
        "matches": lambda text: pa.Check(
            lambda s: s.map(lambda value: bool(pattern.fullmatch(value))), error=text
        ),
    }
    yield from (made[rule](text) for rule, text in values.rules.items() if rule in made)


# --- pandera


def _validate(schema: Any, frame: Frame) -> list[Broken]:
    """Hold a frame against a pandera schema; settings of the environment do not switch it off."""
    import pandera.pandas as pa
    from pandera.config import ValidationDepth, config_context

    depth = ValidationDepth.SCHEMA_AND_DATA
    with config_context(validation_enabled=True, validation_depth=depth):
        try:
            schema.validate(frame, lazy=True)
        except pa.errors.SchemaErrors as found:
            return [_broken(error) for error in found.schema_errors]
    return []


def _broken(error: Any) -> Broken:
    import pandas as pd

    what, rule, cases = _subject(error), _rule(error), error.failure_cases
    if not isinstance(cases, pd.DataFrame) or not cases.get("index", pd.Series()).notna().any():
        return Broken(what, rule, note=_note(error))
    rows = cases["index"].drop_duplicates()
    first = cases[cases["index"].isin(rows[:_FIRST])].groupby("index", sort=False)["failure_case"]
    shown = tuple((_shown(row), ", ".join(map(_shown, values))) for row, values in first)
    return Broken(what, rule, count=len(rows), first=shown)


def _subject(error: Any) -> str:
    import pandas as pd
    import pandera.pandas as pa

    if isinstance(error.schema, pa.Column):
        return _column(error.schema.name)
    if isinstance(error.schema, pa.Index):
        return "the index"
    if isinstance(error.failure_cases, str) and str(error.check) in _NOTES:
        return _column(error.failure_cases)
    if isinstance(error.failure_cases, pd.DataFrame) and "column" in error.failure_cases:
        names = error.failure_cases["column"].drop_duplicates()
        return "columns " + ", ".join(f"'{name}'" for name in names)
    return "the table"


def _rule(error: Any) -> str:
    check = error.check
    if not isinstance(check, str):
        return str(check.error or check.name)
    dtype = _DTYPE.fullmatch(check)
    return f"type {dtype[1]}" if dtype else _NAMES.get(check, check)


def _note(error: Any) -> str:
    known = _NOTES.get(str(error.check))
    if known:
        return known
    if _DTYPE.fullmatch(str(error.check)):
        return f"it is {error.failure_cases}"
    return said(error)


def _own_schema(name: str, frame: Frame, root: Path) -> list[Broken]:
    """What a schema of the project's own finds; the findings name the frame's own index."""
    with _importable(root):
        try:
            return _validate(_imported(name), frame)
        except (Exception, SystemExit) as error:  # it is the project's code that has run
            return [Broken(f"the schema '{name}'", "can be used", said(error))]


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    schema = getattr(importlib.import_module(module), attribute)
    if not hasattr(schema, "validate"):
        raise TypeError(f"it is no pandera schema, but {schema!r}")
    return schema


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


# --- arrays


def _array(check: Check, path: Path, _root: Path) -> Looked:
    import pandas as pd

    array = load(path)
    if array.dtype.names:
        raise TypeError(f"an array with fields ({', '.join(array.dtype.names)}) is not checked")
    rows = len(array) if array.ndim else None
    broken = [] if rows is None else list(_row_count(check.rows, rows))
    if check.shape is not None and not _fits(array.shape, check.shape):
        broken.append(
            Broken("the shape", shape_text(check.shape), f"it is {shape_text(array.shape)}")
        )
    values = check.values or Values()
    found = _rules(pd.DataFrame({SCALARS: array.reshape(-1)}), {SCALARS: values}, Check())
    return Looked([*broken, *(_placed(problem, array) for problem in found)], rows)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        length in (None, have) for have, length in zip(shape, wanted, strict=True)
    )


def _placed(problem: Broken, array: np.ndarray[Any, Any]) -> Broken:
    """A finding about the values in a row, told of the array that they are from."""
    import numpy as np

    def place(position: str) -> str:
        index = [int(i) for i in np.unravel_index(int(position), array.shape)]
        return str(index[0]) if len(index) == 1 else str(tuple(index))

    first = tuple((place(position), value) for position, value in problem.first)
    return replace(problem, what="the values", unit="value", first=first)


# --- texts


def _column(name: object) -> str:
    return f"column '{name}'"


def _shown(value: Any) -> str:
    import numpy as np
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "null"
    item = value.item() if isinstance(value, np.generic) else value
    is_plain = isinstance(item, bool | int | float | str | bytes | None)
    return shortened(repr(item) if is_plain else str(item), _LONGEST)


def said(error: BaseException) -> str:
    """The first line of what an exception says."""
    return shortened(f"{type(error).__name__}: {error}".partition("\n")[0], 4 * _LONGEST)
