"""A copy of a notebook in which an attempt at it can be gone through by hand."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat

from dsml.contract.figures import short_id
from dsml.contract.project import DEBUG_SUFFIX, Project
from dsml.orchestrate.executed import prepare
from dsml.step.inputs import ATTEMPT, name_attempt
from dsml.store import Attempt

_MARKER = """\
# Written by `dsml debug`. Run this cell first: with it, {reader} below reads the inputs of
# attempt {number} at {step} in run {run}, and writes outs to a scratch folder.
import os

os.environ["DSML_ENV"] = {environment!r}
os.environ["{variable}"] = {name!r}"""


def debug_notebook(project: Project, attempt: Attempt) -> tuple[Path, bool]:
    """Write the copy beside its notebook, where relative paths and imports are those of a run.

    Git, ``dsml check`` and the register pass it over. A copy that is there already is kept, with
    what was changed in it.

    Returns:
        The copy, and whether it was written now.
    """
    step = project.steps[attempt.step]
    source = project.root / step.path
    number = f"-{attempt.number}" if attempt.number > 1 else ""
    stem = step.name if step.pipeline else source.stem  # one file may be that of several steps
    instance = f".{attempt.instance}" if attempt.instance is not None else ""
    run = short_id(attempt.run_id)
    file = source.with_name(f"{stem}{instance}.{run}{number}{DEBUG_SUFFIX}")
    if file.exists():
        return file, False
    given = {n: v.value for n, v in attempt.parameters.items() if n in step.parameters}
    notebook = prepare(project.root, step, given)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_marker(project, attempt), id="debug"))
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    partial.replace(file)
    return file, True


def _marker(project: Project, attempt: Attempt) -> str:
    step = project.steps[attempt.step]
    return _MARKER.format(
        reader="get_context" if step.function is None else "run_step",
        number=attempt.number,
        step=attempt.address.label,
        run=short_id(attempt.run_id),
        environment=project.catalog.environment().name,
        variable=ATTEMPT,
        name=name_attempt(attempt),
    )
