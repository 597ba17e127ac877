"""The pages of a run: the run itself, its steps, their attempts with notebook and log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dsml.contract.figures import duration, short_id
from dsml.evidence.charts import gantt_svg, graph_svg
from dsml.evidence.comparison_view import text_of
from dsml.evidence.records import WENT_WRONG
from dsml.evidence.site.facts import AttemptFacts, File, RunFacts, StepFacts
from dsml.evidence.site.files import Folder
from dsml.evidence.site.notebooks import notebook_page, report_page
from dsml.evidence.site.reader import Reader
from dsml.evidence.site.templating import INDEX, environment, script
from dsml.evidence.steps import told
from dsml.store.runs import TRACE_FILE

DATA = "data.js"
NOTEBOOK, REPORT, LOG = "notebook.html", "report.html", "log.txt"
_LARGEST = 32 * 1024 * 1024  # bytes of an executed notebook that is turned into a page
_FIGURES = 24  # on the page of a run; the pages of its steps have them all


class Pages:
    """Writes the pages of one run into its folder; ``assets`` is the folder of style and scripts.

    The pages that lead to others are written after these.
    """

    def __init__(self, reader: Reader, run: RunFacts, folder: Folder, assets: str) -> None:
        self._reader = reader
        self._run = run
        self._folder = folder
        self._assets = assets

    def write(self) -> None:
        """Write all of them."""
        for step in self._run.leaves:
            for attempt in step.attempts:
                self._attempt(step, attempt)
            for file in (*step.figures, *step.artefacts):
                self._copy(file)
            self._page("step.html", "../../../", (step.label, INDEX), step=step)
        self._folder.write(self._run.trace.to_json(), TRACE_FILE)
        self._folder.write(self._data(), DATA)
        figures = [figure for step in self._run.leaves for figure in step.pictures]
        self._page(
            "run.html",
            "../../",
            (INDEX,),
            graph=graph_svg(self._run.trace),
            gantt=gantt_svg(self._run.trace),
            figures=figures[:_FIGURES],
            more_figures=max(0, len(figures) - _FIGURES),
            not_begun=self._run.attribute("dsml.run.not_begun") or [],
        )
        self._folder.prune()

    def _page(self, template: str, up: str, parts: tuple[str, ...], **values: Any) -> None:
        """Write a page; ``up`` leads from it to the folder of the site."""
        page = environment().get_template(template)
        text = page.render(run=self._run, up=up, assets=f"{up}{self._assets}", told=told, **values)
        self._folder.write(text, *parts)

    def _attempt(self, step: StepFacts, attempt: AttemptFacts) -> None:
        place = (step.label, str(attempt.number))
        notes: list[str] = []
        for note, name, text in self._notebooks(step, attempt):
            if note:
                notes.append(note)
            else:
                self._folder.write(text, *place, name)
        if attempt.log:
            self._folder.write(attempt.log, *place, LOG)
        self._page(
            "attempt.html",
            "../../../../",
            (*place, INDEX),
            step=step,
            attempt=attempt,
            notes=notes,
        )

    def _notebooks(self, step: StepFacts, attempt: AttemptFacts) -> Iterator[tuple[str, str, str]]:
        """A note, or the name of a page and the page."""
        if not attempt.has_notebook:
            return
        content = self._reader.notebook(attempt)
        if len(content) > _LARGEST:
            yield f"It has {len(content):,} bytes, which are too many for a page.", "", ""
            return
        import nbformat

        try:
            notebook = nbformat.reads(content.decode(), as_version=4)
            yield "", NOTEBOOK, notebook_page(notebook, step.label)
            if attempt.has_report:
                yield "", REPORT, report_page(notebook, attempt.tried.attempt.address)
        except Exception as error:  # whatever the library makes of a broken notebook
            yield f"It cannot be shown: {type(error).__name__}: {error}", "", ""

    def _copy(self, file: File) -> None:
        """The picture or the page of a file that has one, beside the page of its step."""
        parts = (file.label, *file.copy.split("/"))
        if file.glance.picture:
            self._folder.write(file.glance.picture, *parts)
        elif file.glance.page:
            self._page("figure.html", "../../../../", parts, file=file)

    def _data(self) -> str:
        """What the comparison of runs loads, a script since pages on disk can load nothing else."""
        columns = [
            [column.kind, column.step, column.name, value, text_of(value)]
            for column, value in self._run.values.items()
        ]
        key = json.dumps(self._run.run_id)
        return "window.dsmlValues = window.dsmlValues || {};\n" + script(
            f"window.dsmlValues[{key}]", columns
        )


def row_of(run: RunFacts) -> dict[str, Any]:
    """What the list of all runs says of a run."""
    span, record = run.trace.run, run.record
    bad = [s.label for s in run.leaves if s.span.outcome in WENT_WRONG]
    reports = [[step.label, str(step.report.number)] for step in run.reports if step.report]
    return {
        "id": run.run_id,
        "short": short_id(run.run_id),
        "status": run.outcome,
        "pipeline": span.name if record else "",
        "experiment": run.attribute("dsml.experiment"),
        "partition": run.attribute("dsml.partition"),
        "user": run.attribute("dsml.run.user"),
        "by": run.attribute("dsml.run.started_by"),
        "commit": run.commit[:8],
        "dirty": bool(run.attribute("dsml.git.dirty")),
        "started": span.started.isoformat(timespec="seconds"),
        "seconds": round(span.seconds, 1),
        "took": duration(span.seconds),
        "bad": bad[:5],
        "reports": reports,
        "metrics": {
            column.label: value for column, value in run.values.items() if column.kind == "metric"
        },
    }
