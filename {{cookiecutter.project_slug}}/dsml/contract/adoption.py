"""A notebook from anywhere as a file of the project: read, proposed, compared, written."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsml.contract.cells import Notebook, read_notebook
from dsml.contract.names import STAGES_FOLDER, to_identifier
from dsml.contract.new import checked, step_path, written
from dsml.contract.percent import SUFFIX, ScriptCell, write_script
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.project import read_project
from dsml.contract.proposal import Proposal, Relocate, propose
from dsml.contract.scaffold import as_ipynb
from dsml.contract.spec import files_of

_COMMAND = Where("dsml adopt")


@dataclass(frozen=True)
class Adoption:
    """What would be written to ``path``, and how it differs from the original."""

    path: str
    text: str
    proposal: Proposal
    difference: str


def plan_adoption(root: Path, file: Path, stage: str, name: str | None = None) -> Adoption:
    """Make a step of a notebook; ``name`` defaults to that of the file. Nothing is written.

    Raises:
        ProjectError: the file is no notebook in Python, or the step cannot have that name.
    """
    suffix = file.suffix if file.suffix in (".ipynb", SUFFIX) else ""
    if not suffix:
        raise _refused(file, "is no notebook", "give an .ipynb, or a script with `# %%` cells")
    problems: list[Problem] = []
    project = read_project(root)
    name = to_identifier(file.stem) if name is None else name
    path = step_path(project, f"{stage}/{name}", suffix, problems, _COMMAND)
    if problems:
        raise ProjectError(problems)
    notebook = read_notebook(file, str(file))
    document = _document(file) if suffix == ".ipynb" else {}
    cells = _cells(notebook)
    try:
        artefacts = files_of(project.registered.values())
        proposal = propose(cells, name, artefacts, _relocation(root, file, stage))
    except ValueError as error:
        fix = f"copy it to {path}, then run: dsml register {path}"
        raise _refused(file, str(error), fix) from None
    checked(project, path, proposal.cells, problems, Where(path))
    if problems:
        raise ProjectError(problems)
    text = (
        write_script(proposal.cells)
        if suffix == SUFFIX
        else _with_attachments(as_ipynb(_named(proposal.cells)), proposal.origins, document)
    )
    return Adoption(path, text, proposal, _difference(str(file), cells, path, proposal.cells))


def write_adoption(root: Path, adoption: Adoption) -> None:
    """Write the notebook, as a draft.

    Raises:
        ProjectError: there is a file by now, or it cannot be written.
    """
    with written(root / adoption.path, adoption.text):
        pass


def _refused(file: Path, what: str, fix: str) -> ProjectError:
    return ProjectError([Problem(Where(str(file)), what, fix, "not-adopted")])


def _cells(notebook: Notebook) -> list[ScriptCell]:
    """The cells; those of kinds that only old notebooks have become Markdown."""
    known = ("code", "markdown", "raw")
    cells = []
    for cell in notebook.cells:
        kind = cell.kind if cell.kind in known else "markdown"
        source = f"# {cell.source}" if cell.kind == "heading" else cell.source
        cells.append(ScriptCell(kind, source.rstrip("\n"), tuple(sorted(cell.tags))))
    return cells


def _document(file: Path) -> dict[str, Any]:
    """The whole notebook.

    Raises:
        ProjectError: its language is not Python.
    """
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8-sig"))
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        described = metadata.get(key)
        language = described.get(name) if isinstance(described, dict) else None
        if isinstance(language, str) and "python" not in language.lower():
            raise _refused(file, f"its language is {language}", "a step is written in Python")
    return document


def _relocation(root: Path, file: Path, stage: str) -> Relocate:
    """How a path beside the original is called from the step's folder, where the step runs."""
    old, new = file.resolve().parent, root / STAGES_FOLDER / stage

    def relocate(path: str) -> str:
        target = Path(os.path.normpath(old / path))
        if Path(path).is_absolute() or not (target.exists() or target.is_relative_to(root)):
            return path
        inside = target.is_relative_to(root)
        return Path(os.path.relpath(target, new)).as_posix() if inside else target.as_posix()

    return relocate


def _named(cells: Sequence[ScriptCell]) -> dict[str, ScriptCell]:
    return {f"cell-{number}": cell for number, cell in enumerate(cells, start=1)}


def _with_attachments(text: str, origins: Sequence[int | None], original: dict[str, Any]) -> str:
    """Give cells the pictures back that Markdown shows and that are kept beside its source."""
    before = original.get("cells")
    if not isinstance(before, list):
        return text
    document = json.loads(text)
    for cell, origin in zip(document["cells"], origins, strict=True):
        attachments = before[origin].get("attachments") if origin is not None else None
        if isinstance(attachments, dict) and cell["cell_type"] != "code":
            cell["attachments"] = attachments
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _difference(old: str, before: list[ScriptCell], new: str, after: list[ScriptCell]) -> str:
    lines = difflib.unified_diff(
        write_script(before).splitlines(),
        write_script(after).splitlines(),
        fromfile=old,
        tofile=new,
        lineterm="",
    )
    return "\n".join(lines)
