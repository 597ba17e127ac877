"""What the commands print on: the console, and tables on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

_WIDE = 240  # columns where there is no terminal: nothing has to be folded


def make_console(*, quiet: bool = False) -> Console:
    """A console on a copy of stdout, since a run sends its own stdout into a file."""
    if quiet:
        return Console(quiet=True)
    stream: TextIO
    try:
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding)
    except (OSError, ValueError, AttributeError):  # no file of the system's: under a test runner
        stream = sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE)


def make_table(
    columns: Iterable[str], title: str = "", *, right: Collection[str] = (), **options: Any
) -> Table:
    """A table without lines between its cells.

    ``right`` are the columns of figures, ``options`` what Rich is told of every column.
    """
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", **options)
    return table
