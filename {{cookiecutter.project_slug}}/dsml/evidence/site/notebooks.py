"""Executed notebooks as pages: with code for those who look into a run, without it for readers.

What a notebook has put out may be anything, scripts among it. Its page therefore forbids to itself
all that HTML can do beyond being looked at: no script is run, nothing is loaded from anywhere, no
form is sent. The site shows the page in a frame with an empty ``sandbox`` besides, so that no
link in it leads the reader's window elsewhere.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsml.evidence.site.templating import environment

if TYPE_CHECKING:
    from nbconvert import HTMLExporter
    from nbformat import NotebookNode

    from dsml.store.paths import StepRun

# https://www.w3.org/TR/CSP3/: as the first thing in a page it holds for all that follows.
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; font-src data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
_ACTIVE = ("application/javascript", "application/vnd.jupyter.widget-view+json")
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
# By this element a page without scripts could lead elsewhere by itself; the exporter writes none.
_META = re.compile(r"<(?=meta\b)", re.IGNORECASE)
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_REMOVED = {"remove-cell", "remove_cell"}
_SILENT = {"remove-output", "remove_output"}
_NOTE = (
    '<p class="note">This output needs scripts, which are not run here. '
    "It is whole in the executed notebook.</p>"
)
_REMEMBERED = 1000  # texts that are not cleaned twice, ...
_SHORT = 20_000  # ... and the most characters of each
# The exporter keeps what it is at work on in itself; steps may end in several threads at once.
_EXPORTING = threading.Lock()


def notebook_page(notebook: NotebookNode, label: str) -> str:
    """An executed notebook with its code, which a switch in the page hides."""
    title = heading(notebook) or label
    return _page("notebook.html", _without_scripts(notebook), title, label)


def report_page(notebook: NotebookNode, address: StepRun) -> str:
    """A report for readers: texts and outputs of an executed notebook, no code, no prompts.

    The foot of the page says of which step and run it is.
    Cells tagged ``remove-cell`` are left out, as are the outputs of those with ``remove-output``
    and what was written to stderr.
    """
    shown = _without_scripts(notebook)
    shown.cells = [cell for cell in shown.cells if not _REMOVED.intersection(_tags(cell))]
    for cell in shown.cells:
        if cell.cell_type == "code":
            is_silent = _SILENT.intersection(_tags(cell))
            outputs = [] if is_silent else cell.outputs
            cell.outputs = [each for each in outputs if each.get("name") != "stderr"]
    shown.cells = [cell for cell in shown.cells if cell.cell_type != "code" or cell.outputs]
    title = heading(notebook) or address.label
    label = f"{address.label}, run {address.run_id}"
    return _page("report.html", shown, title, label, is_report=True)


def heading(notebook: NotebookNode) -> str:
    """The first heading of a notebook, "" where it has none."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = next(filter(None, map(_HEADING.search, texts)), None)
    return "" if found is None else re.sub(r"[*_`]", "", found[1])


def _tags(cell: NotebookNode) -> list[str]:
    tags: list[str] = cell.metadata.get("tags", [])
    return tags


def _page(
    template: str, notebook: NotebookNode, title: str, label: str, *, is_report: bool = False
) -> str:
    body: str
    with _EXPORTING:
        exporter = _exporter()
        exporter.exclude_input = is_report
        exporter.exclude_input_prompt = exporter.exclude_output_prompt = is_report
        body, _ = exporter.from_notebook_node(notebook)
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            label=label,
            policy=POLICY,
            body=_META.sub("<x-", body),
            highlighting=_highlighting(),
        )
    )


def _without_scripts(notebook: NotebookNode) -> NotebookNode:
    """A copy in which a picture stands for an output that needs scripts, or a note does."""
    import nbformat

    copy: NotebookNode = nbformat.from_dict(notebook)
    for cell in copy.cells:
        for output in cell.get("outputs", ()):
            if "data" in output:
                _calm(output["data"])
    return copy


def _calm(data: dict[str, Any]) -> None:
    was_active = [data.pop(kind) for kind in _ACTIVE if kind in data]
    html = data.get("text/html", "")
    html = "".join(html) if isinstance(html, list) else str(html)
    if _SCRIPT.search(html):
        was_active.append(data.pop("text/html"))
        if not any(kind in data for kind in _PICTURES):
            data["text/html"] = f"{html}{_NOTE}"
    elif was_active and not data:
        data["text/html"] = _NOTE


@functools.cache
def _exporter() -> HTMLExporter:
    """The exporter; made once a process, since it compiles its templates."""
    from nbconvert import HTMLExporter
    from nbconvert.filters import clean_html

    exporter = HTMLExporter(template_name="basic")
    exporter.register_filter("clean_html", _remembering(clean_html))
    return exporter


def _remembering(clean: Callable[[Any], str]) -> Callable[[Any], str]:
    """A filter that knows its last short texts: most notebooks of a site have the same cells."""
    known = functools.lru_cache(_REMEMBERED)(clean)
    return lambda text: (known if len(text) <= _SHORT else clean)(text)


@functools.cache
def _highlighting() -> str:
    """The colours of code, on a light and on a dark ground."""
    from pygments.formatters import HtmlFormatter

    light, dark = (
        HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight")
        for style in ("xcode", "github-dark")  # of which every colour can be read
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
