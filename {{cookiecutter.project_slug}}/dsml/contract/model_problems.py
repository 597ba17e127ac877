"""What is wrong with the models of a catalog that only the whole project can tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dsml.contract.catalog import Catalog
from dsml.contract.definitions import Finding, finding_of
from dsml.contract.names import FUNCTION, step_of
from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec


def model_problems(
    root: Path, catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    """Held-out data that no step publishes, and functions that the project doesn't define."""
    artefacts = {path: step for step in steps.values() for path in step.artefacts}
    for model in catalog.models.values():
        keys = ("models", model.name)
        if model.holdout and step_of(model.holdout) not in unread:
            finding = _holdout_finding(model.holdout, artefacts)
            if finding is not None:
                yield catalog.problem((*keys, "holdout"), *finding, "unknown-path")
        if FUNCTION.fullmatch(model.score):
            finding = finding_of(root, model.score)
            if finding is not None:
                yield catalog.problem((*keys, "score"), *finding, "no-score")


def _holdout_finding(path: str, artefacts: Mapping[str, StepSpec]) -> Finding | None:
    if path not in artefacts:
        return f"no step publishes '{path}'", suggest(path, artefacts)
    if artefacts[path].map:
        what = f"'{path}' is published by each instance of a mapped step"
        return what, "name an artefact of a step that is run once"
    return None
