"""The checks on what a step has written: run once its code is over, before it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsml.contract.checks import Check
from dsml.contract.problem import Problem, ProjectError, errors
from dsml.contract.spec import StepSpec

_LISTED = 20  # broken rules of one out in a message


@dataclass(frozen=True)
class Broken:
    """A rule that is broken.

    ``what`` says of what, such as a column. ``count`` says how many rows, or values of an array,
    break it, ``first`` which are the first, each with its value; rows count from 0. Where it is no
    matter of rows, ``note`` says what is wrong. ``instance`` is the key of one of a mapped step's.
    """

    what: str
    rule: str
    note: str = ""
    count: int = 0
    first: tuple[tuple[str, str], ...] = ()
    unit: str = "row"
    instance: str = ""

    def __str__(self) -> str:
        instance = f"{self.instance}: " if self.instance else ""
        return f"{instance}{self.what}, rule '{self.rule}': {self.note or self._rows()}"

    def _rows(self) -> str:
        places, values = (", ".join(texts) for texts in zip(*self.first, strict=True))
        first = "first at" if self.count > len(self.first) else "at"
        plural = "" if self.count == 1 else "s"
        return f"{self.count:,} {self.unit}{plural}, {first} {places}: {values}"


@dataclass(frozen=True)
class CheckResult:
    """What came out of the check of one out; ``rows`` and ``columns`` are what it looked at."""

    out: str
    blocking: bool
    problems: tuple[Broken, ...] = ()
    rows: int | None = None
    columns: int | None = None

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.problems

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CheckResult:
        """Read what ``asdict`` made, and JSON kept."""
        problems = (
            Broken(**{**problem, "first": tuple(map(tuple, problem["first"]))})
            for problem in raw["problems"]
        )
        return cls(**{**raw, "problems": tuple(problems)})


class ChecksFailed(ProjectError):
    """A check that blocks has failed. ``results`` are those of all checks of the step."""

    def __init__(self, problems: list[Problem], results: Iterable[CheckResult]) -> None:
        super().__init__(problems)
        self.results = tuple(results)


def run_checks(step: StepSpec, root: Path, files: Mapping[str, Path]) -> list[CheckResult]:
    """Check the files of a step's outs, by name; an out that was not written is passed over."""
    return [
        _run(out, check, files[out], root)
        for out, check in step.checks.items()
        if out in files and files[out].is_file()
    ]


def judge(step: StepSpec, results: Iterable[CheckResult], warn: Callable[[str], object]) -> None:
    """Warn of the checks that have failed without blocking.

    Raises:
        ChecksFailed: one that blocks has failed; its text is the message for the user.
    """
    results = list(results)
    problems = [_problem(step, result) for result in results if not result.passed]
    for problem in problems:
        if problem.severity == "warning":
            warn(str(problem))
    if errors(problems):
        raise ChecksFailed(errors(problems), results)


def combined(results: Mapping[str, CheckResult]) -> CheckResult:
    """The results of one out of a mapped step's instances, by their keys, as one."""
    first = next(iter(results.values()))
    problems = (
        replace(problem, instance=instance)
        for instance, result in results.items()
        for problem in result.problems
    )
    rows = [result.rows for result in results.values() if result.rows is not None]
    return replace(first, problems=tuple(problems), rows=sum(rows) if rows else None)


def _run(out: str, check: Check, path: Path, root: Path) -> CheckResult:
    from dsml.step.rules import look_at, said  # imports pandas when it is called

    try:
        found = look_at(check, path, root)
    except Exception as error:  # whatever a step has written, the answer is a message
        unread = Broken(f"the file '{path.name}'", "can be checked", said(error))
        return CheckResult(out, check.blocking, (unread,))
    return CheckResult(out, check.blocking, tuple(found.broken), found.rows, found.columns)


def _problem(step: StepSpec, result: CheckResult) -> Problem:
    lines = [str(problem) for problem in result.problems[:_LISTED]]
    more = len(result.problems) - _LISTED
    lines += [f"and {more} more"] if more > 0 else []
    rules = "a rule" if len(result.problems) == 1 else f"{len(result.problems)} rules"
    file = step.outs[result.out]
    what = f"checks.{result.out}: '{file}' breaks {rules}\n  " + "\n  ".join(lines)
    where = step.where("checks", result.out)
    if result.blocking:
        fix = "nothing was published: mend what the step writes, or the rule"
        return Problem(where, what, fix, "check-failed")
    fix = 'it is published all the same; "blocking": True in the check would stop it'
    return Problem(where, what, fix, "check-failed", "warning")
