"""A comparison of runs as a table on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsml.contract.figures import shortened
from dsml.evidence.comparison_view import Cell, Grid

_LONGEST = 40  # characters of a value; the page and the JSON have it whole
_GAP = 2  # between two columns


def show(console: Console, grid: Grid) -> None:
    """Print the runs, and below them what is the same in all."""
    by_run, by_value = _by_run(grid), _by_value(grid)
    # few runs with many values fit the other way round
    turn = _width(by_run) > console.width >= _width(by_value)
    lines = by_value if turn else by_run
    console.width = max(console.width, _width(lines))
    justify = [] if turn else [heading.is_metric for heading in grid.headings]
    console.print(_table(lines, justify), highlight=False)
    if any(cell.is_marked for row in grid.rows for cell in row):
        console.print("* not as in the first run", highlight=False)
    if grid.same:
        same = [[Text(name), _text(Cell(text))] for name, text in grid.same]
        console.print("\nThe same in all of them", style="italic", highlight=False)
        console.print(_table(same), highlight=False)


def _by_run(grid: Grid) -> list[list[Text]]:
    """A line for each run, below two of headings."""
    steps = [Text(heading.step, "bold") for heading in grid.headings]
    names = [Text(heading.name, "bold") for heading in grid.headings]
    above = [steps] if any(steps) else []
    return [*above, names, *([_text(cell) for cell in row] for row in grid.rows)]


def _by_value(grid: Grid) -> list[list[Text]]:
    """A line for each value, a column for each run."""
    return [
        [Text(heading.step, "bold"), Text(heading.name, "bold"), *map(_text, cells)]
        for heading, *cells in zip(grid.headings, *grid.rows, strict=True)
    ]


def _text(cell: Cell) -> Text:
    text = shortened(cell.text, _LONGEST)
    return Text(f"{text} *".lstrip(), "yellow") if cell.is_marked else Text(text)


def _width(lines: Sequence[Sequence[Text]]) -> int:
    columns = zip(*lines, strict=True)
    return sum(max(text.cell_len for text in column) + _GAP for column in columns)


def _table(lines: Sequence[Sequence[Text]], to_the_right: Sequence[bool] = ()) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for is_right in to_the_right:
        table.add_column(justify="right" if is_right else "left")
    for line in lines:
        table.add_row(*line)
    return table
