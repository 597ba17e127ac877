"""The pandera schemas of a project's own that checks name: whether they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsml.contract.definitions import Finding, bound_in
from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec


def schema_problems(root: Path, step: StepSpec) -> Iterator[Problem]:
    """What is wrong with the schemas that a step's checks name; no module is imported."""
    for out, check in step.checks.items():
        found = _finding(root, check.schema) if check.schema else None
        if found:
            yield step.problem(("checks", out, "schema"), *found, "no-schema")


def _finding(root: Path, schema: str) -> Finding | None:
    module, _, name = schema.partition(":")
    bound = bound_in(root, module)
    if bound is None:
        path = f"{module.replace('.', '/')}.py"
        return f"the project has no module '{module}'", f"write {path}, or correct the name"
    if isinstance(bound, tuple):
        return bound
    if name in bound:
        return None
    public = {known for known in bound.nodes if not known.startswith("_")}
    fix = suggest(
        name, public, "" if public else f"assign it there: {name} = pa.DataFrameSchema(...)"
    )
    return f"{bound.path} assigns no '{name}'", fix
