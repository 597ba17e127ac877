"""Text notebooks: Python scripts whose cells are marked with ``# %%``.

The format is jupytext's percent format (https://jupytext.readthedocs.io/en/latest/formats-scripts.html).
It is read here and not with jupytext, because hooks read notebooks where there is no jupytext, and
because the cells and lines that a run tells of are then those that the check has told of.

What jupytext takes for a command without a sign of its own (``# ls``, ``# copy the files``) stays
a comment: it cannot be told from prose. Notebooks read ``%`` and ``!`` lines only.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

SUFFIX = ".py"

_MARKER = re.compile(r"\s*#\s*%%(?:%*\s(?P<options>.*)|%*)$")
_TAGGED = re.compile(r"^[ \t]*#[ \t]*%%.*tags", re.MULTILINE)
_LONGEST = 2_000  # characters of a marker that are looked at
_KIND = re.compile(r"\[(markdown|md|raw)\]")
_KEY = re.compile(r"(?:^|\s)([A-Za-z_][\w.-]*)=")
_FIRST_LINES = re.compile(r"#!|#.*coding[:=]")
_MAGIC = re.compile(r"\s*(?:# |#)*%{1,3}[a-zA-Z]")
_SHELL = re.compile(r"\s*(?:(?:# |#)+\s*)?!\s*[A-Za-z.~$\\/{}]")
_ASSIGNED = re.compile(r"(?:# |#)*\s*[a-zA-Z_]\w*\s*=\s*(?:%{1,3}|!)[a-zA-Z]")
_LANGUAGE = re.compile(
    r"%%(?P<name>bash|sh|script|html|javascript|js|latex|perl|R|ruby|sql|svg)\b(?P<args>.*)"
)
_PREFIX = re.compile(r"(\s*)# ?")
_QUOTES = ('"""', "'''")
_HEADER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""


@dataclass(frozen=True)
class ScriptCell:
    """One cell; ``above`` is the number of lines of the file that stand above its source."""

    kind: str
    source: str
    tags: tuple[str, ...] = ()
    above: int = 0


def is_notebook(text: str) -> bool:
    """Whether a script is a text notebook: one of its cell markers carries a tag."""
    return bool(_TAGGED.search(text)) and any(cell.tags for cell in _cells(text))


def read_script(text: str) -> list[ScriptCell]:
    """The cells of a script. What stands above the first marker is a cell if there is anything."""
    return list(_cells(text))


def _cells(text: str) -> Iterator[ScriptCell]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    start = _end_of_header(lines)
    starts = [number for number in _outside_strings(lines, start) if _MARKER.match(lines[number])]
    first = _cell({}, "code", lines, start, min(starts, default=len(lines)))
    if first.source.strip():
        yield first
    for begin, end in pairwise([*starts, len(lines)]):
        match = _MARKER.match(lines[begin])
        options = ((match["options"] if match else None) or "")[:_LONGEST]
        kind = _KIND.search(options)
        name = "code" if kind is None else {"md": "markdown"}.get(kind[1], kind[1])
        yield _cell(_metadata(_KIND.sub("", options)), name, lines, begin + 1, end)


def _end_of_header(lines: list[str]) -> int:
    """The number of the first line behind interpreter, encoding and jupytext's YAML block."""
    start = 0
    while start < min(2, len(lines)) and _FIRST_LINES.match(lines[start]):
        start += 1
    if lines[start : start + 1] != ["# ---"]:
        return start
    for number in range(start + 1, len(lines)):
        if lines[number] == "# ---":
            return number + 1
        if not lines[number].startswith("#"):
            break
    return start


def _outside_strings(lines: list[str], start: int) -> Iterator[int]:
    """The numbers of the lines that don't begin inside a string of several lines."""
    quote = ""
    for number in range(start, len(lines)):
        if not quote:
            yield number
        quote = _open_quote(lines[number], quote)


def _open_quote(line: str, quote: str) -> str:
    """The triple quotes that are open at the end of a line, given those open at its beginning."""
    if not any(each in line for each in ([quote] if quote else _QUOTES)):
        return quote
    position = 0
    while position < len(line):
        char, three = line[position], line[position : position + 3]
        if char == "\\":
            position += 2
        elif quote:
            position += 3 if three == quote else 1
            quote = "" if three == quote else quote
        elif char == "#":
            return ""
        elif three in _QUOTES:
            quote, position = three, position + 3
        elif char in "\"'":
            position = _end_of_text(line, position)
        else:
            position += 1
    return quote


