"""Edit the ``register`` block of a catalog and leave every other character as it is.

YAML libraries that keep comments still change quotes, indents or line ends of what they did not
touch. Here the text is cut at the marks of the parser's events, so the rest cannot change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from dsml.contract.yaml_lines import LOADER

KEY = "register"
# What may stand between an entry in braces and the comma behind it.
_COMMA = re.compile(r"(?:\s|#[^\n]*\n)*,")


@dataclass(frozen=True)
class _Node:
    """A node and the characters it covers; an alias is a node of its own, not its target."""

    start: int
    end: int
    text: str = ""
    anchor: str | None = None
    flow: bool = True
    mapping: bool = False
    pairs: list[tuple[_Node, _Node]] = field(default_factory=list)


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def rewrite(text: str, changed: Mapping[str, str], removed: Collection[str] = ()) -> str:
    """Put each entry of ``changed`` (name → value as flow YAML) into the register of ``text``."""
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix(bom)
    newline = "\r\n" if "\r\n" in body else "\n"
    top, end = _parse(body)
    found = [(key, value) for key, value in top.pairs if key.text == KEY]
    if found:
        edits = _edits(body, newline, found[0], changed, removed, in_flow=top.flow)
    elif top.flow:
        edits = _flow_edits(body, top, {KEY: f"{{{_flow(changed)}}}"}, ())
    else:
        edits = [_append_block(body, newline, top, end, changed)]
    # from the end, and what was found first stays first where two edits meet
    for edit in sorted(edits, key=lambda edit: edit.start)[::-1]:
        body = body[: edit.start] + edit.text + body[edit.end :]
    return bom + body


def _parse(text: str) -> tuple[_Node, int]:
    """The document's node, and where the document ends: at its ``...``, else with the text."""
    events: Iterator[Any] = (
        event
        for event in yaml.parse(text, Loader=LOADER)
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent)
    )
    node = _node(next(events), events)
    over: Any = next(events)
    return node, _index(over.start_mark) if over.explicit else len(text)


