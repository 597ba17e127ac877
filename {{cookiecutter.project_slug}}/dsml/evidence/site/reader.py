"""Reading what the pages of a run show, from the records and the files that it has left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from dsml.contract.figures import number, shortened
from dsml.evidence.attributes import kept_path
from dsml.evidence.comparison import Column, step_values, values_of
from dsml.evidence.comparison_view import text_of
from dsml.evidence.records import Records, Tried
from dsml.evidence.site.curves import curve_svg
from dsml.evidence.site.facts import AttemptFacts, File, Given, Model, RunFacts, StepFacts, Value
from dsml.evidence.site.previews import PAGES, PICTURES, Preview, can_preview, preview
from dsml.evidence.site.templating import INDEX, href, plain
from dsml.evidence.stored import local_copy
from dsml.evidence.trace import Trace
from dsml.step.checks import CheckResult
from dsml.step.record import RECORD_FILE
from dsml.step.reported import Reported, entries
from dsml.step.spans import INSTANCE, Span
from dsml.step.task import LOGGED_FOLDER
from dsml.store import Manifest, Output, StepRun, Store
from dsml.store.manifest import LOG_FILE, NOTEBOOK_FILE, REPORT_FILE, Json
from dsml.store.manifest import Value as Parameter
from dsml.store.paths import is_name
from dsml.store.remote import read_if_there

_LOG_LARGEST = 2_000_000  # bytes at the end of a log that become part of the site
_LONGEST = 300  # characters of a value in a table


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
        if records.record is not None and records.record.parent:
            self._is_known(records.record.parent)
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

    def notebook(self, attempt: AttemptFacts) -> bytes:
        """The executed notebook of an attempt that has one."""
        return read_if_there(self._file(attempt.tried, NOTEBOOK_FILE)) or b""

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
            artefacts=list(self._artefacts(span.name, whole)),
            instances=[self._leaf(trace, each, tried[each.name]) for each in instances],
        )

    def _leaf(self, trace: Trace, span: Span, tried: Sequence[Tried]) -> StepFacts:
        last, label = tried[-1], span.name
        spans = {s.attributes.get("dsml.attempt"): s for s in trace.children(span)}
        manifest, checks = last.manifest, last.manifest.checks if last.manifest else ()
        logged = list(self._logged(label, last))
        origin = manifest.origin if manifest is not None and manifest.cached else None
        return StepFacts(
            span=span,
            label=label,
            parameters=_parameters(label, last.attempt.parameters),
            inputs=list(self._inputs(label, last)),
            metrics=list(self._metrics(label, last)),
            facts=[Value(label, n, _short(v)) for n, v in last.logged.params.items()],
            figures=[file for file in logged if _is_figure(file)],
            files=[file for file in logged if not _is_figure(file)],
            artefacts=list(self._artefacts(label, manifest)),
            models=list(self._models(label, last)),
            checks=[CheckResult.from_dict(dict(raw)) for raw in checks],
            attempts=[
                self._attempt(spans[each.attempt.number], each)
                for each in tried
                if each.attempt.number
            ],
            origin=self._href(origin) if origin is not None else "",
            origin_run=origin.run_id if origin is not None else "",
        )

    def _is_known(self, run_id: str) -> bool:
        """Whether the site has a run, to which a page therefore leads."""
        is_known = run_id in self.known
        (self._linked if is_known else self._unlinked).add(run_id)
        return is_known

    def _href(self, address: StepRun) -> str:
        """The page of a step of some run, from the folder ``runs``; "" where the site has none."""
        return href(address.run_id, address.label, INDEX) if self._is_known(address.run_id) else ""

    def _inputs(self, label: str, tried: Tried) -> Iterator[Given]:
        for name, found in tried.attempt.inputs.items():
            for part in (found.parts or {"": found}).values():
                shown = found.path if part.instance is None else f"{found.path}[{part.instance}]"
                link = self._href(part.origin(""))
                yield Given(label, name, shown, part.run_id, part.sha256, part.bytes, link)

    def _metrics(self, label: str, tried: Tried) -> Iterator[Value]:
        reported = Reported()  # what was logged again and again is in the record alone
        if tried.is_kept:
            reported = Reported.of(entries(self._file(tried, f"{LOGGED_FOLDER}/{RECORD_FILE}")))
        for name, value in tried.logged.metrics.items():
            points = reported.points.get(name, {})
            curve = curve_svg(name, points) if len(points) > 1 else ""
            yield Value(label, name, number(value), curve=curve)

    def _logged(self, label: str, tried: Tried) -> Iterator[File]:
        for name, file in tried.logged.files.items() if tried.is_kept else ():
            if not is_name(file):  # the record is the notebook's: it may say anything
                continue
            inside = f"{LOGGED_FOLDER}/{file}"
            with local_copy(self._file(tried, inside)) as local:
                if local is None:
                    continue
                is_seen = can_preview(file, local.stat().st_size)
                glance = preview(local) if is_seen else Preview()
            path = kept_path(self.store, tried, inside)
            yield File(label, name, file, path, glance, _copy("logged", file, glance))

    def _models(self, label: str, tried: Tried) -> Iterator[Model]:
        for name, model in tried.logged.models.items() if tried.is_kept else ():
            path = kept_path(self.store, tried, f"{LOGGED_FOLDER}/{model.folder}")
            yield Model(label, name, model, path)

    def _artefacts(self, label: str, manifest: Manifest | None) -> Iterator[File]:
        if manifest is None:
            return
        for name, output in manifest.outputs.items():
            if output.parts is not None:
                size, sha = output.bytes, output.sha256
                yield File(label, name, bytes=size, sha256=sha, parts=len(output.parts))
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

    def _attempt(self, span: Span, tried: Tried) -> AttemptFacts:
        log, has_notebook, has_report = b"", False, False
        if tried.is_kept:
            log = read_if_there(self._file(tried, LOG_FILE)) or b""
            has_notebook = self._file(tried, NOTEBOOK_FILE).exists()
            has_report = tried.manifest is not None and self._file(tried, REPORT_FILE).exists()
        return AttemptFacts(
            span=span,
            tried=tried,
            error=self._placeless(tried.attempt.error),
            traceback=self._placeless(tried.attempt.traceback),
            log=plain(log[-_LOG_LARGEST:].decode(errors="replace")),
            is_log_cut=len(log) > _LOG_LARGEST,
            has_notebook=has_notebook,
            has_report=has_report,
        )

    def _file(self, tried: Tried, name: str) -> UPath:
        """Where a file of an attempt that has ended lies."""
        return self.store.attempt_path(tried.attempt.address, tried.attempt.number, name)

    def _placeless(self, text: str) -> str:
        """A message without the place of the storage on this machine: others read the site."""
        return plain(text).replace(f"{self.store.root}/", "")


def _is_figure(file: File) -> bool:
    return Path(file.file).suffix.lower() in (*PICTURES, *PAGES)


def _copy(folder: str, file: str, glance: Preview) -> str:
    """The name of the file of the site for a picture or a page, "" where it needs none."""
    if glance.picture:
        return f"{folder}/{file}"
    return f"{folder}/{Path(file).stem}.page.html" if glance.page else ""


def _parameters(label: str, parameters: Mapping[str, Parameter]) -> list[Value]:
    return [Value(label, n, _short(v.value), v.source) for n, v in parameters.items()]


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else text_of(value)
    return shortened(text, _LONGEST)


def _values(records: Records) -> dict[Column, Json]:
    """The values by which runs are compared; of what failed, what it was given and has logged."""
    published = [tried.manifest for tried in records.tried if tried.manifest is not None]
    found = values_of([*records.collected.values(), *published])
    for tried in records.tried:
        if tried.manifest is None:
            attempt, logged = tried.attempt, tried.logged
            given = {n: v.value for n, v in attempt.parameters.items()}
            given = given if attempt.instance is None else {}
            found |= step_values(attempt.address.label, given, logged.params, logged.metrics)
    return found
