"""Conditions on the values of a run, such as ``accuracy > 0.9`` or ``train.fit.n_trees = 400``."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.evidence.comparison import Row
from dsml.store.manifest import Json

_FORM = re.compile(r"\s*(\S.*?)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """``name`` is that of a parameter, a fact or a metric, in full or without its step."""

    name: str
    sign: str
    value: Json

    def holds(self, row: Row) -> bool:
        """Whether any value of that name is as it should be."""
        found = (value for column, value in row.values.items() if self.name in column.names)
        return any(self.meets(value) for value in found)

    def meets(self, value: Json) -> bool:
        """Whether a value is as it should be; that of the condition may hold ``*`` and ``?``."""
        equal = _plain(value) == _plain(self.value)
        if isinstance(value, str) and not equal:
            equal = fnmatchcase(value, str(self.value))
        if self.sign in ("=", "!="):
            return equal == (self.sign == "=")
        numbers = isinstance(value, int | float) and isinstance(self.value, int | float)
        return numbers and _COMPARE[self.sign](value, self.value)


def _plain(value: Json) -> Json:
    """A value as it is compared: a number as such, anything else as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else str(value)


def read_condition(text: str, command: str, option: str = "--where") -> Condition:
    """Read a condition that was given to ``command``.

    Raises:
        ProjectError: it is none.
    """
    found = _FORM.fullmatch(text)
    if found is None or (found[2] in _COMPARE and not _is_number(found[3])):
        what = f"{option} {text}: is no condition"
        fix = "write NAME = VALUE, or !=; with a number <, <=, > and >= as well; in quotes"
        raise ProjectError([Problem(Where(command), what, fix, "no-condition")])
    return Condition(found[1], found[2], _value(found[3]))


def _value(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        value = {"True": True, "False": False, "None": None}.get(text, text)
    return value


def _is_number(text: str) -> bool:
    return isinstance(_value(text), int | float)


def meeting(rows: Iterable[Row], conditions: Iterable[Condition], command: str) -> Iterator[Row]:
    """The rows that meet all conditions.

    Raises:
        ProjectError: not one row has a value of that name.
    """
    wanted, known, any_met = list(conditions), set[str](), False
    for row in rows:
        if all(condition.holds(row) for condition in wanted):
            any_met = True
            yield row
        elif not any_met:
            known |= {name for column in row.values for name in column.names}
    if any_met:
        return
    problems = [
        Problem(
            Where(command),
            f"--where: none of the runs has a parameter, fact or metric '{condition.name}'",
            suggest(condition.name, known),
            "unknown-value",
        )
        for condition in wanted
        if condition.name not in known
    ]
    if problems:
        raise ProjectError(problems)
