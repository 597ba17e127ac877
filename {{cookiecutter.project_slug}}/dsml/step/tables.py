"""Tables as they are to be checked: read from a file, each column in the type that is declared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsml.contract.checks import Check, Values
from dsml.step.formats import load

if TYPE_CHECKING:
    import pandas as pd

    Frame = pd.DataFrame
    Series = pd.Series[Any]

SCALARS = "value"  # the column of a JSON list that holds no objects
_FLAGS = {"true": True, "false": False}
_TOO_LARGE = 2.0**63  # for an integer of 64 bits


def read_table(path: Path, check: Check) -> Frame:
    """The table in a file, its index and all.

    Raises:
        Exception: whatever comes of a file that holds none.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix == ".json":
        return _json_rows(json.loads(path.read_text(encoding="utf-8")))
    if suffix == ".csv":
        columns = columns_of(check, list(pd.read_csv(path, nrows=0).columns))
        return _csv(path, {name: values.type for name, values in columns.items()})
    frame: Frame = load(path)
    return frame


def _csv(path: Path, types: Mapping[str, str]) -> Frame:
    """A file that says nothing of types, read by those that are declared.

    What is declared as text is text, though it may look like a number; and one word among numbers
    does not make texts of them.
    """
    import pandas as pd

    texts = [name for name, kind in types.items() if kind == "str"]
    frame = pd.read_csv(path, dtype=dict.fromkeys(texts, object), low_memory=False)
    for name, kind in types.items():
        if name in frame.columns and pd.api.types.is_string_dtype(frame[name]):
            read = frame[name]
            if kind in ("int", "float"):
                read = pd.to_numeric(frame[name], errors="coerce")
            elif kind == "bool":
                read = frame[name].map(lambda text: _FLAGS.get(str(text).lower()))
            frame[name] = read.astype(object).where(read.notna(), frame[name])
    return frame


def _json_rows(content: object) -> Frame:
    """A list of objects has a row each, an object is one row, other values are one column.

    The values stay what JSON says they are: pandas would make numbers with a gap floats.
    """
    import pandas as pd

    rows = content if isinstance(content, list) else [content]
    if not all(isinstance(row, dict) for row in rows):
        rows = [{SCALARS: row} for row in rows]
    return pd.DataFrame(rows, dtype=object)


def columns_of(check: Check, names: list[str]) -> dict[str, Values]:
    """The columns that are declared, patterns replaced by the columns that they stand for."""
    found = {name: values for name, values in check.columns.items() if "*" not in name}
    for pattern, values in check.columns.items():
        if "*" in pattern:
            like = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
            fitting = [name for name in names if like.fullmatch(name)]
            for name in fitting or [pattern]:
                found.setdefault(name, values)
    for name in check.unique:
        found.setdefault(name, Values())
    return found


# --- types


def typed(series: Series, kind: str) -> tuple[Series, Series]:
    """A column in the type that is declared, and which of its values are of another one.

    Whole numbers are of type int in whatever they are stored, and every int is a float.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    convert = {
        "int": _whole,
        "float": _numbers,
        "bool": _flags,
        "str": _texts,
        "date": _dates,
        "datetime": _moments,
    }
    converted = convert[kind](series) if kind else series
    wrong = converted.isna() & series.notna()
    return (series if wrong.any() else converted), wrong


def _numbers(series: Series) -> Series:
    import pandas as pd

    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_complex_dtype(series):
        return _none_of(series)
    if pd.api.types.is_numeric_dtype(series):
        return series
    return pd.to_numeric(_only(series, (Real, Decimal), but=bool), errors="coerce")


def _whole(series: Series) -> Series:
    import pandas as pd

    numbers = _numbers(series)
    if pd.api.types.is_integer_dtype(numbers):
        return numbers
    whole = numbers.where((numbers % 1 == 0).fillna(value=False).astype(bool))
    fits = whole.isna() | (whole.abs() < _TOO_LARGE)
    return whole.astype("Int64") if fits.all() else whole


def _texts(series: Series) -> Series:
    import pandas as pd

    return series if isinstance(series.dtype, pd.StringDtype) else _only(series, (str,))


def _flags(series: Series) -> Series:
    import numpy as np

    return _only(series, (bool, np.bool_))


def _dates(series: Series) -> Series:
    import pandas as pd

    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_localize(None)  # midnight is that of its own time zone
    moments = _moments(series)
    return moments.where(moments == moments.dt.normalize())


def _moments(series: Series) -> Series:
    """Times in UTC; those without a time zone are in UTC already."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series):
        return pd.to_datetime(series, utc=True)
    return pd.to_datetime(_only(series, (str, date)), utc=True, errors="coerce", format="ISO8601")


def _only(series: Series, kinds: tuple[type, ...], but: type | None = None) -> Series:
    """The values that are of some kinds, null in the place of the others."""
    fits = series.map(
        lambda value: isinstance(value, kinds) and not (but and isinstance(value, but))
    )
    return series.astype(object).where(fits.astype(bool))


def _none_of(series: Series) -> Series:
    return series.astype(object).where(series.isna())
