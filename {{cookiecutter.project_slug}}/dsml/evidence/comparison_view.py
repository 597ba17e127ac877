"""A comparison of runs as a grid of texts, and as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from dsml.contract.figures import counted, duration, moment, number, short_id
from dsml.evidence.comparison import Column, Comparison, Row, Run, is_marked
from dsml.store.manifest import Json

# Said of a run beside its id; a fact that is the same for all of them is left out.
_OF_RUN: dict[str, Callable[[Run], str]] = {
    "pipeline": lambda run: run.pipeline,
    "experiment": lambda run: run.experiment,
    "partition": lambda run: run.partition or "",
    "status": lambda run: run.status.lower(),
}


@dataclass(frozen=True)
class Heading:
    """The heading of a column: the step that it belongs to, if any, and a name."""

    step: str
    name: str
    is_metric: bool = False


@dataclass(frozen=True)
class Cell:
    """A value as text; it is marked where it is not as in the first run."""

    text: str
    is_marked: bool = False


@dataclass(frozen=True)
class Grid:
    """The columns in which runs differ, a row for each run; ``same`` holds what all have."""

    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    same: Sequence[tuple[str, str]]


def grid_of(comparison: Comparison) -> Grid:
    """The comparison as texts."""
    rows, told = comparison.rows, _told(comparison)
    of_run = ["run", "started", *told, "took"]
    of_steps = [Heading(c.step, c.name, c.kind == "metric") for c in comparison.different]
    same = [(name, of(rows[0].run)) for name, of in _OF_RUN.items() if rows and name not in told]
    same += [(c.label, text_of(rows[0].values[c])) for c in comparison.same]
    return Grid(
        [*(Heading("", name) for name in of_run), *of_steps],
        [list(_cells(comparison, row, told)) for row in rows],
        [(name, text) for name, text in same if text],
    )


def _told(comparison: Comparison) -> list[str]:
    runs = [row.run for row in comparison.rows]
    return [
        name for name, of in _OF_RUN.items() if len(runs) == 1 or len({of(run) for run in runs}) > 1
    ]


def _cells(comparison: Comparison, row: Row, told: Sequence[str]) -> Iterator[Cell]:
    run = row.run
    yield Cell(short_id(run.run_id))
    yield Cell(moment(run.started))
    yield from (Cell(_OF_RUN[name](run)) for name in told)
    took = run.ended - run.started if run.started and run.ended else None
    yield Cell(duration(took))
    for column in comparison.different:
        yield Cell(_text(row, column), is_marked(comparison, row, column))


def _text(row: Row, column: Column) -> str:
    return text_of(row.values[column]) if column in row.values else ""


def text_of(value: Json) -> str:
    """A value on one line."""
    if isinstance(value, list):
        return ", ".join(map(text_of, value))
    return " ".join(number(value).split()) if isinstance(value, float | str) else str(value)


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse }
caption { text-align: left; font-weight: 600; padding: .5rem 0 }
th, td { padding: .25rem .75rem; text-align: left; white-space: nowrap }
th { vertical-align: bottom }
th small { display: block; font-weight: 400 }
tr { border-bottom: 1px solid #8886 }
td.metric { text-align: right; font-variant-numeric: tabular-nums }
td.marked { background: #fc03; font-weight: 600 }
"""


def page(comparison: Comparison, project: str) -> str:
    """The comparison as one HTML file, which needs no network and runs no script."""
    grid = grid_of(comparison)
    title = escape(f"{project}: {counted(len(grid.rows), 'run')} compared")
    head = "".join(
        f'<th scope="col"><small>{escape(heading.step)}</small>{escape(heading.name)}</th>'
        for heading in grid.headings
    )
    body = "".join(f"<tr>{_row(grid.headings, row)}</tr>\n" for row in grid.rows)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<div class="scroll" tabindex="0" role="region" aria-label="Differences">
<table>
<caption>Differences; * marks what is not as in the first run</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table>
</div>
{_same(grid.same)}</body>
</html>
"""


def _same(same: Sequence[tuple[str, str]]) -> str:
    if not same:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>\n'
        for name, text in same
    )
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="The same in all runs">
<table>
<caption>The same in all runs</caption>
<tbody>
{rows}</tbody>
</table>
</div>
"""


def _row(headings: Sequence[Heading], cells: Sequence[Cell]) -> str:
    return "".join(map(_cell, headings, cells))


def _cell(heading: Heading, cell: Cell) -> str:
    classes = ["metric"] * heading.is_metric + ["marked"] * cell.is_marked
    attribute = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{attribute}>{escape(cell.text)}{' *' * cell.is_marked}</td>"
