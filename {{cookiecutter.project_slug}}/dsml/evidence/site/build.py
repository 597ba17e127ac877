"""Writing the site: what is new or has changed, and nothing else.

At any moment the files that are there fit together: each is written whole or not at all, a page
after those that it leads to, the list of all runs last. What is gone from the storage is taken out
of the list before its pages are removed. So a build may be interrupted; the next one goes on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.assemble import spans_of
from dsml.evidence.records import Records, read_records
from dsml.evidence.site.files import Folder, remove_others, remove_parts, write_changed
from dsml.evidence.site.overview import write_overview
from dsml.evidence.site.pages import Pages, row_of
from dsml.evidence.site.reader import Reader
from dsml.evidence.site.state import STATE_FILE, Entry, State
from dsml.evidence.site.templating import FOLDER, INDEX
from dsml.evidence.trace import Trace
from dsml.step.facts import now
from dsml.store import Store
from dsml.store.remote import read_if_there
from dsml.store.runs import RUN_FILE, RUNNING, run_ids, run_path

RUNS, ASSETS = "runs", "assets"
_KEPT_EVERY = 5.0  # seconds after which what has been written is written down, ...
_SHARE = 20  # ... and so many times what that takes, which grows with the number of runs
Say = Callable[[str], object]


@dataclass
class Built:
    """How many runs were written, left as they were, and removed."""

    written: int = 0
    kept: int = 0
    removed: int = 0


def build(store: Store, project: str, site: Path, say: Say, *, everything: bool = False) -> Built:
    """Bring a site up to date with a storage.

    Args:
        store: where the runs are.
        project: the name of the project, for the titles.
        site: the folder of the site; it is made where it is not there.
        say: told what cannot be read.
        everything: write every run again.

    Raises:
        ProjectError: the folder holds something else.
    """
    return _Build(store, project, site, say).run(everything=everything)


class _Build:
    def __init__(self, store: Store, project: str, site: Path, say: Say) -> None:
        self._store = store
        self._project = project
        self._site = site
        self._say = say
        self._state = State(version="", source="")
        self._assets = ""
        self._built = Built()
        self._next = time.monotonic() + _KEPT_EVERY

    def run(self, *, everything: bool) -> Built:
        self._open()
        if everything:
            self._state.entries.clear()
        before = dict(self._state.entries)
        ids = {name for name in run_ids(self._store) if not name.startswith(".")}
        stamps = dict(self._store.each(sorted(ids), self._stamp))
        reader = Reader(self._store, frozenset(ids))
        for run_id in sorted(ids):
            if self._is_current(run_id, stamps[run_id], ids):
                self._built.kept += 1
            else:
                self._write(reader, run_id, stamps[run_id])
        entries = self._state.entries
        for run_id in entries.keys() - ids:
            del entries[run_id]
        rows = [entry.row for entry in entries.values()]
        write_overview(self._site, self._assets, self._project, rows)
        self._built.removed = len(before.keys() - entries.keys())
        if entries != before:
            self._state.keep(self._site)
        remove_others(self._site / RUNS, entries.keys())
        remove_others(self._site / ASSETS, {self._state.version})
        remove_parts(self._site)
        return self._built

    def _open(self) -> None:
        """Make the folder a site, with the style and the scripts of its pages."""
        if self._site.is_file() or (
            self._site.is_dir()
            and any(self._site.iterdir())
            and not (self._site / STATE_FILE).exists()
        ):
            fix = "name a folder of its own: --out site"
            what = f"'{self._site}' holds something else than a site of dsml report"
            raise ProjectError([Problem(Where("--out"), what, fix, "not-a-site")])
        source = hashlib.sha256(str(self._store.root).encode()).hexdigest()
        self._state = State.read(self._site, source)
        if not (self._site / STATE_FILE).exists():
            self._state.keep(self._site)
        self._assets = f"{ASSETS}/{self._state.version}"
        for file in sorted((FOLDER / "assets").iterdir()):
            write_changed(self._site / self._assets / file.name, file.read_bytes())

    def _stamp(self, run_id: str) -> tuple[str, str]:
        """The sha256 of a run's record, "" of one that has none."""
        record = read_if_there(run_path(self._store, run_id, RUN_FILE))
        return run_id, "" if record is None else hashlib.sha256(record).hexdigest()

    def _is_current(self, run_id: str, stamp: str, ids: set[str]) -> bool:
        """Whether the pages of a run are what they would be if they were written now."""
        entry = self._state.entries.get(run_id)
        return (
            entry is not None
            and entry.is_final
            and entry.stamp == stamp
            and ids.issuperset(entry.linked)
            and ids.isdisjoint(entry.unlinked)
            and (self._site / RUNS / run_id / INDEX).is_file()
        )

    def _write(self, reader: Reader, run_id: str, stamp: str) -> None:
        try:
            records = read_records(self._store, run_id)
            trace = Trace(run_id, spans_of(self._store, records, now())) if records else None
        except (ValueError, KeyError, TypeError) as error:  # somebody has damaged a record
            self._say(f"run {run_id} cannot be read: {type(error).__name__}: {error}")
            records = trace = None
        if records is None or trace is None or not (records.record or records.tried):
            self._state.entries.pop(run_id, None)
            return
        run = reader.read(records, trace)
        Pages(reader, run, Folder(self._site / RUNS / run_id), self._assets).write()
        self._built.written += 1
        self._state.entries[run_id] = Entry(
            stamp, _is_final(records), sorted(run.linked), sorted(run.unlinked), row_of(run)
        )
        begun = time.monotonic()
        if begun > self._next:
            self._state.keep(self._site)
            ended = time.monotonic()
            self._next = ended + max(_KEPT_EVERY, _SHARE * (ended - begun))


def _is_final(records: Records) -> bool:
    """Whether nothing more is to come from a run: it has said so itself, or was killed."""
    return records.record is not None and records.outcome != RUNNING
