"""The pandera schemas of a project's own that checks name: whether they are there."""

from __future__ import annotations

import re
import symtable
import warnings
from collections.abc import Iterator
from pathlib import Path

from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec

_IMPORTS_ALL = re.compile(r"^\s*from\s+\S+\s+import\s+\*", re.MULTILINE)


def schema_problems(root: Path, step: StepSpec) -> Iterator[Problem]:
    """What is wrong with the schemas that a step's checks name; no module is imported."""
    for out, check in step.checks.items():
        found = _finding(root, check.schema) if check.schema else None
        if found:
            keys = ("checks", out, "schema")
            yield Problem(step.where(*keys), f"{'.'.join(keys)}: {found[0]}", found[1], "no-schema")


def _finding(root: Path, schema: str) -> tuple[str, str] | None:
    """What is wrong with a schema, and how to mend it."""
    module, _, name = schema.partition(":")
    file = _file(root, module)
    if file is None:
        path = f"{module.replace('.', '/')}.py"
        return f"the project has no module '{module}'", f"write {path}, or correct the name"
    shown = file.relative_to(root).as_posix()
    try:
        source = file.read_text(encoding="utf-8-sig")
        names = _names(source)
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        return f"{shown} cannot be read: {error}", "mend the file"
    if name in names or _IMPORTS_ALL.search(source):
        return None
    public = {known for known in names if not known.startswith("_")}
    fix = suggest(
        name, public, "" if public else f"assign it there: {name} = pa.DataFrameSchema(...)"
    )
    return f"{shown} assigns no '{name}'", fix


def _names(source: str) -> set[str]:
    """The names that a module binds at its top, in its branches too."""
    with warnings.catch_warnings():  # of Python, about escapes in strings
        warnings.simplefilter("ignore")
        symbols = symtable.symtable(source, "", "exec").get_symbols()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def _file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    files = (base.with_name(f"{base.name}.py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)
