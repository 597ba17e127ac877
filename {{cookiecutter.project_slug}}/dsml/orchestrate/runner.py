"""One attempt at one notebook: inputs in, kernel, outputs published, evidence kept.

Knows nothing of Dagster: the connection to the kernel and the log are handed in.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.orchestrate.executed import prepare, write_html
from dsml.orchestrate.kernel import Execution
from dsml.step.context import Setting
from dsml.step.facts import now
from dsml.step.inputs import find_inputs
from dsml.step.task import (
    Reported,
    Task,
    manifest_of,
    measure_outs,
    record_of,
    setting_of,
)
from dsml.store import Manifest, Staging
from dsml.store.manifest import ATTEMPTS_FOLDER, HTML_FILE, LOG_FILE, NOTEBOOK_FILE

CANCELLED = "the run was cancelled"
_TICK = 0.2  # seconds between two looks at what the notebook has printed
_LOG_LIMIT = 256 * 1024  # characters of a step that go to Dagster's log; the file has them all
_STOP_TIMEOUT = 1.0  # seconds for a killed execution to save its notebook


class Log(Protocol):
    """Where the runner's lines go; Dagster's log manager is one."""

    def info(self, msg: str) -> None:
        """Log what happens."""

    def warning(self, msg: str) -> None:
        """Log what a user should look at."""


@dataclass(frozen=True)
class Line:
    """The line to a kernel: variables for its environment, and what it has reported so far."""

    env: Mapping[str, str]
    reported: Callable[[], Sequence[Mapping[str, Any]]]


Connect = Callable[[Setting, Path], AbstractContextManager[Line]]


@dataclass(frozen=True)
class Passed:
    """A step that has passed: its manifest, and the files that its notebook logged."""

    manifest: Manifest
    files: Mapping[str, str]


def attempt(task: Task, log: Log, connect: Connect) -> Passed:
    """Run the notebook once and publish what it declares.

    The executed notebook, its HTML, the log and a record are kept in any case.

    Raises:
        ProjectError: an input is missing, a cell failed, the kernel died, the deadline passed,
            or an out was not written; the text is the message for the user.
    """
    with _interrupted_once():
        return _attempt(task, log, connect)


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let the first signal through and none after it, so that clearing up is not cut short.

    A terminal sends Ctrl-C to every process of a run, and Dagster then passes it on once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def first(number: int, frame: FrameType | None) -> None:
        for each in saved:
            signal.signal(each, signal.SIG_IGN)
        handler = saved[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    handled = {number: handler for number, handler in saved.items() if callable(handler)}
    for number in handled:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _attempt(task: Task, log: Log, connect: Connect) -> Passed:
    started = now()
    inputs = find_inputs(task.root, task.store, task.step, task.address)
    staging = task.store.stage(task.address, task.number)
    status, error = "failed", ""
    try:
        setting = setting_of(task, inputs, staging)
        with connect(setting, staging.private) as line:
            _execute(task, staging, line.env, log)
        outputs = measure_outs(task, staging, log.warning)
        reported = Reported.of(line.reported())
        status = "passed"
    except Exception as failure:
        error = str(failure)
        raise
    except BaseException:
        status, error = "cancelled", CANCELLED
        raise
    finally:
        record = record_of(task, inputs, started, status, error)
        task.store.keep_attempt(task.address, staging, record)
        if status != "passed":
            task.store.unstage(staging)
    executed = f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}"
    manifest = manifest_of(task, inputs, outputs, reported, started, executed)
    try:
        task.store.publish(task.address, staging, manifest)
    finally:
        task.store.unstage(staging)
    return Passed(manifest, reported.files)


def _execute(task: Task, staging: Staging, env: Mapping[str, str], log: Log) -> None:
    given = {
        name: v.value
        for name, v in task.values.items()
        if v.source != "default" or task.step.parameters[name].in_schema
    }
    source = task.root / task.step.path
    execution = Execution(
        notebook=prepare(source, given),
        file=staging.evidence / NOTEBOOK_FILE,
        folder=source.parent,
        env=kernel_env(task.root, env),
        private=staging.private,
    )
    execution.start()
    try:
        _watch(execution, staging.evidence / LOG_FILE, task.timeout, log)
    except BaseException:  # a cancelled run arrives as an exception in the middle of a wait
        execution.stop(CANCELLED)
        execution.join(_STOP_TIMEOUT)
        raise
    finally:
        _write_html(execution, staging.evidence / HTML_FILE, log)
    if execution.failure is not None:
        failure = execution.failure
        where = Where(task.step.path, failure.cell, None, failure.line)
        fix = f"look at the executed notebook: {task.kept(task.number, NOTEBOOK_FILE)}"
        raise ProjectError([Problem(where, failure.error, fix, "failed")])


def kernel_env(root: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The kernel imports the project's own packages, installed or not."""
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, **env, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _watch(execution: Execution, file: Path, timeout: float | None, log: Log) -> None:
    """Pass on what the notebook prints until it is over or its time is up."""
    deadline = None if timeout is None else time.monotonic() + timeout
    shown = 0
    with file.open("w", encoding="utf-8") as stream:
        while True:
            ended = execution.done.wait(_TICK)
            text = execution.take_output()
            if text:
                stream.write(text)
                stream.flush()
                shown = _show(text, shown, file, log)
            if ended:
                return
            if deadline is not None and time.monotonic() > deadline:
                execution.stop(f"the deadline of {timeout:g} s has passed")
                deadline = None


def _show(text: str, shown: int, file: Path, log: Log) -> int:
    if shown > _LOG_LIMIT:
        return shown
    log.info(text[: _LOG_LIMIT - shown].rstrip("\n"))
    if shown + len(text) > _LOG_LIMIT:
        log.warning(
            f"the step prints more than {_LOG_LIMIT:,} characters; the rest is in {file.name}"
        )
    return shown + len(text)


def _write_html(execution: Execution, file: Path, log: Log) -> None:
    try:
        write_html(execution.notebook, file)
    except Exception as error:  # the notebook itself is kept, and the step is what counts
        log.warning(f"the executed notebook could not be written as HTML: {error}")
