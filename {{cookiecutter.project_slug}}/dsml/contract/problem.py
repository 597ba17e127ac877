"""How a mistake is told: where it is, what is wrong, how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

_LISTED_NAMES = 8


@dataclass(frozen=True)
class Where:
    """A place in a project: a file, and in it a cell and a line where they are known.

    ``cell`` counts all cells of the notebook from 1, as one counts them on the screen; ``line``
    counts from 1 inside the cell, or inside the file where there is no cell.
    """

    path: str
    cell: int | None = None
    tag: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        parts = [self.path]
        if self.cell is not None:
            parts.append(f"cell {self.cell}" + (f" ({self.tag})" if self.tag else ""))
        if self.line is not None:
            parts.append(f"line {self.line}")
        return ", ".join(parts)

    @property
    def sort_key(self) -> tuple[str, int, int]:
        """Files in alphabetical order, and inside a file from top to bottom."""
        return (self.path, self.cell or 0, self.line or 0)


@dataclass(frozen=True)
class Problem:
    """One finding: ``what`` is wrong at ``where``, and how to ``fix`` it.

    ``name`` identifies the kind of finding (``unknown-path``) for machines and for reading on.
    """

    where: Where
    what: str
    fix: str
    name: str
    severity: Severity = "error"

    def __str__(self) -> str:
        label = "" if self.severity == "error" else f"{self.severity}: "
        return f"{self.where}\n  {label}{self.what}\n  {self.fix}"


class ProjectError(Exception):
    """A mistake that a user can make and mend. Its text is the message, never a traceback."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(render(self.problems))


def render(problems: Iterable[Problem]) -> str:
    """All findings as text, in the order of files, one blank line between two."""
    ordered = sorted(problems, key=lambda problem: problem.where.sort_key)
    return "\n\n".join(str(problem) for problem in ordered)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The findings that stop a project from being run."""
    return [problem for problem in problems if problem.severity == "error"]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Name the nearest known name, else list the known ones, else say ``otherwise``."""
    names = sorted(set(known))
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    if otherwise:
        return otherwise
    if not names:
        return "there is none yet"
    listed = ", ".join(names[:_LISTED_NAMES])
    more = len(names) - _LISTED_NAMES
    return f"known are: {listed}" + (f" and {more} more" if more > 0 else "")
