"""JSON with line numbers: on which line of a notebook's file a line of a cell stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n,:]*")  # between two values; what is no JSON has been refused before


def line_in_file(text: str, cell: int, line: int | None) -> int | None:
    """The line of a notebook's ``text`` where a line of a cell stands, both counted from 1.

    Without ``line`` it is that where the cell begins. None where the text is no such notebook.
    """
    try:
        document = _start(text, 0)
        cells = dict(_members(text, document)).get("cells")
        if cells is None:  # nbformat 3
            sheet = next(_items(text, dict(_members(text, document))["worksheets"]))
            cells = dict(_members(text, sheet))["cells"]
        found = list(_items(text, cells))[cell - 1]
        if line is not None:
            members = dict(_members(text, found))
            found = _of_line(text, members.get("source", members.get("input", found)), line)
    except (ValueError, KeyError, IndexError, StopIteration, RecursionError):
        return None
    return text.count("\n", 0, found) + 1


def _of_line(text: str, source: int, line: int) -> int:
    """Where a line of a source begins, which is one text or a list of texts."""
    if text[source] != "[":
        return source
    before = 1
    at = source
    for at in _items(text, source):
        before += str(_value(text, at)[0]).count("\n")
        if before > line:
            break
    return at


def _value(text: str, at: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, at)


def _start(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _items(text: str, at: int) -> Iterator[int]:
    """Where the items of an array begin."""
    at = _start(text, at + 1)
    while text[at] != "]":
        yield at
        at = _start(text, _value(text, at)[1])


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """The keys of an object, and where their values begin."""
    at = _start(text, at + 1)
    while text[at] != "}":
        key, at = _value(text, at)
        at = _start(text, at)
        yield key, at
        at = _start(text, _value(text, at)[1])
