"""All that a run has left in the store, read for its trace; of one under way what is there now."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from upath import UPath

from dsml.step.otlp import from_otlp
from dsml.step.process import is_gone
from dsml.step.record import RECORD_FILE
from dsml.step.reported import Readable, Reported, entries
from dsml.step.spans import SPANS_FILE, Span
from dsml.step.task import LOGGED_FOLDER
from dsml.store import Attempt, Manifest, Store
from dsml.store.manifest import ATTEMPT_FILE, Json, LoggedModel
from dsml.store.paths import leads_away
from dsml.store.remote import read
from dsml.store.runs import CACHED, RUNNING, RunRecord, noted, read_run

PASSED, FAILED, KILLED = "passed", "failed", "killed"
WENT_WRONG = (FAILED, "cancelled", KILLED)  # the worst first


@dataclass(frozen=True)
class Logged:
    """What a notebook has logged: the last value of each metric, facts, files, models."""

    metrics: Mapping[str, float | str]
    params: Mapping[str, Json]
    files: Mapping[str, str]
    models: Mapping[str, LoggedModel]


@dataclass(frozen=True)
class Tried:
    """One attempt; or, as number 0, a step that was not run because nothing has changed.

    ``outcome`` is its status, or that it was killed. ``seen`` is the last moment that is known of
    it, in ISO 8601. ``spans`` are those that the notebook has made itself.
    """

    attempt: Attempt
    outcome: str
    seen: str
    manifest: Manifest | None
    logged: Logged
    spans: tuple[Span, ...]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, or nobody was left to write down that it has."""
        return not self.attempt.ended

    @property
    def is_kept(self) -> bool:
        """Whether its files are in the store: it has ended, and was run at all."""
        return not self.is_open and self.attempt.number > 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to come: it has ended, and is published if it has passed."""
        return not self.is_open and (self.outcome != PASSED or self.manifest is not None)


@dataclass(frozen=True)
class Records:
    """A run: its attempts in the order of their beginnings, and the results of mapped steps.

    ``outcome`` is the status of the run's record, or that the run was killed.
    """

    run_id: str
    record: RunRecord | None
    outcome: str
    tried: tuple[Tried, ...]
    collected: Mapping[str, Manifest]


def read_records(
    store: Store, run_id: str, known: dict[str, Tried] | None = None
) -> Records | None:
    """Read what a run has left; None where that is nothing.

    ``known`` takes what is complete, for the next time, when it need not be read again.
    """
    known = {} if known is None else known
    record = read_run(store, run_id)
    outcome = RUNNING if record is None else record.status
    if record is not None and outcome == RUNNING and is_gone(record.process):
        outcome = KILLED
    paths = [path for path in noted(store, run_id) if path.name not in known]
    new = dict(store.each(paths, lambda path: (path.name, _read(store, path, outcome))))
    if record is None and not (known or new):
        return None
    both = [*known.values(), *new.values()]
    known.update({name: tried for name, tried in new.items() if tried.is_complete})
    tried = sorted(both, key=lambda each: (each.attempt.started, each.attempt.number))
    mapped = {each.attempt.address.of_instance(None) for each in tried if each.attempt.instance}
    manifests = store.each(mapped, store.manifest)
    collected = {manifest.step: manifest for manifest in manifests if manifest is not None}
    return Records(run_id, record, outcome, tuple(tried), collected)


def _read(store: Store, path: UPath, of_run: str) -> Tried:
    begun = Attempt.from_json(read(path))
    ended = store.attempt_path(begun.address, begun.number, ATTEMPT_FILE)
    known = (Attempt.read(ended) if begun.number else None) or begun
    outcome = known.status
    if outcome == RUNNING and (of_run != RUNNING or is_gone(begun.process)):
        outcome = KILLED
    manifest = store.manifest(known.address) if outcome in (PASSED, CACHED) else None
    folder = _Evidence(store, known)
    if manifest is not None:
        logged = _logged(manifest.metrics, manifest.logged, manifest.files, manifest.models)
    else:
        found = Reported.of(entries(folder.file(f"{LOGGED_FOLDER}/{RECORD_FILE}")))
        logged = _logged(found.metrics, found.params, found.files, found.models)
    return Tried(
        attempt=known,
        outcome=outcome,
        seen=known.ended or folder.last_change or known.started,
        manifest=manifest,
        logged=logged,
        spans=tuple(_spans(folder.file(SPANS_FILE))),
    )


def _logged(
    metrics: Mapping[str, float | str],
    params: Mapping[str, Json],
    files: Mapping[str, str],
    models: Mapping[str, LoggedModel],
) -> Logged:
    """What was logged, without files and models that lie elsewhere.

    The record is the kernel's, and what stands in a storage may have been changed by anybody.
    """
    inside = {name: file for name, file in files.items() if not leads_away(file)}
    kept = {name: model for name, model in models.items() if not leads_away(model.folder)}
    return Logged(metrics, params, inside, kept)


class _Evidence:
    """Where the files of an attempt are: kept in the store, or still where it has written them."""

    def __init__(self, store: Store, attempt: Attempt) -> None:
        self._store = store
        self._attempt = attempt
        self._staged = store.staging(attempt.address, attempt.number).evidence

    def file(self, name: str) -> Readable:
        """One of them, whether it is there or not."""
        if self._attempt.ended:
            return self._store.attempt_path(self._attempt.address, self._attempt.number, name)
        return self._staged / name

    @property
    def last_change(self) -> str:
        """When the attempt last wrote something, in ISO 8601; "" where that cannot be known."""
        changed = 0.0
        for path in self._staged.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                changed = max(changed, path.stat().st_mtime)
        return datetime.fromtimestamp(changed, UTC).isoformat() if changed else ""


def _spans(file: Readable) -> Iterator[Span]:
    """The spans that a notebook has made; a line that was cut short is passed over."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            yield from from_otlp(json.loads(line))
