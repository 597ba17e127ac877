"""``dsml new``: a notebook from the skeleton, checked before it is written, then registered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dsml.contract.cells import Notebook, numbered
from dsml.contract.graph import graph_problems
from dsml.contract.names import STAGES_FOLDER, folded, is_identifier, to_identifier
from dsml.contract.percent import SUFFIX, ScriptCell, write_script
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.project import Project, needed_drafts, read_project
from dsml.contract.register import write_register
from dsml.contract.scaffold import CONTEXT, as_ipynb, skeleton
from dsml.contract.spec import StepSpec, files_of, read_spec

COMMAND = Where("dsml new")
_PARAMETERS = """\
# What an experiment may change, each with type, default and description, for instance:
# n_rows: int = 1000  # how many rows to read"""
_WORK = "# Each line below is a placeholder for what the step makes."


class Placeholder(NamedTuple):
    """A value that stands for what a new step makes, and the import that it needs."""

    statement: str = ""
    value: str = ""


_FRAME = Placeholder("import pandas as pd", 'pd.DataFrame({"value": [0.0]})')
_FIGURE = Placeholder("import matplotlib.pyplot as plt", "plt.figure()")
_TEXT = Placeholder("", '"nothing yet\\n"')
_OBJECT = Placeholder("", "{}")
PLACEHOLDERS = {  # by suffix
    ".parquet": _FRAME,
    ".csv": _FRAME,
    ".npy": Placeholder("import numpy as np", "np.zeros(1)"),
    ".png": _FIGURE,
    ".json": _OBJECT,
    ".joblib": _OBJECT,
    ".pkl": _OBJECT,
    ".pickle": _OBJECT,
    ".txt": _TEXT,
    ".md": _TEXT,
    ".html": _TEXT,
}
OTHER = 'context.outs.{name}.write_bytes(b"")  # write the file to this path yourself'
_TAKEN = ("context", "get_context", "op_parameters", "np", "pd", "plt")


def new_notebook(
    root: Path,
    step: str,
    ins: Sequence[str] = (),
    outs: Sequence[str] = (),
    *,
    text: bool = False,
) -> StepSpec:
    """Write ``stages/<stage>/<name>.ipynb`` (``text``: ``.py``) and register it.

    ``step`` is ``stage/name``, ``ins`` are ``name=catalog path``, ``outs`` ``name=file name``. The
    notebook runs as it is, once the steps that it reads from have been run.

    Raises:
        ProjectError: with all that is wrong with the request or the project; nothing is written.
    """
    problems: list[Problem] = []
    project = read_project(root)
    path = step_path(project, step, SUFFIX if text else ".ipynb", problems, COMMAND)
    declaration = declaration_of(path, ins, outs, problems)
    cells = _cells(declaration, files_of(project.steps.values()))
    spec = checked(project, path, cells.values(), problems, COMMAND)
    if spec is None or problems:
        raise ProjectError(problems)
    content = write_script(cells.values()) if text else as_ipynb(cells)
    with written(root / path, content):
        write_register(root, [path])
    return spec


def declaration_of(
    path: str, ins: Sequence[str], outs: Sequence[str], problems: list[Problem]
) -> dict[str, Any]:
    """What a new step declares; what is wrong with the request goes to ``problems``."""
    return {
        "description": f"{PurePosixPath(path).stem.replace('_', ' ').capitalize()}.",
        "ins": _pairs("--in", ins, "the catalog path of an artefact", problems),
        "outs": _pairs("--out", outs, "a file name", problems),
    }


