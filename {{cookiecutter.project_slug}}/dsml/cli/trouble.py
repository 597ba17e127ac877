"""What is told when something outside of the project fails in the middle of a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsml.contract.problem import Problem, Where
from dsml.store.disk import disk_problem

_OF_DATABASES = {
    ("sqlalchemy", "SQLAlchemyError"),
    ("dagster_postgres", "DagsterPostgresException"),
}
_LONGEST = 200  # characters of what a database says


def trouble(error: Exception) -> Problem | None:
    """What to tell of an error that is none of the project's; None where it is none of these."""
    found = next((each for each in _chain(error) if _is_of_database(each)), None)
    if found is not None:
        cause = getattr(found, "orig", None) or found
        said = " ".join(f"{type(cause).__name__}: {cause}".split())[:_LONGEST]
        what = f"Dagster's database does not work: {said}"
        fix = "see make doctor, then begin anew: dsml run; what has been published is whole"
        return Problem(Where("DAGSTER_HOME"), what, fix, "database-gone")
    return next(filter(None, map(_of_disk, _chain(error))), None)


def _of_disk(error: BaseException) -> Problem | None:
    return disk_problem(error, Path.cwd()) if isinstance(error, OSError) else None


def _is_of_database(error: BaseException) -> bool:
    """Whether an error is SQLAlchemy's, which need not have been imported, or Dagster's of it."""
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    return not kinds.isdisjoint(_OF_DATABASES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
