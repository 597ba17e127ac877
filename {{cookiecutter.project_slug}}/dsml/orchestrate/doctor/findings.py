"""What a check finds, and the register of the checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from dsml.contract.catalog import Catalog, sound_catalog
from dsml.contract.problem import ProjectError
from dsml.orchestrate import HOME_FOLDER
from dsml.store import Store

State = Literal["ok", "warning", "broken"]


@dataclass(frozen=True)
class Finding:
    """What a check has found. ``fix`` says how to mend it, and is empty where nothing is wrong.

    Where something is a ``warning`` runs work, though not as well as they could; where it is
    ``broken`` something that a user may ask for doesn't work.
    """

    check: str
    state: State
    what: str
    fix: str = ""


class Patient:
    """The project that is looked at, as the environment variables make it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog.

        Raises:
            ProjectError: it cannot be used.
        """
        return sound_catalog(self.root)

    @cached_property
    def store(self) -> Store:
        """The storage of the environment that ``DSML_ENV`` names."""
        return Store.open(self.root, self.catalog)

    @property
    def home(self) -> Path:
        """Where Dagster keeps its runs."""
        return Path(os.environ.get("DAGSTER_HOME") or self.root / HOME_FOLDER)


Told = tuple[State, str, str]
Check = Callable[[Patient], Iterable[Told]]
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register a check: it gives a state, what is found and how to mend it, for each finding."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


def examine(root: Path, names: Iterable[str] = ()) -> Iterator[Finding]:
    """Make all checks, or those that are named; a check that fails itself is a finding."""
    from dsml.orchestrate.doctor import machine, services  # noqa: F401 - they register theirs

    patient = Patient(root)
    for name in names or CHECKS:
        try:
            for state, what, fix in CHECKS[name](patient):
                yield Finding(name, state, what, fix)
        except ProjectError as error:
            for problem in error.problems:
                yield Finding(name, "broken", f"{problem.where}: {problem.what}", problem.fix)
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            fix = "mend what the message names, and call it again"
            yield Finding(name, "broken", f"it cannot be looked at: {said}", fix)
