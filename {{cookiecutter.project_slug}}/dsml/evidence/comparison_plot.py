"""A picture of the metrics of several runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dsml.contract.figures import short_id
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.comparison import METRIC, Column, Comparison, Row
from dsml.step import formats

_PANELS = 24  # more are too small to be read
_ACROSS = 2
_WIDTH, _HEIGHT = 6.0, 2.8  # of a panel, in inches


def plot(comparison: Comparison, file: Path) -> None:
    """Write a PNG with a panel for each metric: its value in each run, a line for each experiment.

    Metrics that are the same in all runs are left out, unless they were asked for. Runs that are
    sorted stand in their order, else the oldest stands on the left. Instances of a mapped step
    share a panel.

    Raises:
        ProjectError: the runs have no metrics, or too many.
    """
    from matplotlib.figure import Figure

    panels = _panels(comparison)
    rows = list(comparison.rows) if comparison.sorted_by else list(reversed(comparison.rows))
    down = -(-len(panels) // _ACROSS)
    across = min(len(panels), _ACROSS)
    figure = Figure(figsize=(_WIDTH * across, _HEIGHT * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for title, columns, axis in zip(panels, panels.values(), axes, strict=False):
        _draw(axis, title, columns, rows)
    for axis in axes[len(panels) :]:
        axis.remove()
    formats.save(figure, file)


def _panels(comparison: Comparison) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for column in comparison.columns:
        if column.kind == METRIC:
            found.setdefault(f"{column.base}.{column.name}", []).append(column)
    if not comparison.is_narrowed:
        different = set(comparison.different)
        found = {t: cs for t, cs in found.items() if different.intersection(cs)} or found
    if not found:
        what, fix = "--plot: the runs have logged no metrics", "log one: context.log_metric(...)"
    elif len(found) > _PANELS:
        what = f"--plot: {len(found)} metrics are too many for one picture"
        fix = "choose some with --metric"
    else:
        return found
    raise ProjectError([Problem(Where("dsml compare"), what, fix, "no-plot")])


def _draw(axis: Any, title: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    series = list(_series(columns, rows))
    for label, points in series:
        axis.plot(list(points), list(points.values()), marker="o", markersize=4, label=label)
    axis.set_title(title, fontsize=9, parse_math=False)
    names = [short_id(row.run.run_id) for row in rows]
    axis.set_xticks(range(len(rows)), names, rotation=90, fontsize=6, parse_math=False)
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.tick_params(axis="y", labelsize=7)
    axis.grid(alpha=0.3)
    if len(series) > 1:
        legend = axis.legend(fontsize=6)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _series(
    columns: Sequence[Column], rows: Sequence[Row]
) -> Iterator[tuple[str, dict[int, float]]]:
    """The lines of a panel: position of the run → value, of each instance and experiment."""
    for column in columns:
        of_experiment: dict[str, dict[int, float]] = {}
        for position, row in enumerate(rows):
            value = row.values.get(column)
            if isinstance(value, int | float):
                of_experiment.setdefault(row.run.experiment, {})[position] = value
        instance = column.step.removeprefix(column.base)
        for experiment, points in of_experiment.items():
            yield f"{experiment} {instance}".rstrip(), points
