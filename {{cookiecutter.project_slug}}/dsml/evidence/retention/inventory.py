"""What there is in a storage, read for the plan of what goes."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from upath import UPath

from dsml.evidence.retention.files import Owners, hidden, listed
from dsml.evidence.retention.plan import Part, Run, There
from dsml.step.process import is_gone
from dsml.store import Attempt, Input, Manifest, Output, Plan, StepRun, Store
from dsml.store.manifest import ATTEMPT_FILE, ATTEMPTS_FOLDER, MANIFEST_FILE, PLAN_FILE
from dsml.store.paths import NEWEST_FOLDER, NO_PARTITION, RUNS_FOLDER
from dsml.store.remote import read_if_there
from dsml.store.runs import RUN_FILE, RUNNING, RunRecord, noted, run_ids, run_path

# What a manifest is called while it is looked whether anybody refers to it after all.
WITHDRAWN_FILE = "withdrawn.json"
# A run of another machine is taken to be over when nothing has been heard of it for so long.
UNHEARD = timedelta(days=7)
# A run that has written nothing yet may be just about to.
_FRESH = 3600.0  # seconds
_READ = (MANIFEST_FILE, WITHDRAWN_FILE, ATTEMPT_FILE)
T = TypeVar("T")

Pins = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Inventory:
    """What there is, and the files of it, as paths below the storage with their bytes.

    ``files`` are those of each part, ``of_run`` those of a run as a whole, ``own`` the others of
    the store itself. ``fingerprints`` are those under which parts are found when nothing has
    changed, ``contents`` the sha256 of all that each manifest names.
    """

    there: There
    files: Mapping[StepRun, Mapping[str, int]]
    of_run: Mapping[str, Mapping[str, int]]
    own: Mapping[str, int]
    fingerprints: Mapping[StepRun, str]
    contents: Mapping[StepRun, frozenset[str]]

    def size_of(self, address: StepRun) -> int:
        """The bytes of all files of a part."""
        return sum(self.files[address].values())


def read_inventory(store: Store, pins: Pins) -> Inventory:
    """Read all that there is. ``pins`` are the runs and labels that something outside needs.

    First the runs, then the files, so that of a run that is over every file is there: those that
    go on meanwhile are looked at again before anything is removed.
    """
    reader = _Reader(store)
    known = reader.hear(run_ids(store))
    found = listed(store)
    reader.read_manifests(path for path in found if not hidden(path))
    since = reader.hear({address.run_id for address in reader.parts} - known.keys())
    for run_id, heard in since.items():
        known[run_id] = replace(heard, is_new=bool(heard.record or heard.notes))
    reader.read_notes(known.values())
    runs = {run_id: reader.run(heard) for run_id, heard in known.items()}
    files = reader.owned([path for path in found if not hidden(path)])
    reader.forget(a for a in reader.parts if a not in files and not runs[a.run_id].under_way)
    of_run: dict[str, dict[str, int]] = defaultdict(dict)
    own: dict[str, int] = {}
    for path, size in found.items():
        folder, _, rest = path.partition("/")
        if folder == RUNS_FOLDER:
            of_run[rest.partition("/")[0]][path] = size
        elif hidden(path):
            own[path] = size
    return Inventory(
        There(reader.parts, runs, pins, frozenset(_pointed(store, own))),
        {address: {path: found[path] for path in paths} for address, paths in files.items()},
        of_run,
        own,
        reader.fingerprints,
        reader.contents,
    )


def refreshed(store: Store, before: There, pins: Pins, withdrawn: Iterable[StepRun]) -> There:
    """What there is now. Only runs that have begun, and those under way, are read again.

    ``withdrawn`` are the parts whose manifests have been taken away meanwhile.
    """
    over = {run_id for run_id, run in before.runs.items() if not run.under_way}
    reader = _Reader(store)
    heard = reader.hear(set(run_ids(store)) - over)
    reader.read_notes(heard.values())
    reader.read_published()
    runs = {run_id: reader.run(each) for run_id, each in heard.items()}
    parts = {**before.parts, **reader.parts}
    for address in withdrawn:
        parts[address] = replace(parts[address], published=False, withdrawn=True)
    return There(parts, {**before.runs, **runs}, pins, before.pointed)


@dataclass(frozen=True)
class _Heard:
    """What is known of a run: its record, its notes, and when it was last heard of.

    ``is_new`` says that it has begun only just now.
    """

    run_id: str
    record: RunRecord | None
    notes: Mapping[str, UPath]
    marks: frozenset[str] = frozenset()
    moment: str = ""
    is_new: bool = False


class _Reader:
    """Reads manifests, records and notes into parts."""

    def __init__(self, store: Store) -> None:
        self.parts: dict[StepRun, Part] = {}
        self.fingerprints: dict[StepRun, str] = {}
        self.contents: dict[StepRun, frozenset[str]] = {}
        self._store = store
        self._possible: set[StepRun] = set()  # steps that a run was to run
        self._withdrawn: dict[StepRun, set[str]] = {}  # and where its artefacts are to be
        self._unreadable: set[str] = set()
        self._moments: dict[str, str] = defaultdict(str)  # of the parts of each run

    def read_manifests(self, paths: Iterable[str]) -> None:
        """Read the manifests and the records of attempts among the files."""
        wanted = [path for path in paths if any(name in path for name in _READ)]
        for path, content in self._store.each(wanted, self._content):
            if content is not None:
                self._take(path, content)

    def _content(self, path: str) -> tuple[str, bytes | None]:
        return path, read_if_there(self._store.at(path))

    def _take(self, path: str, content: bytes) -> None:
        """Take in a file that may be a manifest or an attempt's record, where it lies rightly."""
        place = self._store.layout.path
        manifest = _parsed(Manifest.from_json, content)
        if manifest is not None:
            if path == place(manifest.address, MANIFEST_FILE):
                self._add_manifest(manifest)
            elif path == place(manifest.address, WITHDRAWN_FILE):
                self._add_manifest(manifest, withdrawn=True)
            return
        attempt = _parsed(Attempt.from_json, content)
        if attempt is None:
            self._unreadable.add(path)
        elif path == place(attempt.address, f"{ATTEMPTS_FOLDER}/{attempt.number}/{ATTEMPT_FILE}"):
            self._add(_part_of_attempt(attempt))

    def _add_manifest(self, manifest: Manifest, *, withdrawn: bool = False) -> None:
        address = manifest.address
        if withdrawn and address in self.parts and self.parts[address].published:
            return
        self._add(_part_of(manifest, withdrawn=withdrawn))
        self.fingerprints[address] = "" if manifest.cached else manifest.fingerprint
        self.contents[address] = frozenset(_contents(manifest))
        self._withdrawn.pop(address, None)
        if withdrawn and not manifest.cached:
            outputs = (out.file for out in manifest.outputs.values() if out.parts is None)
            self._withdrawn[address] = {self._store.layout.path(address, f) for f in outputs}

    def _add(self, part: Part) -> None:
        """Take in a part; a manifest says more of it than an attempt, and attempts add up."""
        address, known = part.address, self.parts.get(part.address)
        if known is not None:
            first, other = (known, part) if _rank(known) >= _rank(part) else (part, known)
            moment = first.moment if first.published else max(first.moment, other.moment)
            part = replace(first, moment=moment, refers=first.refers | other.refers)
        self.parts[address] = part
        self._moments[address.run_id] = max(self._moments[address.run_id], part.moment)
        if address.instance is not None:
            whole = address.of_instance(None)
            self.parts.setdefault(whole, Part(whole, published=False, moment=part.moment))

    def hear(self, ids: Iterable[str]) -> dict[str, _Heard]:
        """Read the records of runs, and which attempts they have begun."""
        return {each.run_id: each for each in self._store.each(sorted(ids), self._hear)}

    def _hear(self, run_id: str) -> _Heard:
        record = _parsed(
            RunRecord.from_json, read_if_there(run_path(self._store, run_id, RUN_FILE))
        )
        notes = {note.name: note for note in noted(self._store, run_id)}
        if record is not None and record.status != RUNNING:
            return _Heard(run_id, record, notes, moment=max(record.started, record.ended))
        attempts = [_parsed(Attempt.from_json, read_if_there(note)) for note in notes.values()]
        known = [attempt for attempt in attempts if attempt is not None]
        marks = {attempt.process for attempt in known} | ({record.process} if record else set())
        begun = [attempt.started for attempt in known] + ([record.started] if record else [])
        is_new = record is None and not notes and _is_fresh(run_path(self._store, run_id, ""))
        return _Heard(run_id, record, notes, frozenset(marks), max(begun, default=""), is_new)

    def read_notes(self, heard: Iterable[_Heard]) -> None:
        """Read the notes of attempts that have left nothing else, and what runs were to run."""
        wanted: list[UPath] = []
        for each in heard:
            published = [n for n in each.notes if each.record and self._has(each.record, n)]
            wanted += [note for name, note in each.notes.items() if name not in published]
            if each.record is not None:
                self._possible |= set(_steps(each.record))
        for content in self._store.each(wanted, read_if_there):
            attempt = _parsed(Attempt.from_json, content)
            if attempt is not None:
                self._add(_part_of_attempt(attempt))

    def _has(self, record: RunRecord, note: str) -> bool:
        """Whether there is a manifest of the attempt that a note is of, by its name."""
        label = note.rpartition(".")[0].rpartition(".")[0]
        run = StepRun("", record.experiment, record.run_id, record.partition).named(label)
        both = (run, replace(run, partition=None))
        return any(each in self.parts and self.parts[each].published for each in both)

    def run(self, heard: _Heard) -> Run:
        """What is known of a run, after its parts have been read."""
        record = heard.record or RunRecord(heard.run_id, "", "", "", None, "", status="")
        moment = max(heard.moment, self._moments[heard.run_id])
        return Run(
            run_id=heard.run_id,
            moment=moment,
            started=record.started or heard.moment,
            under_way=heard.is_new or _is_under_way(heard, moment),
            recorded=heard.record is not None,
            parent=record.parent,
            pipeline=record.pipeline,
            experiment=record.experiment,
            partition=record.partition,
        )

    def read_published(self) -> None:
        """Read the manifests of the runs that have been read, where they are to be expected."""
        places = self._possible | self.parts.keys()
        for manifest in self._store.each(sorted(places, key=str), self._manifest):
            if manifest is not None:
                self._add_manifest(manifest)

    def _manifest(self, address: StepRun) -> Manifest | None:
        return _parsed(Manifest.from_json, read_if_there(self._store.path(address, MANIFEST_FILE)))

    def owned(self, paths: Sequence[str]) -> dict[StepRun, list[str]]:
        """The files of each part; of parts that have left nothing to be read as well."""
        owners = Owners(self._store.layout)
        for address in (*self.parts, *self._possible):
            owners.add(address)
        files: dict[StepRun, list[str]] = defaultdict(list)
        for path in paths:
            found = owners.owner(path)
            if found is not None:
                address, file = found
                files[address].append(path)
                self._see(address, file, path)
        for address, outputs in self._withdrawn.items():
            if not outputs <= set(files[address]):
                self.parts[address] = replace(self.parts[address], ruined=True)
        return files

    def forget(self, addresses: Iterable[StepRun]) -> None:
        """Leave out parts of which nothing is there: a note alone is none."""
        for address in list(addresses):
            del self.parts[address]

    def _see(self, address: StepRun, file: str, path: str) -> None:
        """A file of a part: it says that there is one, and what it refers to, where it's a plan."""
        moment = self._moments[address.run_id]
        if address not in self.parts:
            self._add(Part(address, published=False, moment=moment))
        part = self.parts[address]
        if file == MANIFEST_FILE and path in self._unreadable:
            self.parts[address] = replace(part, unreadable=True)
        elif file == PLAN_FILE and not part.published:
            plan = _parsed(Plan.from_json, self._content(path)[1])
            refers = frozenset(_read_by(address, plan.inputs.values())) if plan else frozenset()
            self.parts[address] = replace(part, refers=part.refers | refers)


