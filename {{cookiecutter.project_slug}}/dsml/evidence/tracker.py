"""Tracking, on the side of the process that executes a run: it asks ``tracker_process``."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsml.contract.catalog import Catalog
from dsml.contract.problem import Problem, Where
from dsml.evidence.mlflow_state import not_reached, reaches
from dsml.step.process import environment_of
from dsml.step.tracking import BESIDE_TAG, Tracking, tracking_of
from dsml.store import StepRun

_GLANCE = 0.05  # seconds
_OPEN_TIMEOUT = 120.0  # seconds; a database that is made takes a few
_END_TIMEOUT = 60.0  # seconds that the end of a run waits for what is still to be written


@dataclass(frozen=True)
class Opened:
    """What a kernel finds in its environment, the page of its MLflow run, what went wrong."""

    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    problem: str = ""


class Tracker:
    """Follows the runs of one process; what it is asked for doesn't raise."""

    def __init__(self, root: Path, tracking: Tracking) -> None:
        self._tracking = tracking
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dsml.evidence.tracker_process", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd=root,
            env=environment_of(root),
            start_new_session=True,  # Ctrl-C is for the run, whose end it is to write down
        )
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._opened: dict[StepRun, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._read, daemon=True).start()
        atexit.register(self.close)

    def begin(self, run_id: str) -> Future[dict[str, Any]]:
        """Have the MLflow run of a run made."""
        return self._ask("begin", run_id)

    def open_step(self, address: StepRun, *, wait: bool) -> Opened:
        """What the kernel of a step is to find in its environment.

        With ``wait`` the MLflow run of the step is waited for. Otherwise the step is not known to
        use MLflow, and need not wait until MLflow is imported and has made one: what it logs all
        the same lands in a run beside.
        """
        opened = self._opened[address] = self._ask("open", address.run_id, address=asdict(address))
        if wait:
            return _opened(self._answer(opened))
        with contextlib.suppress(NotInTime):
            return _opened(opened.result(_GLANCE))
        return Opened(self._tracking.env(tags={BESIDE_TAG: address.run_id}))

    def url(self, address: StepRun) -> str:
        """The page of the MLflow run of a step that was opened here; empty where there is none."""
        opened = self._opened.get(address)
        return _opened(opened.result()).url if opened is not None and opened.done() else ""

    def push(self, run_id: str) -> None:
        """Have MLflow brought up to date when there is time."""
        self._ask("push", run_id)

    def end(self, run_id: str) -> str:
        """Wait until MLflow has all of a run; what was in the way, for the user."""
        answer = self._answer(self._ask("end", run_id), _END_TIMEOUT)
        return str(answer.get("problem", ""))

    def leave(self, run_id: str) -> str:
        """Have all of a run written to MLflow without waiting; what is known to be in the way."""
        self.push(run_id)
        return "" if reaches(self._tracking) else str(not_reached(self._tracking))

    def is_lost(self, run_id: str) -> bool:
        """Whether MLflow doesn't answer any more."""
        return self._answer(self._ask("reach", run_id)).get("reached") is False

    def close(self) -> None:
        """Let the process end, when it has done what it was asked for."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _ask(self, what: str, run_id: str, **given: Any) -> Future[dict[str, Any]]:
        number = next(self._ids)
        future: Future[dict[str, Any]] = Future()
        line = json.dumps({"id": number, "do": what, "run": run_id, **given}) + "\n"
        with self._lock:
            self._waiting[number] = future
            try:
                self._stdin.write(line)
                self._stdin.flush()
            except (OSError, ValueError):
                self._waiting.pop(number)
                future.set_result({"problem": str(_gone())})
        return future

    def _answer(
        self, future: Future[dict[str, Any]], timeout: float = _OPEN_TIMEOUT
    ) -> dict[str, Any]:
        try:
            return future.result(timeout)
        except NotInTime:
            return {"problem": str(_slow(timeout))}

    def _read(self) -> None:
        for line in self._process.stdout or ():
            answer = json.loads(line)
            with self._lock:
                future = self._waiting.pop(answer.pop("id"), None)
            if future is not None:
                future.set_result(answer)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_result({"problem": str(_gone())})


def _opened(answer: Mapping[str, Any]) -> Opened:
    return Opened(**{key: answer[key] for key in ("env", "url", "problem") if key in answer})


def _slow(timeout: float) -> Problem:
    what = f"MLflow hasn't taken what was tracked within {timeout:g} s"
    return Problem(Where("tracking"), what, "send the rest later: dsml sync", "slow", "warning")


def _gone() -> Problem:
    what = "the process that speaks with MLflow has ended: nothing more is tracked in this run"
    fix = "look at what it says: dsml sync"
    return Problem(Where("tracking"), what, fix, "no-tracker", "warning")


def tracker_of(root: Path, catalog: Catalog) -> Tracker | None:
    """The tracker of this process for a project; None where nothing is tracked.

    Raises:
        ProjectError: there is no environment of the name in ``DSML_ENV``.
    """
    tracking = tracking_of(root, catalog)
    if tracking is None or importlib.util.find_spec("mlflow") is None:
        return None
    return _tracker(root, os.environ.get("DSML_ENV", ""), tracking)


@functools.cache
def _tracker(root: Path, _environment: str, tracking: Tracking) -> Tracker:
    """One for each project, environment and MLflow."""
    return Tracker(root, tracking)
