"""What the pages of a run show: read from its records, put the way that the templates want it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dsml.contract.figures import number
from dsml.evidence.comparison import FACT, METRIC, PARAMETER, Column, values_of
from dsml.evidence.comparison_view import text_of
from dsml.evidence.records import Records, Tried
from dsml.evidence.site.curves import curve_svg
from dsml.evidence.site.previews import PAGES, PICTURES, Preview, can_preview, preview
from dsml.evidence.site.templating import href, plain
from dsml.evidence.trace import Trace
from dsml.step.checks import CheckResult
from dsml.step.record import RECORD_FILE
from dsml.step.reported import Reported, entries
from dsml.step.spans import INSTANCE, Span
from dsml.step.task import LOGGED_FOLDER
from dsml.store import Attempt, Manifest, Output, StepRun, Store
from dsml.store.manifest import (
    ATTEMPTS_FOLDER,
    LOG_FILE,
    NOTEBOOK_FILE,
    REPORT_FILE,
    Json,
    LoggedModel,
)
from dsml.store.runs import RunRecord

_LOG_SHOWN = 60_000  # characters at the end of a log that a page shows
_LOG_LARGEST = 2_000_000  # bytes at the end of a log that become part of the site
_INSTANCES = 50  # of a mapped step, on the page of a run
_LONGEST = 300  # characters of a value in a table


@dataclass(frozen=True)
class Value:
    """A parameter, a fact or a metric; ``label`` is the step's, ``source`` where it came from."""

    label: str
    name: str
    text: str
    source: str = ""
    curve: str = ""


@dataclass(frozen=True)
class Given:
    """An input; ``href`` leads to the step that has published it, from the folder ``runs``."""

    label: str
    name: str
    path: str
    run_id: str
    sha256: str
    bytes: int
    href: str = ""


@dataclass(frozen=True)
class File:
    """An artefact or a logged file.

    ``path`` is where it lies below the storage, ``copy`` the name of the picture or the page that
    the site has of it, in the folder of the step's page.
    """

    label: str
    name: str
    file: str
    path: str
    glance: Preview
    copy: str = ""
    bytes: int | None = None
    sha256: str = ""
    parts: int | None = None


@dataclass(frozen=True)
class Model:
    """A model that was logged; ``path`` is its folder below the storage."""

    label: str
    name: str
    model: LoggedModel
    path: str


@dataclass(frozen=True)
class AttemptFacts:
    """One attempt: what ``tried`` knows of it, and its files."""

    span: Span
    tried: Tried
    error: str
    traceback: str
    log: str
    is_log_cut: bool
    has_notebook: bool
    has_report: bool

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.tried.attempt.number


@dataclass(frozen=True)
class StepFacts:
    """A step, or an instance of a mapped one; of a mapped step ``instances`` are there.

    ``origin`` is the address of the step in the run that has the files, where it was unchanged;
    ``origin_run`` that run's id.
    """

    span: Span
    label: str
    parameters: Sequence[Value] = ()
    inputs: Sequence[Given] = ()
    metrics: Sequence[Value] = ()
    facts: Sequence[Value] = ()
    figures: Sequence[File] = ()
    files: Sequence[File] = ()
    artefacts: Sequence[File] = ()
    models: Sequence[Model] = ()
    checks: Sequence[CheckResult] = ()
    attempts: Sequence[AttemptFacts] = ()
    instances: Sequence[StepFacts] = ()
    origin: str = ""
    origin_run: str = ""

    @property
    def pictures(self) -> list[File]:
        """The figures that were logged, and the artefacts that are pictures."""
        glances = (file for file in self.artefacts if file.glance.picture or file.glance.address)
        return [*self.figures, *glances]

    @property
    def report(self) -> AttemptFacts | None:
        """The attempt whose notebook is a report for readers."""
        return next((each for each in reversed(self.attempts) if each.has_report), None)


@dataclass(frozen=True)
class RunFacts:
    """A run. ``linked`` are the runs of the site to which its pages lead, ``unlinked`` others."""

    run_id: str
    project: str
    record: RunRecord | None
    outcome: str
    trace: Trace
    steps: Sequence[StepFacts]
    values: Mapping[Column, Json]
    linked: frozenset[str] = frozenset()
    unlinked: frozenset[str] = frozenset()

    @cached_property
    def leaves(self) -> list[StepFacts]:
        """The steps, each mapped one followed by its instances."""
        return [part for step in self.steps for part in (step, *step.instances)]

    @cached_property
    def shown(self) -> list[StepFacts]:
        """Those that the page of the run lists; of many instances the page of the step has all."""
        return [part for step in self.steps for part in (step, *step.instances[:_INSTANCES])]

    @cached_property
    def reports(self) -> list[StepFacts]:
        """The steps that have a report for readers."""
        return [step for step in self.leaves if step.report is not None]

    def attribute(self, name: str) -> Any:
        """What the run's span says; "" where that is nothing."""
        return self.trace.run.attributes.get(name, "")

    @property
    def commit(self) -> str:
        """The commit that was run."""
        return str(self.attribute("dsml.git.commit"))

    @property
    def named(self) -> dict[str, str]:
        """The facts of git and of the job of continuous integration, by their names."""
        found = self.trace.run.attributes.items()
        return {
            name.removeprefix("dsml.").replace(".", " ").replace("_", " "): str(value)
            for name, value in found
            if name.startswith(("dsml.git.", "dsml.ci."))
        }


