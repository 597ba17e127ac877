"""``dsml new --python``: a Python step from the skeleton, checked and registered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsml.contract.modules import Modules
from dsml.contract.names import is_identifier
from dsml.contract.new import (
    COMMAND,
    OTHER,
    Placeholder,
    declaration_of,
    joining_problems,
    placeholder_of,
    step_path,
    written,
)
from dsml.contract.percent import SUFFIX
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import read_project
from dsml.contract.python_step import CONTEXT, STEP_FN, Script, declared_step, read_script
from dsml.contract.register import write_register
from dsml.contract.scaffold import declaration_source
from dsml.contract.spec import StepSpec

_FILE = '''\
"""{description}

What this step does, and why.
"""

{imports}{declaration}


def {function}({takes}):
    # What an experiment may change goes behind a *, with type, default and description:
    # def step_fn(
    #     *,
    #     n_rows: int = 1000,  # how many rows to read
    # ):
{work}


if __name__ == "__main__":  # by hand: with the newest inputs; outs go to a scratch folder
    from dsml import run_by_hand

    run_by_hand({function})
'''
_NO_WORK = "    ...  # the work of the step goes here"
_PLACEHOLDERS = "    # Each value below is a placeholder for what the step makes."


def new_python_step(
    root: Path, step: str, ins: Sequence[str] = (), outs: Sequence[str] = ()
) -> StepSpec:
    """Write ``stages/<stage>/<name>.py`` with a ``step_fn`` and register it.

    ``step`` is ``stage/name``, ``ins`` are ``name=catalog path``, ``outs`` ``name=file name``. The
    step runs as it is, once the steps that it reads from have been run.

    Raises:
        ProjectError: with all that is wrong with the request or the project; nothing is written.
    """
    problems: list[Problem] = []
    project = read_project(root)
    path = step_path(project, step, SUFFIX, problems, COMMAND)
    declaration = declaration_of(path, ins, outs, problems)
    problems += _shadowed(declaration)
    text = _file(declaration)
    found: list[Problem] = []
    spec: StepSpec | None = None
    with contextlib.suppress(SyntaxError):  # of a name that is none, which has been told
        spec = declared_step(
            read_script(Script(path, 1, "code", text), found, Modules(root)), found
        )
    found += [] if spec is None else joining_problems(project, spec)
    problems += [replace(problem, where=COMMAND) for problem in found]
    if spec is None or problems:
        raise ProjectError(problems)
    with written(root / path, text):
        write_register(root, [path])
    return spec


def _shadowed(declaration: Mapping[str, Any]) -> list[Problem]:
    """The ins that are named like a module which the file imports."""
    imported = {
        placeholder_of(file).statement.rpartition(" ")[2] for file in declaration["outs"].values()
    }
    what, fix = "the file imports something of that name", "choose another name for it"
    return [
        Problem(COMMAND, f"--in {name}: {what}", fix, "duplicate")
        for name in declaration["ins"]
        if name in imported
    ]


def _file(declaration: Mapping[str, Any]) -> str:
    made = {name: placeholder_of(file) for name, file in declaration["outs"].items()}
    by_path = [n for n, placeholder in made.items() if not placeholder.value and is_identifier(n)]
    takes = [*filter(is_identifier, declaration["ins"]), *([CONTEXT] if by_path else [])]
    imports = sorted({placeholder.statement for placeholder in made.values()} - {""})
    return _FILE.format(
        description=declaration["description"],
        imports="".join(f"{line}\n" for line in imports) + ("\n" if imports else ""),
        declaration=declaration_source(declaration),
        function=STEP_FN,
        takes=", ".join(takes),
        work="\n".join(_work(made, by_path)) if made else _NO_WORK,
    )


def _work(made: Mapping[str, Placeholder], by_path: Iterable[str]) -> list[str]:
    """The lines that make the outs; one without a format of its own is written to its path."""
    lines = [_PLACEHOLDERS]
    lines += [f"    {OTHER.format(name=name)}" for name in by_path]
    values = ", ".join(placeholder.value or "None" for placeholder in made.values())
    return [*lines, f"    return {values}"]
