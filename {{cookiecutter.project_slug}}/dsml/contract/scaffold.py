"""New notebooks from a skeleton, written as nbformat 4.5 without nbformat itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsml.contract.cells import OP_PARAMETERS, PARAMETERS
from dsml.contract.project import STAGES_FOLDER

STARTER = "main"


def starter_stages(root: Path, stages: Sequence[str]) -> list[Path]:
    """Write one starter notebook a stage, each reading what the one before it wrote.

    They run as they are. A notebook that exists already is left alone.
    """
    written: list[Path] = []
    source: str | None = None
    for stage in stages:
        file = root / STAGES_FOLDER / stage / f"{STARTER}.ipynb"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_starter(stage, source), encoding="utf-8", newline="\n")
            written.append(file)
        source = f"{stage}.{STARTER}.data"
    return written


def _starter(stage: str, source: str | None) -> str:
    title = stage.replace("_", " ").capitalize()
    if source is None:
        about = f"# {title}\n\nMakes a list of numbers. Put the loading of your own data here."
        parameters = "count: int = 10  # how many numbers to make"
        work = 'numbers = [float(number) for number in range(count)]\ncontext.save("data", numbers)'
        return notebook(about, _declaration(f"{title}.", {}), parameters, work)
    about = f"# {title}\n\nScales the numbers that `{source}` holds. Put your own step here."
    parameters = "factor: float = 2.0  # what every number is multiplied by"
    work = (
        'numbers = [factor * number for number in context.load("data")]\n'
        'context.save("data", numbers)\n'
        'context.log_metric("total", sum(numbers))'
    )
    return notebook(about, _declaration(f"{title}.", {"data": source}), parameters, work)


def _declaration(description: str, ins: Mapping[str, str]) -> dict[str, Any]:
    return {"description": description, "ins": dict(ins), "outs": {"data": "data.json"}}


def notebook(about: str, declaration: Mapping[str, Any], parameters: str, work: str) -> str:
    """The text of a notebook that keeps the contract: four cells and a heading."""
    declared = "\n".join(
        f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},"
        for key, value in declaration.items()
    )
    cells = [
        _cell("heading", about),
        _cell("declaration", f"op_parameters = {{\n{declared}\n}}", OP_PARAMETERS),
        _cell("parameters", parameters, PARAMETERS),
        _cell("context", "from dsml import get_context\n\ncontext = get_context(op_parameters)"),
        _cell("work", work),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(identity: str, source: str, tag: str | None = None) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "markdown" if identity == "heading" else "code",
        "id": identity,
        "metadata": {"tags": [tag]} if tag else {},
        "source": source.splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        cell.update(execution_count=None, outputs=[])
    return cell
