"""Pickles that steps read and the catalog doesn't allow, told before anything is run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from dsml.contract.catalog import Catalog
from dsml.contract.names import step_of
from dsml.contract.pickles import is_allowed, is_pickle, refusal
from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec, files_of

_PATTERN = re.compile(r"[\w.*]+", re.ASCII)


def pickle_problems(
    catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    """Pickles that steps read and the catalog doesn't allow, and patterns that mean nothing."""
    files = files_of(steps.values())
    for step in steps.values():
        for name, source in step.ins.items():
            if is_pickle(files.get(source, "")) and not is_allowed(source, catalog.pickles):
                yield step.problem(("ins", name), *refusal(source), "pickle")
    for i, pattern in enumerate(catalog.pickles):
        where = catalog.where("pickles", str(i))
        if not _PATTERN.fullmatch(pattern):
            fix = 'write catalog paths, or patterns: [train.fit.model, "train.*"]'
            yield Problem(where, f"pickles: {pattern!r} is no catalog path", fix, "no-path")
        elif "*" not in pattern and pattern not in files and step_of(pattern) not in unread:
            what = f"pickles: no step publishes '{pattern}'"
            yield Problem(where, what, suggest(pattern, files), "unknown-path")
