"""The process that keeps MLflow up to date while a run is under way: ``python -m`` this module.

It speaks with the process that executes the run in lines of JSON, one request a line on standard
input, one answer a line on standard output. It is a process of its own since MLflow takes two
seconds to import, and writes for minutes where much was logged: the run waits for neither.

Requests are ``{"id": 1, "do": ..., "run": <run id>}``, answers ``{"id": 1, ...}``:

``begin``  make the MLflow run of the run → ``{"url", "problem"}``
``open``   make that of a step (``step``, ``instance``, ...) → ``{"env", "url", "problem"}``
``push``   bring MLflow up to date, later → ``{}``
``end``    do so for the last time, once all that was asked for before is done → ``{"problem"}``
``reach``  whether MLflow answers → ``{"reached"}``

``problem`` is a text for the user, empty where there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from dsml.contract.catalog import read_catalog
from dsml.evidence.mlflow_runs import MlflowRuns
from dsml.evidence.mlflow_state import keep_synced, not_reached, not_written, reaches
from dsml.evidence.records import Tried
from dsml.step.facts import now
from dsml.step.quick_import import without
from dsml.step.tracking import BESIDE_TAG, QUIET, Tracking, tracking_of
from dsml.store import StepRun, Store
from dsml.store.runs import RunRecord, read_run

Answer = dict[str, Any]
_PARENT_PATIENCE = 20.0  # seconds for the run's own process to make the MLflow run of the run
# Of a server that is slow or down: nothing here is lost, and a run waits for the end of it.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass
class _Run:
    """A run that is followed: what has been read of it, and what went wrong.

    ``is_own`` says that it is executed by the process which has started this one, and not one step
    of it by a worker.
    """

    record: RunRecord
    read: dict[str, Tried] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)
    is_own: bool = False
    ended: bool = False


class _Service:
    """Does what is asked for. Pushes are done one after the other in a thread of their own."""

    def __init__(self, store: Store, tracking: Tracking) -> None:
        self._store = store
        self._tracking = tracking
        self._runs = MlflowRuns(tracking)
        self._followed: dict[str, _Run] = {}
        self._later: queue.SimpleQueue[tuple[str, threading.Event | None]] = queue.SimpleQueue()
        self._queued: set[str] = set()
        threading.Thread(target=self._push_all, daemon=True).start()

    @cached_property
    def _offline(self) -> MlflowRuns:
        return MlflowRuns(self._tracking.offline())

    def begin(self, run: str) -> Answer:
        """Make the MLflow run of a run."""
        followed = self._follow(run)
        followed.is_own = True
        runs, problem = self._reached(followed)
        return {"url": runs.url(runs.begin(followed.record)), "problem": problem}

    def open(self, run: str, address: Mapping[str, Any]) -> Answer:
        """Make the MLflow run of a step, and say what its kernel needs to know."""
        followed = self._follow(run)
        runs, problem = self._reached(followed)
        if not followed.is_own:
            runs.wait_for(run, _PARENT_PATIENCE)
        step = StepRun(**address)
        found = runs.open_step(followed.record, step, now())
        env = runs.tracking.env(found, {BESIDE_TAG: run})
        return {"env": env, "url": runs.url(found), "problem": problem}

    def push(self, run: str) -> Answer:
        """Bring MLflow up to date when there is time."""
        self._follow(run)
        if run not in self._queued:  # else what is new is written with what waits already
            self._queued.add(run)
            self._later.put((run, None))
        return {}

    def end(self, run: str) -> Answer:
        """Bring MLflow up to date, and say what was in the way."""
        followed = self._follow(run)
        done = threading.Event()
        self._later.put((run, done))
        done.wait()
        followed.ended = True
        return {"problem": "\n".join(followed.problems)}

    def reach(self, run: str) -> Answer:
        """Whether MLflow answers."""
        self._follow(run)
        return {"reached": reaches(self._tracking)}

    def close(self) -> None:
        """The process that executes runs is gone: write down how those ended that it left."""
        for run, followed in self._followed.items():
            if followed.is_own and not followed.ended:
                self.end(run)

    def _follow(self, run: str) -> _Run:
        followed = self._followed.get(run)
        if followed is None:
            record = read_run(self._store, run)
            if record is None:
                raise FileNotFoundError(f"run {run} has left no record")
            followed = self._followed[run] = _Run(record)
        return followed

    def _reached(self, followed: _Run) -> tuple[MlflowRuns, str]:
        """The MLflow that answers, and what is to be said of it if that is the one offline."""
        if reaches(self._tracking):
            return self._runs, ""
        problem = str(not_reached(self._tracking))
        followed.problems[problem] = None
        return self._offline, problem

    def _push_all(self) -> None:
        while True:
            run, done = self._later.get()
            self._queued.discard(run)
            with contextlib.suppress(Exception):  # told by _push_one
                self._push_one(run, self._followed[run])
            if done is not None:
                done.set()

    def _push_one(self, run: str, followed: _Run) -> None:
        try:
            if not reaches(self._tracking):
                followed.problems[str(not_reached(self._tracking))] = None
                return
            records = self._runs.push_run(self._store, run, followed.read)
            if records is not None and not followed.problems:
                keep_synced(self._store, self._tracking, records)
        except Exception as error:
            followed.problems[str(not_written(self._tracking, error))] = None


def serve(service: _Service, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more; ``end`` is answered when it is done."""
    lock = threading.Lock()

    def answer(request: Mapping[str, Any]) -> None:
        arguments = {key: value for key, value in request.items() if key not in ("id", "do")}
        try:
            found = getattr(service, request["do"])(**arguments)
        except FileNotFoundError:  # tests of users execute jobs in ways that leave no record
            found = {}
        except Exception as error:  # the run goes on without
            found = {"problem": f"{type(error).__name__}: {error}"}
        with lock, contextlib.suppress(BrokenPipeError):  # nobody waits any more
            answers.write(json.dumps({"id": request["id"], **found}) + "\n")
            answers.flush()

    for line in requests:
        request = json.loads(line)
        if request["do"] == "end":  # may take long, and another run may be asked about meanwhile
            threading.Thread(target=answer, args=(request,), daemon=True).start()
        else:
            answer(request)
    service.close()


def main() -> None:
    """Serve the process that has started this one, for the project that is named."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints does not answer
    for name, value in {**_PATIENCE, **QUIET}.items():
        os.environ.setdefault(name, value)
    root = Path(sys.argv[1])
    catalog = read_catalog(root, [])
    tracking = tracking_of(root, catalog)
    if tracking is None:
        return
    # MLflow's client does without them, in 80 MB and 0.3 s less
    with without("pandas"), without("pyarrow"), without("scipy"):
        serve(_Service(Store.open(root, catalog), tracking), sys.stdin, answers)


if __name__ == "__main__":
    main()