def _rank(part: Part) -> int:
    return 2 if part.published else int(part.withdrawn)


def _part_of(manifest: Manifest, *, withdrawn: bool) -> Part:
    address = manifest.address
    instances = manifest.instances or {}
    made_of = {address.of_instance(key).of_run(run.run_id) for key, run in instances.items()}
    return Part(
        address,
        published=not withdrawn,
        moment=manifest.ended,
        refers=frozenset(_read_by(address, manifest.inputs.values())),
        made_of=frozenset(made_of | {manifest.origin}) - {address},
        withdrawn=withdrawn,
    )


def _part_of_attempt(attempt: Attempt) -> Part:
    refers = frozenset(_read_by(attempt.address, attempt.inputs.values()))
    moment = attempt.ended or attempt.started
    return Part(attempt.address, published=False, moment=moment, refers=refers)


def _read_by(reader: StepRun, inputs: Iterable[Input]) -> Iterator[StepRun]:
    """Where the inputs of a step are published."""
    for found in inputs:
        yield found.origin(reader.experiment)
        yield from _read_by(reader, (found.parts or {}).values())


def _contents(manifest: Manifest) -> Iterator[str]:
    """The sha256 of all artefacts that a manifest names."""
    named: list[Input | Output] = [*manifest.inputs.values(), *manifest.outputs.values()]
    while named:
        found = named.pop()
        yield found.sha256
        named += (found.parts or {}).values()


