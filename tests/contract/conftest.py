"""The smallest projects that show something: a catalog and a few notebooks of a few lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest

from dsml.contract.cells import Notebook, read_notebook
from dsml.contract.problem import Problem, ProjectError, Severity, Where, render
from dsml.contract.project import Project, read_project
from dsml.contract.register import check_project, write_register
from dsml.contract.spec import StepSpec, read_spec

RUNTIME = Path(__file__).resolve().parents[2] / "{{cookiecutter.project_slug}}"
CONTEXT = "context = get_context(op_parameters)"
USE = "use(context.ins, context.outs)"  # so that no in and no out is left unused


def cell(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
    """One cell of nbformat 4, its source shifted to the left."""
    made: dict[str, Any] = {
        "cell_type": kind,
        "metadata": {"tags": list(tags)} if tags else {},
        "source": dedent(source).strip("\n"),
    }
    return {**made, "execution_count": None, "outputs": []} if kind == "code" else made


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    """A notebook of nbformat 4.4, which needs no ids."""
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


def step_cells(
    op_parameters: str = "{}", parameters: str = "", *more: dict[str, Any]
) -> dict[str, Any]:
    """A notebook that keeps the contract, from the text of its dict and its `parameters` cell."""
    cells = [cell(f"op_parameters = {dedent(op_parameters).strip()}", "op_parameters")]
    if parameters:
        cells.append(cell(parameters, "parameters"))
    return document(*cells, cell(f"{CONTEXT}\n{USE}"), *more)


class Maker:
    """Builds one project in a folder, and asks the contract what it thinks of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog("version: 1\n")

    def catalog(self, text: str) -> Maker:
        """Write `catalog.yml` as it stands here, but shifted to the left."""
        (self.root / "catalog.yml").write_text(dedent(text), encoding="utf-8", newline="")
        return self

    def file(self, path: str, content: str | bytes) -> Maker:
        """Write any file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def notebook(self, name: str, made: dict[str, Any]) -> Maker:
        """Write the notebook of the step `stage.notebook`."""
        return self.file(f"stages/{name.replace('.', '/')}.ipynb", json.dumps(made))

    def step(self, name: str, op_parameters: str = "{}", parameters: str = "") -> Maker:
        """Write a notebook that keeps the contract."""
        return self.notebook(name, step_cells(op_parameters, parameters))

    def register(self) -> Maker:
        """Register all notebooks."""
        write_register(self.root)
        return self

    @property
    def text(self) -> str:
        """The catalog, line ends as they are in the file."""
        return (self.root / "catalog.yml").read_bytes().decode()

    @property
    def project(self) -> Project:
        """What the contract reads of the project."""
        return read_project(self.root)

    @property
    def messages(self) -> str:
        """All errors as the user sees them."""
        return render(check_project(self.root).errors)

    @property
    def notes(self) -> str:
        """All findings that are no errors."""
        found = check_project(self.root)
        return render(problem for problem in found.problems if problem.severity != "error")

    def refused(self) -> str:
        """The message with which the register is not written."""
        with pytest.raises(ProjectError) as caught:
            write_register(self.root)
        return str(caught.value)

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`python -m dsml ...` in the project, as a user does it."""
        return subprocess.run(
            [sys.executable, "-m", "dsml", *arguments],
            cwd=cwd or self.root,
            env={"PYTHONPATH": str(RUNTIME), "PYTHONUTF8": "1", "PATH": ""},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )


_WORD = re.compile(r'"([a-z]+(?:-[a-z]+)*)"')
_WORDS = {
    word
    for file in (RUNTIME / "dsml" / "contract").glob("*.py")
    for word in _WORD.findall(file.read_text(encoding="utf-8"))
}
KINDS = _WORDS | {f"unknown-{word}" for word in _WORDS}  # of problems, and some more


@pytest.fixture(autouse=True)
def every_problem_is_well_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at whatever any test is told: its place, its kind, and both of its sentences."""
    finish = Problem.__post_init__

    def look(problem: Problem) -> None:
        finish(problem)
        assert isinstance(problem.where, Where)
        assert isinstance(problem.where.path, str)
        assert problem.where.path
        assert problem.name in KINDS
        assert problem.severity in get_args(Severity)
        for text in (problem.what, problem.fix):
            first = text.split()[0]
            assert not (first.isalpha() and first[0].isupper())  # unless it is a name, or quoted
            assert not text.endswith(".")

    monkeypatch.setattr(Problem, "__post_init__", look)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """An empty project to fill."""
    return Maker(tmp_path)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Notebook]:
    """Read a notebook from its bytes, text or document."""

    def read(content: bytes | str | dict[str, Any]) -> Notebook:
        file = tmp_path / "fit.ipynb"
        text = json.dumps(content) if isinstance(content, dict) else content
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_notebook(file, "stages/train/fit.ipynb")

    return read


@pytest.fixture
def spec_of(read: Callable[..., Notebook]) -> Callable[..., tuple[StepSpec | None, str]]:
    """Read a step: what it declares, and what is wrong with it as the user sees it."""

    def spec_of(made: dict[str, Any]) -> tuple[StepSpec | None, str]:
        problems: list[Problem] = []
        spec = read_spec(read(made), problems)
        return spec, render(problems)

    return spec_of
