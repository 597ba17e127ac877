"""A flowchart in Mermaid's words as a picture, so that the docs site needs no script for it.

GitHub draws such a block by itself. It may hold ``flowchart``, boxes such as ``dag(["dag.py"])``
and arrows ``a --> b``, a line each.
"""

from __future__ import annotations

import re
from html import escape

from catalog_schema import RUNTIME  # noqa: F401 - it makes the runtime importable

from dsml.evidence.layout import layout

_ARROW = re.compile(r"(?P<first>.+?) --> (?P<second>.+)")
_BOX = re.compile(r"(?P<name>\w+)(?:\W*\"(?P<label>[^\"]+)\"\W*)?")
_WIDTH, _HEIGHT, _COLUMN, _ROW, _MARGIN = 190, 36, 250, 62, 8


def as_svg(text: str) -> str:
    """The picture of a flowchart, from left to right.

    Raises:
        ValueError: a line is neither a box nor an arrow between two.
    """
    labels: dict[str, str] = {}
    arrows: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines()[1:])):
        arrow = _ARROW.fullmatch(line)
        names = [_box(part, labels) for part in (arrow.groups() if arrow else [line])]
        arrows += [(names[0], names[1])] if arrow else []
    plan = layout(labels, arrows)
    places = {
        name: (_MARGIN + _COLUMN * column, _MARGIN + _ROW * row + _HEIGHT // 2)
        for column, entries in enumerate(plan.columns)
        for row, name in enumerate(entries)
    }
    width = max(x for x, _ in places.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in places.values()) + _HEIGHT // 2 + _MARGIN
    shapes = [_line(places[first], places[second]) for first, second in plan.hops]
    for name, (x, y) in places.items():
        if name in labels:
            shapes.append(
                f'<rect x="{x}" y="{y - _HEIGHT // 2}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
                f'<text x="{x + _WIDTH // 2}" y="{y + 5}">{escape(labels[name])}</text>'
            )
        else:  # a line passes here on its way
            shapes.append(f'<path d="M{x} {y} h{_WIDTH}"/>')
    title = "; ".join(f"{labels[first]} → {labels[second]}" for first, second in arrows)
    return (
        f'<svg class="flowchart" role="img" viewBox="0 0 {width} {height}">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _box(text: str, labels: dict[str, str]) -> str:
    """Take the name and the label of a box; its name."""
    found = _BOX.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no box of a flowchart")
    name = found["name"]
    if found["label"] or name not in labels:
        labels[name] = found["label"] or name
    return name


def _line(first: tuple[int, int], second: tuple[int, int]) -> str:
    x1, y1, x2, y2 = first[0] + _WIDTH, first[1], *second
    bend = (x2 - x1) // 2
    return f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'