@dataclass
class Reader:
    """Reads the facts of runs; ``known`` are the runs that the site has, ``store`` their store."""

    store: Store
    known: frozenset[str]
    _linked: set[str] = field(default_factory=set)
    _unlinked: set[str] = field(default_factory=set)

    def read(self, records: Records, trace: Trace) -> RunFacts:
        """The facts of one run."""
        self._linked, self._unlinked = set(), set()
        tried: dict[str, list[Tried]] = {}
        for each in records.tried:
            tried.setdefault(each.attempt.address.label, []).append(each)
        steps = [self._step(trace, span, tried, records) for span in trace.steps]
        return RunFacts(
            run_id=records.run_id,
            project=records.record.project if records.record else "",
            record=records.record,
            outcome=trace.run.outcome,
            trace=trace,
            steps=steps,
            values=_values(records),
            linked=frozenset(self._linked),
            unlinked=frozenset(self._unlinked),
        )

    def _step(
        self, trace: Trace, span: Span, tried: Mapping[str, list[Tried]], records: Records
    ) -> StepFacts:
        instances = [s for s in trace.children(span) if s.level == INSTANCE]
        if not instances:
            return self._leaf(trace, span, tried[span.name])
        whole = records.collected.get(span.step)
        return StepFacts(
            span=span,
            label=span.name,
            parameters=_parameters(span.name, whole.parameters) if whole else (),
            artefacts=list(self._artefacts(span.name, whole)) if whole else (),
            instances=[self._leaf(trace, each, tried[each.name]) for each in instances],
        )

    def _leaf(self, trace: Trace, span: Span, tried: Sequence[Tried]) -> StepFacts:
        last, label = tried[-1], span.name
        spans = {s.attributes.get("dsml.attempt"): s for s in trace.children(span)}
        attempts = [self._attempt(spans[t.attempt.number], t) for t in tried if t.attempt.number]
        manifest = last.manifest
        logged = list(self._logged(label, last))
        origin = manifest.origin if manifest is not None and manifest.cached else None
        return StepFacts(
            span=span,
            label=label,
            parameters=_parameters(label, last.attempt.parameters),
            inputs=list(self._inputs(label, last)),
            metrics=list(self._metrics(label, last)),
            facts=[Value(label, n, _short(v)) for n, v in last.logged.params.items()],
            figures=[f for f in logged if Path(f.file).suffix.lower() in (*PICTURES, *PAGES)],
            files=[f for f in logged if Path(f.file).suffix.lower() not in (*PICTURES, *PAGES)],
            artefacts=list(self._artefacts(label, manifest)) if manifest else (),
            models=list(self._models(label, last)),
            checks=_checks(manifest),
            attempts=attempts,
            origin=self._href(origin) if origin is not None else "",
            origin_run=origin.run_id if origin is not None else "",
        )

    def _href(self, address: StepRun) -> str:
        """The page of a step of some run, from the folder ``runs``; "" where the site has none."""
        if address.run_id not in self.known:
            self._unlinked.add(address.run_id)
            return ""
        self._linked.add(address.run_id)
        return href(address.run_id, address.label, "index.html")

    def _inputs(self, label: str, tried: Tried) -> Iterator[Given]:
        for name, found in tried.attempt.inputs.items():
            step = found.path.rpartition(".")[0]
            for part in (found.parts or {"": found}).values():
                address = StepRun(step, "", part.run_id, part.partition, part.instance)
                shown = found.path if part.instance is None else f"{found.path}[{part.instance}]"
                link = self._href(address)
                yield Given(label, name, shown, part.run_id, part.sha256, part.bytes, link)

    def _metrics(self, label: str, tried: Tried) -> Iterator[Value]:
        points = self._reported(tried).points
        for name, value in tried.logged.metrics.items():
            curve = curve_svg(name, points[name]) if len(points.get(name, ())) > 1 else ""
            yield Value(label, name, number(value), curve=curve)

    def _reported(self, tried: Tried) -> Reported:
        """The record of what an attempt has logged, where its curves are."""
        attempt = tried.attempt
        if not attempt.ended or not attempt.number:
            return Reported()
        name = f"{LOGGED_FOLDER}/{RECORD_FILE}"
        return Reported.of(entries(self.store.attempt_path(attempt.address, attempt.number, name)))

    def _logged(self, label: str, tried: Tried) -> Iterator[File]:
        attempt = tried.attempt
        if not attempt.ended or not attempt.number:  # nothing of it is in the store yet
            return
        for name, file in tried.logged.files.items():
            if not _is_plain(file):  # the record is the notebook's: it may say anything
                continue
            path = self._kept(attempt, f"{LOGGED_FOLDER}/{file}")
            glance = self._glance(self.store.root.joinpath(*path.split("/")), file)
            if glance is not None:
                yield File(label, name, file, path, glance, _copy("logged", file, glance))

    def _models(self, label: str, tried: Tried) -> Iterator[Model]:
        attempt = tried.attempt
        for name, model in tried.logged.models.items() if attempt.number else ():
            yield Model(label, name, model, self._kept(attempt, f"{LOGGED_FOLDER}/{model.folder}"))

    def _artefacts(self, label: str, manifest: Manifest) -> Iterator[File]:
        for name, output in manifest.outputs.items():
            if output.parts is not None:
                yield File(
                    label, name, "", "", Preview(), "", output.bytes, output.sha256,
                    len(output.parts),
                )  # fmt: skip
                continue
            path = self.store.layout.path(manifest.origin, output.file)
            glance = self._published(manifest, output)
            copy = _copy("artefacts", output.file, glance)
            yield File(label, name, output.file, path, glance, copy, output.bytes, output.sha256)

    def _published(self, manifest: Manifest, output: Output) -> Preview:
        if not can_preview(output.file, output.bytes):
            return Preview()
        try:
            return preview(self.store.local(manifest.origin, output))
        except OSError:
            return Preview(note="the file is gone from the storage")

    def _glance(self, source: Any, file: str) -> Preview | None:
        """A glance at a file of the store; None where it is not there."""
        if isinstance(source, Path):
            if not source.is_file():
                return None
            return preview(source) if can_preview(file, source.stat().st_size) else Preview()
        try:
            content = source.read_bytes()
        except FileNotFoundError:
            return None
        return _of_bytes(content, file) if can_preview(file, len(content)) else Preview()

    def _kept(self, attempt: Attempt, name: str) -> str:
        """Where a file of an attempt lies below the storage."""
        kept = f"{ATTEMPTS_FOLDER}/{attempt.number}/{name}"
        return self.store.layout.path(attempt.address, kept)

    def _attempt(self, span: Span, tried: Tried) -> AttemptFacts:
        attempt = tried.attempt
        log, is_cut = "", False
        kept = dict.fromkeys((NOTEBOOK_FILE, REPORT_FILE), False)
        if attempt.ended:
            path = self.store.attempt_path(attempt.address, attempt.number, LOG_FILE)
            content = _bytes(path)
            is_cut = len(content) > _LOG_LARGEST
            log = plain(content[-_LOG_LARGEST:].decode(errors="replace"))
            for name in kept:
                file = self.store.attempt_path(attempt.address, attempt.number, name)
                kept[name] = file.exists()
        return AttemptFacts(
            span=span,
            tried=tried,
            error=self._placeless(attempt.error),
            traceback=self._placeless(attempt.traceback),
            log=log,
            is_log_cut=is_cut,
            has_notebook=kept[NOTEBOOK_FILE],
            has_report=kept[REPORT_FILE] and tried.manifest is not None,
        )

    def _placeless(self, text: str) -> str:
        """A message without the place of the storage on this machine: others read the site."""
        return plain(text).replace(f"{self.store.root}/", "")

    def notebook(self, attempt: AttemptFacts) -> bytes:
        """The executed notebook of an attempt that has one."""
        record = attempt.tried.attempt
        return _bytes(self.store.attempt_path(record.address, record.number, NOTEBOOK_FILE))


