"""Resources of Python steps: whether what the catalog names can be found, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from dsml.contract.catalog import Catalog
from dsml.contract.declared import Keys
from dsml.contract.definitions import Definition, Finding, definition
from dsml.contract.problem import Problem, Where, suggest
from dsml.contract.python_step import CONTEXT, STEP_FN
from dsml.contract.spec import StepSpec


def resource_problems(
    root: Path, catalog: Catalog, steps: Mapping[str, StepSpec]
) -> Iterator[Problem]:
    """Resources that the project doesn't define, and those that steps take and nobody names."""
    for keys, factory in _named(catalog):
        finding = _finding(root, factory)
        if finding is not None:
            yield catalog.problem(keys, *finding, "no-resource")
    # a file may be that of several steps
    yield from dict.fromkeys(p for step in steps.values() for p in _lacking(catalog, step))


def _named(catalog: Catalog) -> Iterator[tuple[Keys, str]]:
    for name, factory in catalog.resources.items():
        yield ("resources", name), factory
    for environment in catalog.environments.values():
        for name, factory in environment.resources.items():
            yield ("environments", environment.name, "resources", name), factory


def _lacking(catalog: Catalog, step: StepSpec) -> Iterator[Problem]:
    for name, line in step.function.resources.items() if step.function else ():
        environments = catalog.environments.values()
        lacking = [e.name for e in environments if name not in {**catalog.resources, **e.resources}]
        if lacking:
            what = f"{STEP_FN}: there is no resource '{name}'"
            if len(lacking) < len(environments):
                what += f" in the environment {', '.join(lacking)}"
            otherwise = (
                f"name it in catalog.yml, resources: {{{name}: module:function}}; "
                "with a default it is a parameter"
            )
            fix = suggest(name, catalog.resources, otherwise)
            yield Problem(Where(step.path, line=line), what, fix, "no-resource")


def _finding(root: Path, factory: str) -> Finding | None:
    found = definition(root, factory)
    if not isinstance(found, Definition):
        return found
    needed = _needed(found.node)
    if needed:
        what = f"{factory.partition(':')[2]} in {found.path} takes {', '.join(needed)}"
        return what, f"it is called with nothing but {CONTEXT}: give them defaults"
    return None


def _needed(node: ast.AST | None) -> list[str]:
    """The parameters that a function cannot be called without."""
    if not isinstance(node, ast.FunctionDef):
        return []
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    needed += [arg for arg, default in keywords if default is None]
    return [arg.arg for arg in needed if arg.arg != CONTEXT]
