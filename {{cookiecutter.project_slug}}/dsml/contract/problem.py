"""How a mistake is told: where it is, what is wrong, how to mend it."""

from __future__ import annotations

import bisect
import difflib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dsml.contract.figures import SHORT_ID, short_id

Severity = Literal["error", "warning", "note"]

_NEXT_LINE = "\n  "
_LISTED_NAMES = 8
_COMPARED_NAMES = 40  # of more names only those are compared that begin or end most alike


@dataclass(frozen=True)
class Where:
    """A place in a project: a file, and in it a cell and a line where they are known.

    ``cell`` counts all cells of the notebook from 1, as one counts them on the screen; ``line``
    counts from 1 inside the cell, or inside the file where there is no cell and in scripts.
    """

    path: str
    cell: int | None = None
    tag: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        parts = [_printable(self.path)]
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

    def __post_init__(self) -> None:
        for field in ("what", "fix"):  # names in a notebook may hold anything
            object.__setattr__(self, field, _printable(getattr(self, field)))

    def __str__(self) -> str:
        label = "" if self.severity == "error" else f"{self.severity}: "
        return f"{self.where}\n  {label}{self.what}\n  {self.fix}"


def _printable(text: str) -> str:
    """A text in characters that a terminal shows as they are; others are escaped.

    It stays one line, unless it has further lines that are indented as those of a message.
    """
    if text.isprintable():
        return text
    lines = (
        "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        for line in text.split(_NEXT_LINE)
    )
    return _NEXT_LINE.join(lines)


class ProjectError(Exception):
    """A mistake that a user can make and mend. Its text is the message, never a traceback."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(render(self.problems))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback."""
        return str(self).split("\n")


def render(problems: Iterable[Problem]) -> str:
    """All findings as text, in the order of files, one blank line between two."""
    ordered = sorted(problems, key=lambda problem: problem.where.sort_key)
    return "\n\n".join(str(problem) for problem in ordered)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The findings that stop a project from being run."""
    return [problem for problem in problems if problem.severity == "error"]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Name the nearest known name, else list the known ones, else say ``otherwise``."""
    names, backwards = _sorted(frozenset(known))
    if len(names) <= _COMPARED_NAMES:
        compared = names
    else:  # with thousands it would take minutes for thousands of mistakes
        ends_alike = _around(name[::-1], backwards)
        compared = [*_around(name, names), *(other[::-1] for other in ends_alike)]
    nearest = difflib.get_close_matches(name, compared, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    if otherwise:
        return otherwise
    if not names:
        return "there is none yet"
    listed = ", ".join(names[:_LISTED_NAMES])
    more = len(names) - _LISTED_NAMES
    return f"known are: {listed}" + (f" and {more} more" if more > 0 else "")


@functools.lru_cache(maxsize=8)
def _sorted(names: frozenset[str]) -> tuple[list[str], list[str]]:
    """Names in the order of their beginnings, and backwards in the order of their ends."""
    return sorted(names), sorted(name[::-1] for name in names)


def _around(name: str, ordered: Sequence[str]) -> Sequence[str]:
    """The names that stand next to where ``name`` would."""
    start = max(bisect.bisect(ordered, name) - _COMPARED_NAMES // 4, 0)
    return ordered[start : start + _COMPARED_NAMES // 2]


def suggest_run(name: str, run_ids: Iterable[str], about_newest: str = "") -> str:
    """Name the run whose id begins most like ``name``, else the first of ``run_ids``, the newest.

    ``about_newest`` is said of the newest.
    """
    ids = list(run_ids)
    if not ids:
        return "there are no runs yet: dsml run"
    beginnings = {run_id[: max(len(name), SHORT_ID)]: run_id for run_id in reversed(ids)}
    nearest = difflib.get_close_matches(name, beginnings, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    return f"the newest is '{short_id(ids[0])}'{about_newest}"
