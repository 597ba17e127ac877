"""Resources of Python steps: whether what the catalog names can be found, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dsml.contract.catalog import Catalog
from dsml.contract.cells import parse
from dsml.contract.declared import Keys
from dsml.contract.problem import Problem, Where, suggest
from dsml.contract.python_step import CONTEXT, STEP_FN
from dsml.contract.spec import StepSpec

Finding = tuple[str, str]  # what is wrong, and how to mend it

_ANY = "*"  # among the names that a module defines: it may define others too
_BLOCKS = ("body", "orelse", "finalbody", "handlers")


def resource_problems(
    root: Path, catalog: Catalog, steps: Mapping[str, StepSpec]
) -> Iterator[Problem]:
    """Resources that the project doesn't define, and those that steps take and nobody names."""
    for keys, factory in _named(catalog):
        finding = _finding(root, factory)
        if finding is not None:
            what, fix = finding
            yield Problem(catalog.where(*keys), f"{'.'.join(keys)}: {what}", fix, "no-resource")
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
    found = _definition(root, factory)
    if not isinstance(found, _Definition):
        return found
    needed = _needed(found.node)
    if needed:
        what = f"{factory.partition(':')[2]} in {found.path} takes {', '.join(needed)}"
        return what, f"it is called with nothing but {CONTEXT}: give them defaults"
    return None


def finding_of(root: Path, function: str) -> Finding | None:
    """What is wrong with ``module:function``; a module from outside of the project is trusted."""
    found = _definition(root, function)
    return None if isinstance(found, _Definition) else found


@dataclass(frozen=True)
class _Definition:
    """What defines a function of the project, where that can be told, in which file."""

    node: ast.AST | None
    path: str


def _definition(root: Path, factory: str) -> _Definition | Finding | None:
    """What defines ``module:function``, or what is wrong; None: it is not the project's."""
    module, _, name = factory.partition(":")
    top = root / module.partition(".")[0]
    if not (top.is_dir() or top.with_suffix(".py").is_file()):
        return None
    path = root.joinpath(*module.split("."))
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        wanted = files[0].relative_to(root).as_posix()
        return f"there is no module '{module}'", f"write the function {name} in {wanted}"
    shown = file.relative_to(root).as_posix()
    try:
        tree = parse(file.read_text(encoding="utf-8-sig"), magics=False)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        return f"{shown} cannot be read: {error}", "mend the file"
    defined = dict(_definitions(tree))
    if name not in defined and _ANY not in defined:
        return f"{shown} defines no '{name}'", suggest(name, defined)
    return _Definition(defined.get(name), shown)


def _definitions(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The names that a module binds at its top, in its branches too, and what each is."""
    for block in _BLOCKS:
        for node in getattr(tree, block, []):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield (_ANY if node.name == "__getattr__" else node.name), node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((alias.asname or alias.name, node) for alias in node.names)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (n for target in targets for n in ast.walk(target)):
                    if isinstance(name, ast.Name):
                        yield name.id, node
            else:
                yield from _definitions(node)


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
