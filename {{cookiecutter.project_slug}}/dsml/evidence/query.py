"""Queries on the spans of a run: ``level=attempt and outcome=failed or seconds > 10``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.evidence.conditions import Condition, read_condition
from dsml.step.spans import Span

COMMAND = "dsml trace"
_OPTION = "--query"
_PREFIX, _VALUE = "dsml.", ".value"
_FIELDS: Mapping[str, Callable[[Span], Any]] = {
    "name": lambda span: span.name,
    "level": lambda span: span.level,
    "seconds": lambda span: span.seconds,
    "message": lambda span: span.message,
}
# Between conditions, and not inside of a text in quotes.
_OR, _AND = (re.compile(rf'\s+{word}\s+(?=(?:[^"]*"[^"]*")*[^"]*$)') for word in ("or", "and"))


def value_of(span: Span, key: str) -> Any:
    """What a key means of a span: a field, or an attribute, whose ``dsml.`` may be left out."""
    if key in _FIELDS:
        return _FIELDS[key](span)
    names = (key, f"{_PREFIX}{key}", f"{_PREFIX}{key}{_VALUE}")
    return next((span.attributes[name] for name in names if name in span.attributes), None)


def select(spans: Sequence[Span], query: str) -> list[Span]:
    """The spans for which a query holds; of ``and`` and ``or`` the first binds closer.

    Raises:
        ProjectError: it is none, or asks for what no span has.
    """
    alternatives = [
        [read_condition(text, COMMAND, _OPTION) for text in _AND.split(part)]
        for part in _OR.split(query.strip())
    ]
    for condition in (each for part in alternatives for each in part):
        if all(value_of(span, condition.name) is None for span in spans):
            what, fix = f"no span has '{condition.name}'", suggest(condition.name, _known(spans))
            raise ProjectError(
                [Problem(Where(COMMAND), f"{_OPTION}: {what}", fix, "unknown-value")]
            )
    return [span for span in spans if any(all(holds(span, c) for c in p) for p in alternatives)]


def holds(span: Span, condition: Condition) -> bool:
    """Whether a condition does; what a span doesn't have is unequal to everything."""
    value = value_of(span, condition.name)
    if value is None:
        return condition.sign == "!="
    return any(map(condition.meets, value if isinstance(value, list) else [value]))


def _known(spans: Iterable[Span]) -> set[str]:
    names = {name for span in spans for name in span.attributes}
    return {*_FIELDS, *(name.removeprefix(_PREFIX).removesuffix(_VALUE) for name in names)}
