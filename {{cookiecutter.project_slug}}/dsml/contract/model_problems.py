"""What is wrong with the models of a catalog that only the whole project can tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dsml.contract.catalog import Catalog
from dsml.contract.models import FUNCTION
from dsml.contract.problem import Problem, suggest
from dsml.contract.resources import Finding, finding_of
from dsml.contract.spec import StepSpec


def model_problems(
    root: Path, catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    """Held-out data that no step publishes, and functions that the project doesn't define."""
    artefacts = {path: step for step in steps.values() for path in step.artefacts}
    for model in catalog.models.values():
        found: list[tuple[str, Finding, str]] = []
        if model.holdout and model.holdout.rpartition(".")[0] not in unread:
            finding = _holdout_finding(model.holdout, artefacts)
            found += [("holdout", finding, "unknown-path")] if finding else []
        if FUNCTION.fullmatch(model.score):
            finding = finding_of(root, model.score)
            found += [("score", finding, "no-score")] if finding else []
        for name, (what, fix), kind in found:
            keys = ("models", model.name, name)
            yield Problem(catalog.where(*keys), f"{'.'.join(keys)}: {what}", fix, kind)


def _holdout_finding(path: str, artefacts: Mapping[str, StepSpec]) -> Finding | None:
    if path not in artefacts:
        return f"no step publishes '{path}'", suggest(path, artefacts)
    if artefacts[path].map:
        what = f"'{path}' is published by each instance of a mapped step"
        return what, "name an artefact of a step that is run once"
    return None