def step_path(
    project: Project, step: str, suffix: str, problems: list[Problem], where: Where
) -> str:
    """The path of a new step, ``stage/name``; what stands against it goes to ``problems``."""
    stage, slash, name = step.partition("/")
    path = f"{STAGES_FOLDER}/{stage}/{name}"
    if not slash or "/" in name or not stage or not name:
        fix = "write it as STAGE/NAME, for instance train/fit"
        problems.append(Problem(where, f"'{step}' names no stage and notebook", fix, "no-path"))
        return path + suffix
    for part in (stage, name):
        if not is_identifier(part):
            fix = f"write {to_identifier(stage)}/{to_identifier(name)}"
            what = f"'{part}' is no Python identifier"
            problems.append(Problem(where, what, fix, "no-identifier"))
    key = folded(f"{stage}.{name}")
    same = [step.path for step in project.steps.values() if folded(step.name) == key]
    same += [p for p in (f"{path}.ipynb", f"{path}{SUFFIX}") if (project.root / p).exists()]
    if same:
        fix = "choose another name; nothing is overwritten"
        problems.append(Problem(where, f"{same[0]} is there already", fix, "duplicate"))
    return path + suffix


def checked(
    project: Project, path: str, cells: Iterable[ScriptCell], problems: list[Problem], where: Where
) -> StepSpec | None:
    """The step that cells which are not written yet declare; findings are told of ``where``."""
    found: list[Problem] = []
    spec = read_spec(Notebook(path, tuple(numbered(path, cells))), found)
    found += [] if spec is None else joining_problems(project, spec)
    problems += [replace(problem, where=where) for problem in found]
    return spec


def joining_problems(project: Project, spec: StepSpec) -> list[Problem]:
    """What is wrong with a project when a new step is joined to it, and was not before."""
    others = {name: step for name, step in project.steps.items() if name != spec.name}
    before = graph_problems(others)
    found = [p for p in graph_problems({**others, spec.name: spec}) if p not in before]
    drafts = needed_drafts(project, spec)
    return found + [Problem(Where(spec.path), *draft, "draft-needed") for draft in drafts]


def _pairs(
    option: str, given: Sequence[str], meaning: str, problems: list[Problem]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            fix = f"write {option} name=value, where the value is {meaning}"
            problems.append(Problem(COMMAND, f"{option} {pair}: is no pair", fix, "no-pair"))
        elif name in found:
            what = f"{option} {pair}: '{name}' is given twice"
            problems.append(Problem(COMMAND, what, "give each its own name", "duplicate"))
        else:
            found[name] = value
    return found


def _cells(declaration: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, ScriptCell]:
    """The cells; ``files`` are the files of all artefacts, by catalog path."""
    outs = declaration["outs"]
    placeholders = {name: placeholder_of(file) for name, file in outs.items()}
    imports = sorted({placeholder.statement for placeholder in placeholders.values()} - {""})
    loads = [_load(name, files.get(path, "")) for name, path in declaration["ins"].items()]
    context = "\n".join([*imports, *([""] if imports else []), CONTEXT, *loads])
    saves = [
        f'context.save("{name}", {made.value})' if made.value else OTHER.format(name=name)
        for name, made in placeholders.items()
    ]
    about = f"# {declaration['description'].rstrip('.')}\n\nWhat this step does, and why."
    work = "\n".join([_WORK, *saves]) if saves else "# The work of the step goes here."
    return skeleton(about, declaration, _PARAMETERS, context, work)


def placeholder_of(file: str) -> Placeholder:
    """What stands for the content of a file; nothing where its format has no writer."""
    return PLACEHOLDERS.get(_suffix(file), Placeholder())


def _load(name: str, file: str) -> str:
    variable = f"{name}_in" if name in _TAKEN else name
    if _suffix(file) in PLACEHOLDERS:
        return f'{variable} = context.load("{name}")'
    return f"{variable} = context.ins.{name}  # the path of a file that you read yourself"


def _suffix(file: str) -> str:
    return PurePosixPath(file).suffix.lower()


@contextlib.contextmanager
def written(file: Path, text: str) -> Iterator[None]:
    """Write a new file, and take it away again if the block fails."""
    folder = file.parent
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        problem = Problem(Where(str(file)), what, "let it be written", "no-write")
        raise ProjectError([problem]) from None
    try:
        yield
    except BaseException:
        file.unlink()
        if is_new:
            folder.rmdir()
        raise
