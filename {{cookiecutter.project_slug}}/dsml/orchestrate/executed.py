"""The executed notebook: parameters put in before, HTML made of it afterwards."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsml.step.quick_import import without

with without("rfc3987_syntax"):  # jsonschema's grammar of URIs: 1.2 s, and no notebook needs it
    import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from papermill.translators import PythonTranslator

from dsml.contract.cells import OP_PARAMETERS, PARAMETERS
from dsml.contract.percent import SUFFIX, read_script
from dsml.contract.scaffold import KERNEL
from dsml.contract.spec import Function, StepSpec
from dsml.orchestrate.kernel import INJECTED_TAG, LINES_ABOVE, SCRIPT

# The exporter keeps what it is at work on in itself; steps may end in several threads at once.
_EXPORTING = threading.Lock()


def prepare(root: Path, step: StepSpec, parameters: Mapping[str, Any]) -> NotebookNode:
    """Read a step's notebook and put ``parameters`` into a cell of their own below the defaults.

    As papermill does, so that the parameters which are not given keep their defaults. Where there
    is no cell with defaults they stand below ``op_parameters``. For a Python step a notebook is
    made that shows its source and runs it.
    """
    if step.function is not None:
        return _of_function(root, step, step.function)
    notebook = _read(root / step.path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    position = _below(notebook, PARAMETERS) or _below(notebook, OP_PARAMETERS)
    if parameters and position is not None:
        # papermill's class itself: importing dagstermill replaces the registered translator
        source = PythonTranslator.codify(dict(parameters), "Parameters")
        injected = nbformat.v4.new_code_cell(
            source, metadata={"tags": [INJECTED_TAG]}, id=INJECTED_TAG
        )
        notebook.cells.insert(position, injected)
    return notebook


def _read(file: Path) -> NotebookNode:
    """Read a notebook, or make one of the cells of a text notebook."""
    notebook: NotebookNode
    if file.suffix != SUFFIX:
        notebook = nbformat.read(file, as_version=4)
        return notebook
    notebook = nbformat.v4.new_notebook(metadata=KERNEL)
    v4: Any = nbformat.v4
    makers = {"markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}
    for number, cell in enumerate(read_script(file.read_text(encoding="utf-8-sig")), start=1):
        make = makers.get(cell.kind, v4.new_code_cell)
        metadata = {"tags": list(cell.tags), LINES_ABOVE: cell.above}
        notebook.cells.append(make(cell.source, metadata=metadata, id=f"cell-{number}"))
    return notebook


def _of_function(root: Path, step: StepSpec, function: Function) -> NotebookNode:
    """A notebook that runs the function of a Python step; its parameters come with the context."""
    source = (root / step.path).read_text(encoding="utf-8-sig")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
    code = f"{fence}python\n{source.rstrip()}\n{fence}"
    shown = "\n\n".join(filter(None, [f"# {step.name}", step.description, f"`{step.path}`", code]))
    call = f"from dsml.step.function import run_step\n\nrun_step({step.name!r}, {step.path!r})"
    notebook: NotebookNode = nbformat.v4.new_notebook(metadata=KERNEL)
    metadata = {SCRIPT: {"path": step.path, "line": function.line}}
    notebook.cells = [
        nbformat.v4.new_markdown_cell(shown, id="source"),
        nbformat.v4.new_code_cell(call, id="run", metadata=metadata),
    ]
    return notebook


def _below(notebook: NotebookNode, tag: str) -> int | None:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and tag in cell.metadata.get("tags", []):
            return index + 1
    return None


def write_html(notebook: NotebookNode, file: Path) -> None:
    """Write the executed notebook as one HTML file."""
    body: str
    with _EXPORTING:
        body, _ = html_exporter().from_notebook_node(notebook)
    file.write_text(body, encoding="utf-8")


@functools.cache
def html_exporter() -> HTMLExporter:
    """The exporter; made once a process, since it compiles its templates."""
    exporter = HTMLExporter(template_name="lab")
    _ = exporter.template
    return exporter
