"""The trace of a run: what happened when, and what came of it, as spans of OpenTelemetry.

::

    from dsml.evidence import trace

    run = trace.load("latest")
    for attempt in run.find(level="attempt", outcome="failed"):
        print(attempt.step, attempt.seconds, attempt.message)

It is put together from the records that each attempt leaves in the store, so a run that was killed
has one as well, and a notebook can look at its own run: ``trace.load(context.run_id)``. When a run
ends its trace is written to ``.runs/<run id>/trace.json`` below the storage, in OTLP's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from dsml.contract.catalog import read_catalog
from dsml.contract.problem import Problem, ProjectError, Where, suggest_run
from dsml.contract.project import find_root
from dsml.evidence.assemble import spans_of
from dsml.evidence.query import COMMAND, select, value_of
from dsml.evidence.records import Tried, read_records
from dsml.step.facts import now
from dsml.step.otlp import from_otlp, to_otlp
from dsml.step.spans import ATTEMPT, INSTANCE, RUN, STEP, Span
from dsml.store import Store
from dsml.store.remote import read_if_there
from dsml.store.runs import RUN_FILE, TRACE_FILE, read_run, run_ids, run_path

LATEST = "latest"
_SKEW = 60.0  # seconds by which the clock of a file server may be slow


class Trace:
    """The spans of one run, parents before what is below them."""

    def __init__(self, run_id: str, spans: Iterable[Span]) -> None:
        self.run_id = run_id
        self.spans = list(spans)

    @cached_property
    def run(self) -> Span:
        """The span of the run itself."""
        return next(span for span in self.spans if span.level == RUN)

    @property
    def steps(self) -> list[Span]:
        """The steps that the run got to, in the order of their beginnings."""
        return self._of_level(STEP)

    @property
    def instances(self) -> list[Span]:
        """The instances of mapped steps."""
        return self._of_level(INSTANCE)

    @property
    def attempts(self) -> list[Span]:
        """All attempts."""
        return self._of_level(ATTEMPT)

    def find(self, query: str = "", **equal: Any) -> list[Span]:
        """The spans that meet a query, and have the values that are given.

        ``find("seconds > 10", level="attempt", step="train.fit")``. A key is ``level``, ``name``,
        ``seconds``, ``message`` or an attribute, without ``dsml.``: ``outcome``, ``step``,
        ``instance``, ``attempt``, ``parameter.n_train``, ``metric.accuracy``. In a query texts may
        hold ``*``, and ``and`` and ``or`` join conditions.

        Raises:
            ProjectError: the query is none, or asks for what no span has.
        """
        found = select(self.spans, query) if query else self.spans
        return [s for s in found if all(value_of(s, key) == v for key, v in equal.items())]

    def children(self, span: Span) -> list[Span]:
        """The spans right below one."""
        return self._children.get(span.span_id, [])

    @cached_property
    def _children(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for span in self.spans:
            found.setdefault(span.parent_id, []).append(span)
        return {parent: sorted(below, key=lambda s: s.start) for parent, below in found.items()}

    def _of_level(self, level: str) -> list[Span]:
        return [span for span in self.spans if span.level == level]

    def to_otlp(self) -> dict[str, Any]:
        """The document that ``trace.json`` holds."""
        return to_otlp(self.spans)

    def to_json(self) -> str:
        """``trace.json`` as it is written."""
        return json.dumps(self.to_otlp(), ensure_ascii=False, separators=(",", ":")) + "\n"


def load(run: str = LATEST, root: Path | None = None) -> Trace:
    """The trace of a run: of one that is over as it was written, else of what there is now.

    Args:
        run: its id, the beginning of that, or ``latest``.
        root: the project; by default that of the working directory.

    Raises:
        ProjectError: there is no project, or no such run in its storage.
    """
    store = open_store(root or find_root(Path.cwd().resolve()))
    return trace_of(store, find_run(store, run))


def open_store(root: Path) -> Store:
    """The storage of a project.

    Raises:
        ProjectError: the catalog says nothing that can be used of it.
    """
    return Store.open(root, read_catalog(root, []))


def trace_of(store: Store, run_id: str) -> Trace:
    """The trace of a run that has left something."""
    written = read_trace(store, run_id)
    return written if written is not None and not written.run.is_open else assemble(store, run_id)


def read_trace(store: Store, run_id: str) -> Trace | None:
    """The trace as it was written, None where it was not."""
    written = read_if_there(run_path(store, run_id, TRACE_FILE))
    return None if written is None else Trace(run_id, from_otlp(json.loads(written)))


def assemble(store: Store, run_id: str, known: dict[str, Tried] | None = None) -> Trace:
    """Put the trace of a run together from what it has left.

    ``known`` takes what need not be read again when that is done another time.

    Raises:
        ProjectError: that is nothing.
    """
    records = read_records(store, run_id, known)
    if records is None:
        raise _unknown(store, run_id)
    return Trace(run_id, spans_of(store, records, now()))


def write(store: Store, run_id: str, known: dict[str, Tried] | None = None) -> Trace:
    """Put the trace of a run together, and write it to its ``trace.json``."""
    found = assemble(store, run_id, known)
    store.write(run_path(store, run_id, TRACE_FILE), found.to_json())
    return found


def find_run(store: Store, name: str, command: str = COMMAND) -> str:
    """The id of the run that an id, the beginning of one, or ``latest`` means to a command.

    Raises:
        ProjectError: there is none, or more than one.
    """
    ids = list(run_ids(store))
    if name in ids:
        return name
    if name == LATEST and ids:
        return _latest(store, ids)
    found = [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _unknown(store, name, command)
    what, fix = f"'{name}' begins {len(found)} runs", "give more of the id: dsml runs lists them"
    raise ProjectError([Problem(Where(command), what, fix, "unknown-run")])


def _latest(store: Store, ids: Sequence[str]) -> str:
    """The run that began last.

    A record is written when its run begins, and when it ends: no run began after its record was
    written. A folder tells when that was, so there the newest few records are all that is read.
    """
    if not store.is_local:
        return _newest_first(store, ids)[0]
    written = sorted(((_written(store, run_id), run_id) for run_id in ids), reverse=True)
    begun, latest = "", written[0][1]
    for moment, run_id in written:
        if moment < begun:
            break
        record = read_run(store, run_id)
        if record is not None and record.started > moment:  # the files are dated by other means
            return _newest_first(store, ids)[0]
        if record is not None and record.started > begun:
            begun, latest = record.started, run_id
    return latest


def _written(store: Store, run_id: str) -> str:
    """When the record of a run was written at the latest, in ISO 8601; "" where there is none."""
    try:
        changed = run_path(store, run_id, RUN_FILE).stat().st_mtime
    except FileNotFoundError:
        return ""
    return datetime.fromtimestamp(changed + _SKEW, UTC).isoformat(timespec="microseconds")


def _newest_first(store: Store, ids: Iterable[str]) -> list[str]:
    records = store.each(ids, lambda run_id: (run_id, read_run(store, run_id)))
    begun = {run_id: record.started if record else "" for run_id, record in records}
    return sorted(begun, key=begun.__getitem__, reverse=True)


def _unknown(store: Store, name: str, command: str = COMMAND) -> ProjectError:
    fix = suggest_run(name, _newest_first(store, run_ids(store)), "; dsml runs lists them")
    what = f"no run '{name}' has left anything in {store.root}"
    return ProjectError([Problem(Where(command), what, fix, "unknown-run")])
