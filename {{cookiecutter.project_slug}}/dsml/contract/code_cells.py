"""The code cells of a notebook, parsed: which names are bound, changed and read, and edits."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dsml.contract.percent import ScriptCell
from dsml.contract.source import without_magics

_ASSIGNED = re.compile(r"^\s*(\w+)\s*[-+*/|&]?=(?!=)", re.MULTILINE)
_MUTATORS = (
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("update", "setdefault", "popitem", "add", "discard"),
)
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
_NAMED = (ast.ExceptHandler, ast.MatchAs, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class ReadCell:
    """One code cell that could be parsed. ``edits`` are (first byte, end, text) of its source."""

    index: int
    cell: ScriptCell
    tree: ast.Module
    edits: list[tuple[int, int, str]] = field(default_factory=list)

    def bounds(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where a node begins and ends in the bytes of the source."""
        starts = self.line_starts
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return starts[node.lineno - 1] + node.col_offset, starts[last - 1] + column

    @property
    def line_starts(self) -> list[int]:
        """Where each line begins in the bytes of the source, and where one more would."""
        starts = [0]
        for line in self.cell.source.encode().split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def edited(self) -> str:
        """The source with the edits made, and without blank lines around it."""
        source = self.cell.source.encode()
        for begin, end, text in sorted(self.edits, reverse=True):
            source = source[:begin] + text.encode() + source[end:]
        return source.decode().strip("\n")


def stands_alone(read: ReadCell, node: ast.stmt) -> bool:
    """Whether an assignment has its lines to itself, and is not one that a magic makes."""
    lines = read.cell.source.encode().split(b"\n")
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    alone = not before.strip() and (not after.strip() or after.lstrip().startswith(b"#"))
    return alone and not made_by_magic(read, node)


def made_by_magic(read: ReadCell, node: ast.stmt) -> bool:
    """Whether a statement is only what stands for a magic while a cell is parsed."""
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    plain = without_magics(read.cell.source).split("\n")
    return plain[first:last] != read.cell.source.split("\n")[first:last]


def stored_names(reads: Sequence[ReadCell], opaque: Sequence[str]) -> Counter[str]:
    """How often each name is bound or changed, functions' own names left out.

    ``opaque`` are sources that cannot be parsed.
    """
    counts: Counter[str] = Counter()
    for source in opaque:
        counts.update(_ASSIGNED.findall(source))
    for read in reads:
        counts.update(_bound(read.tree))
        for node in ast.walk(read.tree):
            if isinstance(node, ast.Global):
                counts.update(node.names)
            counts.update(_mutated(node))
    return counts


def _bound(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            yield child.id
        elif isinstance(child, ast.alias):
            yield (child.asname or child.name).partition(".")[0]
        elif isinstance(child, _NAMED) and child.name:
            yield child.name
        if not isinstance(child, _SCOPES):
            yield from _bound(child)


def _mutated(node: ast.AST) -> Iterator[str]:
    changed: ast.expr | None = None
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        changed = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        changed = node.func.value if node.func.attr in _MUTATORS else None
    if isinstance(changed, ast.Name):
        yield changed.id


def used_names(reads: Sequence[ReadCell], opaque: Sequence[str]) -> Counter[str]:
    """How often each name is read; a mention where nothing can be parsed counts as well."""
    counts: Counter[str] = Counter()
    for read in reads:
        for node in ast.walk(read.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                counts[node.id] += 1
    for source in opaque:
        counts.update(re.findall(r"[A-Za-z_]\w*", source))
    return counts