def _steps(record: RunRecord) -> Iterator[StepRun]:
    """Where the steps that a run was to run publish; some have no partition though it has one."""
    for step in record.steps:
        for partition in {record.partition, None}:
            yield StepRun(step, record.experiment, record.run_id, partition)


def _is_under_way(heard: _Heard, moment: str) -> bool:
    """Whether a run may go on: its process is there, or cannot be seen from here."""
    record = heard.record
    if record is not None and record.status != RUNNING:
        return False
    here = {mark for mark in heard.marks if mark.rsplit(":", 2)[0] == platform.node()}
    if any(not is_gone(mark) for mark in here):
        return True
    if heard.marks == here:
        return False
    return moment >= (_now() - UNHEARD).isoformat(timespec="microseconds")


def _now() -> datetime:
    return datetime.now(UTC)


def _is_fresh(folder: UPath) -> bool:
    """Whether a folder was made only just now; elsewhere than on a disk there are no folders."""
    if not isinstance(folder, Path):
        return False
    try:
        return time.time() - folder.stat().st_mtime < _FRESH
    except FileNotFoundError:
        return False


def _pointed(store: Store, own: Iterable[str]) -> Iterator[StepRun]:
    """The parts that are named as the newest of their steps."""
    pointers = [path for path in own if path.startswith(f"{NEWEST_FOLDER}/")]
    for path, run_id in store.each(pointers, lambda path: (path, run_named(store, path))):
        _, experiment, partition, file = [*path.split("/"), "", ""][:4]
        step = file.removesuffix(".json")
        yield StepRun(step, experiment, run_id, None if partition == NO_PARTITION else partition)


def run_named(store: Store, path: str) -> str:
    """The run that a pointer of the store names, "" where it cannot be read."""
    return str(store.pointer(path).get("run_id", ""))


def _parsed(read: Callable[[bytes], T], content: bytes | None) -> T | None:
    """What a file says, None where it is not there or is none of its kind."""
    if content is None:
        return None
    try:
        return read(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
