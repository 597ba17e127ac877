"""Where the steps of a graph go: in columns from left to right, with room for the lines between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter


@dataclass(frozen=True)
class Layout:
    """``columns`` hold steps, and the names of places that a line passes on its way.

    ``hops`` are the lines, cut at these places: each goes from a column to the next.
    """

    columns: Sequence[Sequence[str]]
    hops: Sequence[tuple[str, str]]


def layout(steps: Iterable[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """Put each step in the column after those that it waits for, near the height of these."""
    above: dict[str, list[str]] = {step: [] for step in steps}
    for first, second in edges:
        above[second].append(first)
    column: dict[str, int] = {}
    for step in TopologicalSorter(above).static_order():
        column[step] = max((column[other] + 1 for other in above[step]), default=0)
    entries = list(above)
    for step in entries:
        above[step] = [_last_place(other, step, column, above) for other in above[step]]
    columns: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for entry in above:
        columns[column[entry]].append(entry)
    _sort(columns, above)
    hops = [(other, entry) for entry, others in above.items() for other in others]
    return Layout(columns, hops)


def _last_place(
    first: str, second: str, column: dict[str, int], above: dict[str, list[str]]
) -> str:
    """Give a line a place in each column that it crosses; the last of these, or its beginning."""
    last = first
    for crossed in range(column[first] + 1, column[second]):
        place = f"{first} > {second} {crossed}"
        column[place], above[place] = crossed, [last]
        last = place
    return last


def _sort(columns: Sequence[list[str]], above: dict[str, list[str]]) -> None:
    """Sort each column by the mean height of what its entries come from."""
    height: dict[str, float] = {}
    for entries in columns:
        wanted = {
            entry: sum(height[other] for other in above[entry]) / max(len(above[entry]), 1)
            for entry in entries
        }
        entries.sort(key=wanted.__getitem__)
        height |= {entry: (row + 0.5) / len(entries) for row, entry in enumerate(entries)}
