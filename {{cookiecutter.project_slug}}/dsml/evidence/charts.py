"""The graph and the Gantt chart of a run as pictures (SVG).

They stand alone as files, and inside of a page; their colours follow the reader's choice of light
or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from dsml.contract.figures import duration, short_id
from dsml.evidence.layout import Layout, layout
from dsml.evidence.steps import NOT_BEGUN, Node, bars, edges, nodes, told
from dsml.evidence.trace import Trace
from dsml.step.spans import Span

# Outcome → its colour on a light and on a dark ground, each readable below the text on it, and that
# of its edge.
_COLOURS = {
    "passed": ("#c8e6c9", "#1f5a2a", "#2e7d32"),
    "cached": ("#e9f5ea", "#2c4a31", "#2e7d32"),
    "failed": ("#ffb3ad", "#8c1d18", "#c62828"),
    "killed": ("#ffb3ad", "#8c1d18", "#c62828"),
    "cancelled": ("#ffe0b2", "#6b4500", "#ef6c00"),
    "running": ("#bbdefb", "#134a7c", "#1e88e5"),
    NOT_BEGUN: ("#ececec", "#3a3a3a", "#8a8a8a"),
}
_GOOD = ("passed", "cached")
_MARGIN = 12
_CHARACTER = 7.2  # pixels that a character takes at most, in the mean
Size = tuple[float, float]


def _picture(label: str, width: float, height: float, shapes: Iterable[str]) -> str:
    """A whole picture; ``label`` is what a screen reader says of it."""
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" class="dsml-chart">',
        f"<title>{escape(label)}</title>",
        f"<style>{_style()}</style>",
        *shapes,
        "</svg>\n",
    ]
    return "\n".join(lines)


def _style() -> str:
    def colours(which: int, text: str, line: str) -> str:
        fills = " ".join(
            f".dsml-chart .{_class(outcome)} {{ fill: {known[which]}; stroke: {known[2]}; }}"
            for outcome, known in _COLOURS.items()
        )
        return (
            f".dsml-chart text {{ fill: {text}; }} {fills} "
            f".dsml-chart .line {{ stroke: {line}; fill: none; }}"
        )

    light, dark = colours(0, "#1b1b1b", "#8a8a8a"), colours(1, "#f4f4f4", "#8f8f8f")
    fonts = ".dsml-chart text { font: 13px system-ui, sans-serif; }"
    fonts += " .dsml-chart .small { font-size: 11px; }"
    return f"{fonts} {light} @media (prefers-color-scheme: dark) {{ {dark} }}"


def _class(outcome: str) -> str:
    return outcome.replace(" ", "-") if outcome in _COLOURS else NOT_BEGUN.replace(" ", "-")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'


# --- the graph ------------------------------------------------------------------------------------

_BOX, _ROW, _GAP = 44.0, 66.0, 56.0  # height of a step, of a row, width between two columns


def graph_svg(trace: Trace) -> str:
    """The steps in the order of the data, coloured by what came of them."""
    found = {node.step: node for node in nodes(trace)}
    plan = layout(found, edges(trace))
    places, size = _places(found, plan)
    passed = [_through(*place) for name, place in places.items() if name not in found]
    lines = [_line(places[first], places[second]) for first, second in plan.hops]
    boxes = [_box(found[step], *places[step]) for step in found]
    label = "; ".join(f"{node.step} {node.about}" for node in found.values())
    label = f"Graph of run {short_id(trace.run_id)}: {label}"
    return _picture(label, *size, [*passed, *lines, *boxes])


Place = tuple[float, float, float]  # left, middle and width


def _places(found: Mapping[str, Node], plan: Layout) -> tuple[dict[str, Place], Size]:
    """Where each step goes, and each line through a column; the size of all of it."""
    highest = max(map(len, plan.columns), default=1) * _ROW
    places: dict[str, Place] = {}
    x = float(_MARGIN)
    for column in plan.columns:
        widths = {name: _width(found[name]) for name in column if name in found}
        widest = max(widths.values())
        top = _MARGIN + (highest - len(column) * _ROW) / 2
        for row, name in enumerate(column):
            places[name] = (x, top + (row + 0.5) * _ROW, widest)
        x += widest + _GAP
    return places, (x - _GAP + _MARGIN, highest + 2 * _MARGIN)


def _width(node: Node) -> float:
    return max(len(node.step), len(node.about) * 0.85) * _CHARACTER + 20


def _line(first: Place, second: Place) -> str:
    (left, start, width), (x2, end, _) = first, second
    x1 = left + width
    bend = (x2 - x1) / 2
    return (
        f'<path class="line" d="M{x1:.1f} {start:.1f} '
        f'C{x1 + bend:.1f} {start:.1f} {x2 - bend:.1f} {end:.1f} {x2:.1f} {end:.1f}"/>'
    )


def _through(left: float, middle: float, width: float) -> str:
    return f'<path class="line" d="M{left:.1f} {middle:.1f} H{left + width:.1f}"/>'


def _box(node: Node, x: float, middle: float, width: float) -> str:
    top, left = middle - _BOX / 2, x + 10
    return (
        f"<g><title>{escape(f'{node.step}: {node.about}')}</title>"
        f'<rect class="{_class(node.outcome)}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{_BOX:.0f}" rx="6"/>'
        f"{_text(left, middle - 4, node.step)}{_text(left, middle + 13, node.about, 'small')}</g>"
    )


# --- the Gantt chart ------------------------------------------------------------------------------

_LANE, _BAR, _AXIS, _PLOT, _WORD = 20.0, 14.0, 26.0, 640.0, 80.0
_MOST_TICKS = 8
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
_SECOND = 1_000_000_000


def gantt_svg(trace: Trace) -> str:
    """When each attempt ran; those at the instances of a step share its rows."""
    by_step = bars(trace)
    left = max((len(step) for step in by_step), default=0) * _CHARACTER + 2 * _MARGIN
    seconds = max(trace.run.seconds, 0.001)
    scale = _PLOT / seconds
    shapes: list[str] = []
    y = _AXIS + _MARGIN
    for step, spans in by_step.items():
        lanes = _lanes(spans, _WORD / scale)
        shapes.append(_text(_MARGIN, y + _BAR - 2, step))
        for row, lane in enumerate(lanes):
            shapes += [_bar(trace, span, left, y + row * _LANE, scale) for span in lane]
        y += len(lanes) * _LANE + 6
    axis = list(_axis(seconds, scale, left, y))
    label = f"Gantt chart of run {short_id(trace.run_id)}, {duration(trace.run.seconds)}"
    return _picture(label, left + _PLOT + _WORD, y + _MARGIN, [*axis, *shapes])


def _lanes(spans: Sequence[Span], word: float) -> list[list[Span]]:
    """Spans in rows, so that none overlaps another, or the ``word`` (seconds wide) that follows."""
    lanes: list[list[Span]] = []
    for span in spans:
        free = next((lane for lane in lanes if _is_free(lane[-1], span, word)), None)
        if free is None:
            lanes.append([span])
        else:
            free.append(span)
    return lanes


def _is_free(last: Span, span: Span, word: float) -> bool:
    gap = 0.0 if last.outcome in _GOOD else word
    return last.end + gap * _SECOND <= span.start


def _bar(trace: Trace, span: Span, left: float, y: float, scale: float) -> str:
    x = left + (span.start - trace.run.start) / _SECOND * scale
    width = max(span.seconds * scale, 2)
    # what went wrong is told by a word as well, which not everybody's eyes need the red for
    word = _text(x + width + 4, y + _BAR - 3, span.outcome, "small")
    return (
        f"<g><title>{escape(f'{span.name}: {told(span)}')}</title>"
        f'<rect class="{_class(span.outcome)}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{_BAR:.0f}" rx="3"/>{"" if span.outcome in _GOOD else word}</g>'
    )


def _axis(seconds: float, scale: float, left: float, bottom: float) -> Iterator[str]:
    step = next((tick for tick in _TICKS if seconds / tick <= _MOST_TICKS), _TICKS[-1])
    for count in range(int(seconds / step) + 1):
        x = left + count * step * scale
        yield f'<path class="line" stroke-opacity="0.4" d="M{x:.1f} {_AXIS:.0f} V{bottom:.1f}"/>'
        yield _text(x, _AXIS - 8, duration(count * step), "small")
