"""What is kept of a run as a whole: its record, and a note of every attempt that it has begun.

All of it lies in ``.runs/<run id>/`` below the storage: ``run.json``, ``trace.json`` and the notes
in ``begun/``. The notes tell where the records of a run are without a look at the whole storage,
and what was under way when a run was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from upath import UPath

from dsml.store.manifest import Attempt, Json, JsonFile, Manifest
from dsml.store.once import write_once
from dsml.store.paths import BEGUN_FOLDER, NOTE, RUNS_FOLDER, check_names, note_path
from dsml.store.publish import Store

RUN_FILE = "run.json"
TRACE_FILE = "trace.json"

RUNNING, CACHED = "running", "cached"  # of a note, beside the statuses of attempts


@dataclass(frozen=True)
class RunRecord(JsonFile):
    """One run. Times are UTC in ISO 8601; ``ended`` is empty until it ends, as in a killed run.

    ``status`` is running, passed, failed or cancelled. ``steps`` holds what was to be run, each
    step with those of the others that it waits for. ``started_by`` says whether that was the
    command line, the UI, a schedule, a sensor or a backfill, ``process`` which process executes it
    (host:pid:start). ``git`` and ``ci`` are the facts that are known of the code and of the job.
    """

    run_id: str
    project: str
    pipeline: str
    experiment: str
    partition: str | None
    started: str
    ended: str = ""
    status: str = RUNNING
    parent: str = ""
    started_by: str = ""
    user: str = ""
    process: str = ""
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    git: Mapping[str, Json] = field(default_factory=dict)
    ci: Mapping[str, str] = field(default_factory=dict)


def run_path(store: Store, run_id: str, file: str) -> UPath:
    """Where a file of a run as a whole lies."""
    check_names(run_id)
    return store.root.joinpath(RUNS_FOLDER, run_id, file)


def keep_run(store: Store, record: RunRecord) -> None:
    """Write the record of a run, as it stands now."""
    store.write(run_path(store, record.run_id, RUN_FILE), record.to_json())


def read_run(store: Store, run_id: str) -> RunRecord | None:
    """The record of a run; None where nothing has written one."""
    return RunRecord.read(run_path(store, run_id, RUN_FILE))


def run_ids(store: Store) -> list[str]:
    """The ids of all runs that have left something, in no order."""
    return [path.name for path in _listed(store.root / RUNS_FOLDER)]


def note_cached(store: Store, manifest: Manifest) -> None:
    """Note that a step need not be run, since ``manifest`` takes over what there was."""
    record = Attempt(
        **vars(manifest.address),
        number=0,
        status=CACHED,
        error="",
        started=manifest.started,
        ended=manifest.ended,
        parameters=manifest.parameters,
        inputs=manifest.inputs,
        code=manifest.code,
    )
    store.write(_note_path(store, record), record.to_json())


def begin(store: Store, record: Attempt) -> Attempt:
    """Note that an attempt begins, under the first number from its own on that nobody has taken.

    Another process may be at the same step of the same run, or may have been killed at it: each
    attempt has a number of its own, and with it folders of its own.
    """
    while True:
        try:
            write_once(_note_path(store, record), record.to_json())
        except FileExistsError:
            record = replace(record, number=record.number + 1)
        else:
            return record


def _note_path(store: Store, record: Attempt) -> UPath:
    return store.at(note_path(record.address, record.number))


def noted(store: Store, run_id: str) -> list[UPath]:
    """The notes of a run, in no order; each holds an ``Attempt`` as it was at its beginning."""
    found = _listed(run_path(store, run_id, BEGUN_FOLDER))
    return [path for path in found if not path.name.startswith(".")]


def has_attempts(store: Store, run_id: str) -> bool:
    """Whether a step has been run, and not only found to be unchanged."""
    return any(not path.name.endswith(f".0{NOTE}") for path in noted(store, run_id))


def _listed(folder: UPath) -> Iterator[UPath]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from folder.iterdir()