def _node(event: Any, events: Iterator[Any]) -> _Node:
    start = _index(event.start_mark)
    anchor = getattr(event, "anchor", None)
    if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
        children: list[_Node] = []
        inner: Any = next(events)
        while not isinstance(inner, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            children.append(_node(inner, events))
            inner = next(events)
        # a block ends where the next token starts, that is after comments that are not its own
        last = children[-1].end if children else _index(event.end_mark)
        end = _index(inner.end_mark) if event.flow_style else last
        pairs = list(zip(children[::2], children[1::2], strict=False))
        mapping = isinstance(event, yaml.MappingStartEvent)
        return _Node(
            start, end, "", anchor, bool(event.flow_style), mapping, pairs if mapping else []
        )
    if isinstance(event, yaml.AliasEvent):
        return _Node(start, _index(event.end_mark))
    return _Node(start, _index(event.end_mark), event.value, anchor)


def _index(mark: Any) -> int:
    """The position of a mark in characters; PyYAML's types have it that a mark may be missing."""
    index: int = mark.index
    return index


def _edits(
    text: str,
    newline: str,
    found: tuple[_Node, _Node],
    changed: Mapping[str, str],
    removed: Collection[str],
    *,
    in_flow: bool,
) -> list[_Edit]:
    value = found[1]
    if value.mapping and value.flow and (in_flow or not _is_bare(text, value)):
        return _flow_edits(text, value, changed, removed)
    if value.flow or not value.pairs:
        return [_fill_empty(text, newline, found, changed, in_flow=in_flow)]
    edits: list[_Edit] = []
    there = set()
    for name, entry in value.pairs:
        there.add(name.text)
        if name.text in removed:
            edits.append(_Edit(_line_start(text, name.start), _end_of_entry(text, entry), ""))
        elif name.text in changed:
            edits.append(_replaced(text, entry, changed[name.text]))
    new = {name: entry for name, entry in changed.items() if name not in there}
    indent = _indent(text, value.pairs[0][0].start)
    last_name, last = value.pairs[-1]
    end = _end_of_entry(text, last)
    block = _block(text[:end], newline, indent, new)
    if last_name.text in removed:  # it goes together with the end of the line before the new ones
        block = block.removeprefix(newline)
    edits.append(_Edit(end, end, block))
    return edits


def _flow_edits(
    text: str, value: _Node, changed: Mapping[str, str], removed: Collection[str]
) -> list[_Edit]:
    """Edits inside of braces, where YAML allows a comma behind the last entry as well."""
    edits: list[_Edit] = []
    kept: _Node | None = None
    for name, entry in value.pairs:
        if name.text in removed:
            comma = _COMMA.match(text, entry.end)
            edits.append(_Edit(name.start, comma.end() if comma else entry.end, ""))
            continue
        kept = entry
        if name.text in changed:
            edits.append(_replaced(text, entry, changed[name.text]))
    there = {name.text for name, _ in value.pairs}
    new = _flow({name: entry for name, entry in changed.items() if name not in there})
    if new and kept is not None:
        edits.append(_Edit(kept.end, kept.end, f", {new}"))
    elif new:
        start = text.index("{", value.start) + 1
        edits.append(_Edit(start, start, new))
    return edits


def _flow(entries: Mapping[str, str]) -> str:
    return ", ".join(f"{_key(name)}: {entry}" for name, entry in entries.items())


def _replaced(text: str, entry: _Node, new: str) -> _Edit:
    """Another value for an entry, which keeps its anchor and its line end."""
    blank = "" if text[entry.start - 1].isspace() else " "  # missing where there was no value
    anchor = f"&{entry.anchor} " if entry.anchor else ""
    return _Edit(entry.start, _last_character(text, entry), f"{blank}{anchor}{new}")


def _is_bare(text: str, value: _Node) -> bool:
    """Whether a node is ``{}`` and nothing more, so that nothing is lost with it."""
    return text[value.start : value.end].replace(" ", "") == "{}"


def _fill_empty(
    text: str,
    newline: str,
    found: tuple[_Node, _Node],
    changed: Mapping[str, str],
    *,
    in_flow: bool,
) -> _Edit:
    """Write an empty register as a block where a block can stand."""
    key, value = found
    colon = text.index(":", key.end) + 1
    if in_flow:
        return _Edit(colon, max(colon, value.end), f" {{{_flow(changed)}}}")
    end = max(colon, value.end)
    line_end = _line_end(text, end)
    rest = text[end:line_end]
    indent = _indent(text, key.start) + "  "
    return _Edit(colon, line_end, rest + _block(text[:end] + rest, newline, indent, changed))


def _append_block(
    text: str, newline: str, top: _Node, end: int, changed: Mapping[str, str]
) -> _Edit:
    indent = _indent(text, top.start)
    gap = "" if not text[:end] or text[:end].endswith("\n") else newline
    block = _block(newline, newline, f"{indent}  ", changed)
    return _Edit(end, end, f"{gap}{indent}{KEY}:{newline}{block}")


def _block(before: str, newline: str, indent: str, entries: Mapping[str, str]) -> str:
    """Entries as lines of their own, to stand after ``before``; a missing last newline stays so."""
    lines = [f"{indent}{_key(name)}: {entry}" for name, entry in entries.items()]
    if not lines:
        return ""
    joined = newline.join(lines)
    return joined + newline if before.endswith("\n") else newline + joined


def _key(name: str) -> str:
    return yaml.safe_dump([name], default_flow_style=True, width=2**20).strip()[1:-1]


def _indent(text: str, index: int) -> str:
    """The blanks at the start of a line."""
    start = _line_start(text, index)
    return text[start : len(text) - len(text[start:].lstrip(" "))]


def _end_of_entry(text: str, entry: _Node) -> int:
    """The end of the last line of an entry."""
    return _line_end(text, _last_character(text, entry))


def _last_character(text: str, entry: _Node) -> int:
    """The end of an entry without the line ends that the node of a block scalar takes in."""
    return entry.start + len(text[entry.start : entry.end].rstrip("\r\n"))


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1
