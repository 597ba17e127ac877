"""What modules of the project define, found without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dsml.contract.problem import suggest
from dsml.contract.source import parse

Finding = tuple[str, str]  # what is wrong, and how to mend it

_ANY = "*"  # among the names that a module binds: it may bind others too
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Bound:
    """The names that a module of the project binds at its top, and what binds each."""

    path: str
    nodes: Mapping[str, ast.AST]

    def __contains__(self, name: str) -> bool:
        return name in self.nodes or _ANY in self.nodes


@dataclass(frozen=True)
class Definition:
    """What defines a function of the project, where that can be told, in which file."""

    node: ast.AST | None
    path: str


def finding_of(root: Path, function: str) -> Finding | None:
    """What is wrong with ``module:function``; a module from outside of the project is trusted."""
    found = definition(root, function)
    return None if isinstance(found, Definition) else found


def definition(root: Path, function: str) -> Definition | Finding | None:
    """What defines ``module:function``, or what is wrong; None: it is not the project's."""
    module, _, name = function.partition(":")
    top = root / module.partition(".")[0]
    if not (top.is_dir() or top.with_suffix(".py").is_file()):
        return None
    bound = bound_in(root, module)
    if bound is None:
        wanted = f"{module.replace('.', '/')}.py"
        return f"there is no module '{module}'", f"write the function {name} in {wanted}"
    if isinstance(bound, tuple):
        return bound
    if name not in bound:
        return f"{bound.path} defines no '{name}'", suggest(name, bound.nodes)
    return Definition(bound.nodes.get(name), bound.path)


def bound_in(root: Path, module: str) -> Bound | Finding | None:
    """The names that a module binds, or why it can't be read; None: the project has none such."""
    path = root.joinpath(*module.split("."))
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    shown = file.relative_to(root).as_posix()
    try:
        tree = parse(file.read_text(encoding="utf-8-sig"), magics=False)
        return Bound(shown, dict(_bound(tree)))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        return f"{shown} cannot be read: {error}", "mend the file"


def _bound(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The names that a module binds at its top, in its branches too."""
    for block in _BLOCKS:
        for node in getattr(tree, block, []):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield (_ANY if node.name == "__getattr__" else node.name), node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((alias.asname or alias.name, node) for alias in node.names)
            else:
                yield from ((name, node) for name in _assigned(node))
                yield from _bound(node)


def _assigned(node: ast.AST) -> Iterator[str]:
    """The names that a statement assigns itself, not in the statements below it."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.stmt | ast.excepthandler | ast.match_case):
            continue
        names = (each for each in ast.walk(part) if isinstance(each, ast.Name))
        yield from (name.id for name in names if isinstance(name.ctx, ast.Store))
