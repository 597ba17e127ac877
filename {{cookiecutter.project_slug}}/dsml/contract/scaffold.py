"""New notebooks from a skeleton, written as nbformat 4.5 without nbformat itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsml.contract.cells import OP_PARAMETERS, PARAMETERS
from dsml.contract.names import STAGES_FOLDER
from dsml.contract.percent import ScriptCell

STARTER = "main"
CONTEXT = "from dsml import get_context\n\ncontext = get_context(op_parameters)"
_LINE = 100  # characters, as in the project's settings of ruff
KERNEL: dict[str, Any] = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


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
    return as_ipynb(skeleton(about, declaration, parameters, CONTEXT, work))


def skeleton(
    about: str, declaration: Mapping[str, Any], parameters: str, context: str, work: str
) -> dict[str, ScriptCell]:
    """The cells of a notebook that keeps the contract, by their ids."""
    declared = declaration_source(declaration)
    return {
        "heading": ScriptCell("markdown", about),
        "declaration": ScriptCell("code", declared, (OP_PARAMETERS,)),
        "parameters": ScriptCell("code", parameters, (PARAMETERS,)),
        "context": ScriptCell("code", context),
        "work": ScriptCell("code", work),
    }


def declaration_source(declaration: Mapping[str, Any]) -> str:
    """The code of a cell tagged ``op_parameters``, laid out as formatters lay it out."""
    return "\n".join(["op_parameters = {", *_entries(declaration, "    "), "}"])


def _literal(value: Any) -> str:
    """A value as Python writes it, with the quotation marks that formatters prefer."""
    if isinstance(value, Mapping):
        items = (f"{_literal(key)}: {_literal(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _entries(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        name = json.dumps(key, ensure_ascii=False)
        line = f"{indent}{name}: {_literal(value)},"
        if isinstance(value, Mapping) and len(line) > _LINE:
            yield f"{indent}{name}: {{"
            yield from _entries(value, indent + "    ")
            yield f"{indent}}},"
        else:
            yield line


def as_ipynb(cells: Mapping[str, ScriptCell]) -> str:
    """The text of a notebook that holds these cells, which are named by their ids."""
    document = {
        "cells": [_cell(identity, cell) for identity, cell in cells.items()],
        "metadata": KERNEL,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(identity: str, cell: ScriptCell) -> dict[str, Any]:
    made: dict[str, Any] = {
        "cell_type": cell.kind,
        "id": identity,
        "metadata": {"tags": list(cell.tags)} if cell.tags else {},
        "source": cell.source.splitlines(keepends=True),
    }
    if cell.kind == "code":
        made.update(execution_count=None, outputs=[])
    return made