def _end_of_text(line: str, start: int) -> int:
    """The position behind a string that ends on its line."""
    position = start + 1
    while position < len(line) and line[position] != line[start]:
        position += 2 if line[position] == "\\" else 1
    return position + 1


def _metadata(options: str) -> dict[str, Any]:
    """What a marker says behind the title: JSON, or ``key=value`` with values in JSON."""
    brace, key = options.find("{"), _KEY.search(options)
    if brace >= 0 and (key is None or brace < key.start()):
        found = _value(options[brace:])
        return found if isinstance(found, dict) else {}
    keys = list(_KEY.finditer(options))
    metadata: dict[str, Any] = {}
    begin = 0
    while begin < len(keys):  # a value reaches up to a later key, since it may hold a `=` itself
        for end in range(begin + 1, len(keys) + 1):
            stop = keys[end].start() if end < len(keys) else len(options)
            value = _value(options[keys[begin].end() : stop])
            if value is not None:
                metadata[keys[begin][1]] = value
                break
        else:
            end = begin + 1
        begin = end
    return metadata


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _cell(
    metadata: dict[str, Any], kind: str, lines: list[str], begin: int, end: int
) -> ScriptCell:
    while end > begin and not lines[end - 1].strip():
        end -= 1
    listed = metadata.get("tags")
    tags = tuple(map(str, listed)) if isinstance(listed, list | tuple) else ()
    body = lines[begin:end]
    if kind != "code":
        return ScriptCell(kind, "\n".join(_unquoted(body)), tags, begin)
    active = next((tag.split("-")[1:] for tag in tags if tag.startswith("active-")), None)
    if active is not None and "ipynb" not in active:
        return ScriptCell("raw", "\n".join(body), tags, begin)
    if active is not None and "py" not in active:
        return ScriptCell("code", "\n".join(map(_uncommented, body)), tags, begin)
    if isinstance(metadata.get("language"), str):
        first = f"%%{metadata['language']} {metadata.get('magic_args', '')}".rstrip()
        return ScriptCell("code", "\n".join([first, *map(_uncommented, body)]), tags, begin - 1)
    return ScriptCell("code", "\n".join(_magics(body, _uncommented)), tags, begin)


def _unquoted(body: list[str]) -> list[str]:
    """The text of a cell that is no code: in comments, or in triple quotes."""
    text = "\n".join(body).strip()
    for quote in _QUOTES:
        if text.startswith((quote, f"r{quote}")) and text.endswith(quote) and len(text) > 5:  # noqa: PLR2004 - both quotes
            return text.removeprefix("r")[3:-3].strip("\n").split("\n")
    return [_uncommented(line) for line in body]


def _uncommented(line: str) -> str:
    return _PREFIX.sub(r"\1", line, count=1) if line.lstrip().startswith("#") else line


def _commented(line: str) -> str:
    bare = line.lstrip()
    return f"{line[: len(line) - len(bare)]}# {bare}"


def is_magic(line: str) -> bool:
    """Whether a line is a magic or a shell command, commented out or not."""
    return any(pattern.match(line) for pattern in (_MAGIC, _SHELL, _ASSIGNED))


def _magics(lines: list[str], change: Callable[[str], str]) -> Iterator[str]:
    """The lines, those of magics changed; a magic goes on behind a backslash."""
    outside = set(_outside_strings(lines, 0))
    continued = False
    for number, line in enumerate(lines):
        magic = number in outside and (continued or is_magic(line))
        yield change(line) if magic else line
        continued = magic and line.rstrip().endswith("\\")


def write_script(cells: Iterable[ScriptCell]) -> str:
    """The text of a script that reads as these cells."""
    return _HEADER + "".join(f"\n{_written(cell)}\n" for cell in cells)


def _written(cell: ScriptCell) -> str:
    lines = cell.source.split("\n")
    tags = f" tags={json.dumps(list(cell.tags), ensure_ascii=False)}" if cell.tags else ""
    if cell.kind != "code":
        return "\n".join([f"# %% [{cell.kind}]{tags}", *(f"# {line}".rstrip() for line in lines)])
    language = _LANGUAGE.match(lines[0])
    if language:
        args = language["args"].strip()
        told = f' language="{language["name"]}"' + (
            f" magic_args={json.dumps(args)}" if args else ""
        )
        return "\n".join([f"# %%{told}{tags}", *map(_commented, lines[1:])])
    return "\n".join([f"# %%{tags}", *_magics(lines, _commented)]).rstrip("\n")
