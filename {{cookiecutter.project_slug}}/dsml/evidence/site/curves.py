"""The curve of a metric as a small picture, drawn into the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from dsml.contract.figures import number

_WIDTH, _HEIGHT, _LEFT, _BELOW, _EDGE = 340.0, 130.0, 52.0, 18.0, 6.0
_MOST = 300  # points that can be told apart at that width
Point = tuple[int, float]


def curve_svg(name: str, points: Mapping[int, float | str]) -> str:
    """A line through the points, with the smallest and the largest value; "" where is no number.

    Of many points those are drawn that show how far the line goes up and down.
    """
    numbers = [(s, v) for s, v in points.items() if not isinstance(v, str) and math.isfinite(v)]
    if not numbers:
        return ""
    low, high = min(v for _, v in numbers), max(v for _, v in numbers)
    first, last = numbers[0][0], numbers[-1][0]
    across = (_WIDTH - _LEFT - _EDGE) / ((last - first) or 1)
    down = (_HEIGHT - _BELOW - _EDGE) / ((high - low) or 1)
    places = [(_LEFT + (s - first) * across, _EDGE + (high - v) * down) for s, v in thin(numbers)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    end, bottom = places[-1], _HEIGHT - _BELOW
    told = f"{name}: {len(points)} points, {number(float(low))} to {number(float(high))}"
    told += f", at last {number(numbers[-1][1])}"
    texts = [(0, _EDGE + 9, high), (0, bottom, low)] if high > low else [(0, _EDGE + 9, high)]
    marks = "".join(f'<text x="{x}" y="{y:.0f}">{number(float(v))}</text>' for x, y, v in texts)
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img">'
        f"<title>{escape(told)}</title>"
        f'<path class="axis" d="M{_LEFT} {_EDGE}V{bottom}H{_WIDTH - _EDGE}"/>'
        f'<polyline points="{path}"/><circle cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="3"/>{marks}'
        f'<text x="{_LEFT}" y="{_HEIGHT - 3}">{first}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_HEIGHT - 3}" text-anchor="end">{last}</text></svg>'
    )


def thin(points: Sequence[Point]) -> list[Point]:
    """The lowest and the highest of each stretch, where there are too many points to draw."""
    if len(points) <= _MOST:
        return list(points)
    length = len(points) * 2 / _MOST
    found = [points[0]]
    for stretch in range(_MOST // 2):
        part = points[round(stretch * length) : round((stretch + 1) * length)]
        extremes = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        found += sorted(extremes)
    return [*dict.fromkeys([*found, points[-1]])]
