"""The cells of a notebook.

The file format is nbformat (https://nbformat.readthedocs.io), versions 3 and 4, or that of
``dsml.contract.percent``.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dsml.contract.percent import SUFFIX, ScriptCell, read_script
from dsml.contract.problem import Problem, ProjectError, Where

OP_PARAMETERS = "op_parameters"
PARAMETERS = "parameters"

_COUNTS = ("execution_count", "prompt_number")  # nbformat 4 and 3


@dataclass(frozen=True)
class Cell:
    """One cell of the notebook at ``path``: ``number`` counts all of its cells from 1.

    ``above`` is the number of lines that stand above the source in the file of a text notebook.
    """

    path: str
    number: int
    kind: str
    source: str
    tags: frozenset[str] = frozenset()
    has_outputs: bool = False
    is_counted: bool = False  # it holds the number that its last execution had
    above: int | None = None

    def where(self, line: int | None = None) -> Where:
        """The place of a line of this cell, named by its contract tag where it has one."""
        tag = next((tag for tag in (OP_PARAMETERS, PARAMETERS) if tag in self.tags), None)
        line = line if self.above is None else self.above + (line or 1)
        return Where(self.path, self.number, tag, line)


@dataclass(frozen=True)
class Notebook:
    """The cells of one notebook; ``path`` is relative to the project, with forward slashes."""

    path: str
    cells: tuple[Cell, ...]

    @property
    def code(self) -> Iterator[Cell]:
        """The code cells, in order."""
        return (cell for cell in self.cells if cell.kind == "code")

    def tagged(self, tag: str) -> list[Cell]:
        """The code cells that carry ``tag``."""
        return [cell for cell in self.code if tag in cell.tags]


def read_notebook(file: Path, path: str) -> Notebook:
    """Read the cells of ``file``; ``path`` is how messages name it.

    Raises:
        ProjectError: the file is unreadable, no JSON, or no notebook.
    """
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):  # to read a pipe is to wait for ever
            raise _broken(path, "cannot be read: it is no file")
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == SUFFIX:
            return Notebook(path, tuple(numbered(path, read_script(text))))
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(path, f"is no JSON: {error.msg}", error.lineno) from None
    except UnicodeDecodeError:
        raise _broken(path, "is no UTF-8 text") from None
    except ValueError:  # Python refuses to read a number of thousands of digits
        raise _broken(path, "holds a number that is too long") from None
    except RecursionError:
        raise _broken(path, "is nested too deeply to be a notebook") from None
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror or error}") from None
    return Notebook(path, tuple(_cells(document, path)))


def _broken(path: str, what: str, line: int | None = None) -> ProjectError:
    fix = "restore the file from git, or save it again from Jupyter"
    return ProjectError(
        [Problem(Where(path, line=line), f"the notebook {what}", fix, "no-notebook")]
    )


def _cells(document: object, path: str) -> Iterator[Cell]:
    raw = _raw_cells(document)
    if raw is None:
        raise _broken(path, "has no list of cells")
    for number, cell in enumerate(raw, start=1):
        if not isinstance(cell, dict):
            raise _broken(path, f"has a cell that is no object (cell {number})")
        source = cell.get("source", cell.get("input", ""))
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        yield Cell(
            path=path,
            number=number,
            kind=str(cell.get("cell_type", "code")),
            source="".join(map(str, source)) if isinstance(source, list) else str(source),
            tags=frozenset(map(str, tags)) if isinstance(tags, list) else frozenset(),
            has_outputs=bool(cell.get("outputs")),
            is_counted=any(cell.get(key) is not None for key in _COUNTS),
        )


def numbered(path: str, cells: Iterable[ScriptCell]) -> Iterator[Cell]:
    """The cells of a text notebook as those of any."""
    for number, cell in enumerate(cells, start=1):
        yield Cell(path, number, cell.kind, cell.source, frozenset(cell.tags), above=cell.above)


def _raw_cells(document: object) -> list[object] | None:
    if not isinstance(document, dict):
        return None
    worksheets = document.get("worksheets")  # nbformat 3
    if isinstance(worksheets, list) and worksheets and isinstance(worksheets[0], dict):
        document = worksheets[0]
    cells = document.get("cells")
    return cells if isinstance(cells, list) else None
