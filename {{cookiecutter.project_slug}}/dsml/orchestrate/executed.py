"""The executed notebook: parameters put in before, HTML made of it afterwards."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsml.orchestrate.quick_import import without

with without("rfc3987_syntax"):
    import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from papermill.translators import PythonTranslator

from dsml.contract.cells import PARAMETERS
from dsml.orchestrate.kernel import INJECTED_TAG

NOTEBOOK_FILE = "executed.ipynb"
HTML_FILE = "executed.html"


def prepare(file: Path, parameters: Mapping[str, Any]) -> NotebookNode:
    """Read a notebook and put ``parameters`` into a cell of their own below the defaults.

    As papermill does, so that the parameters which are not given keep their defaults.
    """
    notebook: NotebookNode = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    position = _below_parameters(notebook)
    if parameters and position is not None:
        # papermill's class itself: importing dagstermill replaces the registered translator
        source = PythonTranslator.codify(dict(parameters), "Parameters")
        injected = nbformat.v4.new_code_cell(
            source, metadata={"tags": [INJECTED_TAG]}, id=INJECTED_TAG
        )
        notebook.cells.insert(position, injected)
    return notebook


def _below_parameters(notebook: NotebookNode) -> int | None:
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and PARAMETERS in cell.metadata.get("tags", []):
            return index + 1
    return None


def write_html(notebook: NotebookNode, file: Path) -> None:
    """Write the executed notebook as one HTML file."""
    body: str
    body, _ = html_exporter().from_notebook_node(notebook)
    file.write_text(body, encoding="utf-8")


@functools.cache
def html_exporter() -> HTMLExporter:
    """The exporter; made once a process, since it compiles its templates."""
    exporter = HTMLExporter(template_name="lab")
    _ = exporter.template
    return exporter