def log_shown(log: str) -> str:
    """The end of a log, from the beginning of a line."""
    if len(log) <= _LOG_SHOWN:
        return log
    return log[-_LOG_SHOWN:].partition("\n")[2]


def _bytes(path: Any) -> bytes:
    try:
        content: bytes = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content


def _of_bytes(content: bytes, file: str) -> Preview:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, f"file{Path(file).suffix}")
        local.write_bytes(content)
        return preview(local)


def _is_plain(file: str) -> bool:
    """Whether it is the name of a file and no path, which might lead anywhere."""
    return file not in ("", ".", "..") and not {"/", "\\", "\0"}.intersection(file)


def _copy(folder: str, file: str, glance: Preview) -> str:
    """The name of the file of the site for a picture or a page, "" where it needs none."""
    if glance.picture:
        return f"{folder}/{file}"
    return f"{folder}/{Path(file).stem}.page.html" if glance.page else ""


def _parameters(label: str, parameters: Mapping[str, Any]) -> list[Value]:
    return [Value(label, n, _short(v.value), v.source) for n, v in parameters.items()]


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else text_of(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _checks(manifest: Manifest | None) -> list[CheckResult]:
    return [CheckResult.from_dict(dict(raw)) for raw in manifest.checks] if manifest else []


def _values(records: Records) -> dict[Column, Json]:
    """The values by which runs are compared; of what failed, what it was given and has logged."""
    published = [tried.manifest for tried in records.tried if tried.manifest is not None]
    found = values_of([*records.collected.values(), *published])
    for tried in records.tried:
        attempt, label = tried.attempt, tried.attempt.address.label
        if tried.manifest is not None:
            continue
        if attempt.instance is None:
            found |= {Column(PARAMETER, label, n): v.value for n, v in attempt.parameters.items()}
        found |= {Column(FACT, label, n): v for n, v in tried.logged.params.items()}
        found |= {Column(METRIC, label, n): v for n, v in tried.logged.metrics.items()}
    return found
