"""The executed notebook as text, which is written again and again while it grows.

Only the cells that have changed since are made into JSON; of those that are done the text is kept.
"""

from __future__ import annotations

from nbformat import NotebookNode, v4

_BEFORE, _AFTER = '{\n "cells": [\n', "\n ]"  # what stands around the cells in a notebook's JSON
_NO_CELLS = '{\n "cells": []'


class Saved:
    """The text of a notebook; ``is_stale``: a cell has changed since it was asked for."""

    def __init__(self, notebook: NotebookNode) -> None:
        self._notebook = notebook
        self._cells: dict[int, str] = {}
        self.is_stale = True

    def changed(self, index: int) -> None:
        """Make the JSON of a cell anew the next time."""
        self._cells.pop(index, None)
        self.is_stale = True

    def text(self) -> str:
        """The notebook as nbformat writes it."""
        self.is_stale = False
        cells = ",\n".join(self._cell(index) for index in range(len(self._notebook.cells)))
        shell = v4.writes(self._without_cells())
        rest = shell.removeprefix(_NO_CELLS)
        return f"{_BEFORE}{cells}{_AFTER}{rest}\n" if cells else f"{shell}\n"

    def _cell(self, index: int) -> str:
        if index not in self._cells:
            alone = self._without_cells()
            end = len(v4.writes(alone)) - len(_NO_CELLS) + len(_AFTER)
            alone.cells = [self._notebook.cells[index]]
            self._cells[index] = v4.writes(alone)[len(_BEFORE) : -end]
        return self._cells[index]

    def _without_cells(self) -> NotebookNode:
        return NotebookNode({**self._notebook, "cells": []})
