"""The projects that are measured: as few files as a project needs, with the template's runtime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dsml.contract.register import write_register
from dsml.contract.scaffold import notebook

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}"
SOURCE = "x = 1 + 1"
CHAIN, APART = "chain", "apart"


@dataclass(frozen=True)
class Step:
    """A notebook of a project: its code, and further keys of its ``op_parameters``."""

    work: str = SOURCE
    declared: Mapping[str, Any] = field(default_factory=dict)
    parameters: str = ""


def write_project(
    root: Path,
    steps: Mapping[str, Step],
    environment: Mapping[str, Any] | None = None,
    **pipeline: Any,
) -> Path:
    """Write a project with one pipeline, ``all``; its notebooks are registered."""
    (root / ".dagster").mkdir(parents=True)
    shutil.copy(TEMPLATE / ".dagster" / "dagster.yaml", root / ".dagster")
    shutil.copy(TEMPLATE / "dag.py", root)
    (root / "dsml").symlink_to(TEMPLATE / "dsml", target_is_directory=True)
    for name, step in steps.items():
        declared = {"description": "A step.", "ins": {}, "outs": {}, **step.declared}
        file = root / "stages" / Path(*name.split(".")).with_suffix(".ipynb")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = notebook(f"# {name}", declared, step.parameters, step.work)
        file.write_text(text, encoding="utf-8")
    catalog = {
        "version": 1,
        "project": "bench",
        "environments": {"dev": {"storage": "artefacts", **(environment or {})}},
        "experiments": {"baseline": {}},
        "pipelines": {"all": pipeline},
        "register": {},
    }
    (root / "catalog.yml").write_text(yaml.safe_dump(catalog, sort_keys=False), encoding="utf-8")
    write_register(root)
    return root


def steps(number: int, shape: str, work: str = SOURCE) -> dict[str, Step]:
    """So many notebooks that do the same, in a chain or independent of each other."""
    return {
        f"a.s{i:02}": Step(work, {"after": [f"a.s{i - 1:02}"]} if i and shape == CHAIN else {})
        for i in range(number)
    }


def bare_notebooks(folder: Path, number: int, work: str = SOURCE) -> list[Path]:
    """Notebooks that know nothing of any project: a cell of parameters, and a cell of code."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = [_cell("parameters", "upstream = None\nproduct = None", ["parameters"])]
    cells.append(_cell("work", work, []))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    files = [folder / f"s{i:02}.ipynb" for i in range(number)]
    for file in files:
        file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return files


def _cell(name: str, source: str, tags: Sequence[str]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {"tags": list(tags)},
        "source": source.splitlines(keepends=True),
        "execution_count": None,
        "outputs": [],
    }
