"""Fan-out: the values for which a step is run once each, and the names of these instances."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsml.contract.declared import Record
from dsml.contract.literals import Json, is_json
from dsml.contract.names import is_artefact_path

Grid = Mapping[str, Sequence[Json]]
_NO_WORD = re.compile(r"\W", re.ASCII)
_LONGEST = 60  # characters of a key, which is the name of a folder


@dataclass(frozen=True)
class Instance:
    """One run of a mapped step: its key, unique in the step, and the parameters that it sets."""

    key: str
    values: Mapping[str, Json]


def read_map(record: Record) -> dict[str, tuple[Json, ...] | str]:
    """What stands under ``map``: parameter → its values, or the catalog path of a JSON list."""
    value = record.value.get("map")
    if value is None:
        return {}
    if not isinstance(value, dict) or not value:
        fix = 'write "map": {"parameter": [1, 2]}, or "stage.notebook.artefact" for the list'
        record.report(("map",), f"{value!r} is no dict of lists", fix, "wrong-type")
        return {}
    found: dict[str, tuple[Json, ...] | str] = {}
    for name, items in value.items():
        if isinstance(items, str) and is_artefact_path(items):
            found[name] = items
        elif isinstance(items, list):
            found[name] = tuple(items)
            for twice in _repeated(items):
                what = f"{twice!r} stands twice in the list"
                fix = "keep one of the two: each instance has its own name"
                record.report(("map", name), what, fix, "duplicate")
        else:
            fix = "write a list, or the catalog path of a JSON list: stage.notebook.artefact"
            record.report(("map", name), f"{items!r} is no list", fix, "no-list")
    return found


def _repeated(items: Sequence[Json]) -> list[Json]:
    """The items that stand in a list more than once, each once for every time too many."""
    seen: set[str] = set()
    found: list[Json] = []
    for item in items:
        text = _text(item)
        if text in seen:
            found.append(item)
        seen.add(text)
    return found


def instances(grid: Grid) -> list[Instance]:
    """The product of a grid's lists, in order; each key is made of the values.

    Keys consist of letters, digits and underscores. Where two combinations would have the same
    one, or one that is empty or too long, they get a part of their hash as well.
    """
    combined = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    plain = ["__".join(_word(value) for value in values.values()) for values in combined]
    count = Counter(key.casefold() for key in plain)  # a disk may fold case
    keys = (
        key if key and count[key.casefold()] == 1 and len(key) <= _LONGEST else _hashed(key, values)
        for key, values in zip(plain, combined, strict=True)
    )
    return [Instance(key, values) for key, values in zip(keys, combined, strict=True)]


def grid_finding(values: object) -> str | None:
    """What is wrong with the values of a mapped parameter that come from a file."""
    if not isinstance(values, list):
        return f"holds a {type(values).__name__}, and no list"
    if not is_json(values):
        return "holds something that JSON cannot"
    twice = _repeated(values)
    return f"holds {twice[0]!r} twice" if twice else None


def _word(value: Json) -> str:
    return _NO_WORD.sub("_", value if isinstance(value, str) else _text(value))


def _hashed(key: str, values: Mapping[str, Json]) -> str:
    return f"{key[:_LONGEST]}_{hashlib.sha256(_text(dict(values)).encode()).hexdigest()[:8]}"


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def lists_of(mapped: Mapping[str, tuple[Json, ...] | str]) -> Iterator[tuple[str, str]]:
    """The parameters of a map whose values an upstream step publishes, with its artefact."""
    return ((name, items) for name, items in mapped.items() if isinstance(items, str))
