"""Artefacts that are pickles: reading one runs code, so the catalog says which may be read.

Whoever can write to the storage could otherwise run code as whoever runs a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

SUFFIXES = (".joblib", ".pkl", ".pickle")


def is_pickle(file: str) -> bool:
    """Whether a file is a pickle, by its suffix."""
    return PurePosixPath(file).suffix.lower() in SUFFIXES


def is_allowed(source: str, patterns: Iterable[str]) -> bool:
    """Whether an artefact may be read as a pickle; ``*`` in a pattern stands for any characters."""
    return any(fnmatchcase(source, pattern) for pattern in patterns)


def check_pickle(file: str, source: str, patterns: Iterable[str]) -> None:
    """Look whether a file may be read; ``source`` is the catalog path of the artefact.

    Raises:
        ValueError: it is a pickle, and the catalog doesn't allow it.
    """
    if is_pickle(file) and not is_allowed(source, patterns):
        what, fix = refusal(source)
        raise ValueError(f"'{file}': {what}; {fix}")


def refusal(source: str) -> tuple[str, str]:
    """Why an artefact is not read, and how to mend it."""
    what = f"'{source}' is a pickle, which runs code when it is read"
    return what, f"allow it in catalog.yml: pickles: [{source}]"
