"""One attempt at one notebook: inputs in, kernel, outputs published, evidence kept.

Knows nothing of Dagster: the connection to the kernel and the log are handed in.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.site.notebooks import report_page
from dsml.orchestrate.cancelling import check_cancelled
from dsml.orchestrate.executed import prepare, write_html
from dsml.orchestrate.kernel import Execution
from dsml.step.checks import judge, run_checks
from dsml.step.context import Setting
from dsml.step.process import environment_of
from dsml.step.redact import redactor_of
from dsml.step.reported import Reported
from dsml.step.spans import TRACEPARENT, traceparent
from dsml.step.task import Observed, Task, manifest_of, measure_outs, record_of, setting_of
from dsml.store import Manifest, Staging, StepRun
from dsml.store.disk import NO_SPACE, ROOM
from dsml.store.manifest import ATTEMPTS_FOLDER, HTML_FILE, LOG_FILE, NOTEBOOK_FILE, REPORT_FILE

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


# Opens the line to a kernel; what it gives are variables for the kernel's environment.
Connect = Callable[[Setting, Path], AbstractContextManager[Mapping[str, str]]]


def attempt(task: Task, log: Log, connect: Connect) -> Manifest:
    """Run the notebook once and publish what it declares.

    ``task`` has begun (``dsml.step.task.begun``). The executed notebook, its HTML, the log and a
    record are kept in any case.

    Raises:
        AlreadyPublished: another attempt at the step in this run was the first to publish.
        ProjectError: a cell failed, the kernel died, the deadline passed, an out was not written,
            or breaks a check that blocks; the text is the message for the user.
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


def _attempt(task: Task, log: Log, connect: Connect) -> Manifest:
    staging = task.store.stage(task.address, task.number)
    status, error, observed = "failed", "", Observed()
    try:
        setting = setting_of(task, staging, log.warning)
        with connect(setting, staging.private) as env:
            _execute(task, staging, env, log, observed)
        outputs = measure_outs(task, staging, log.warning)
        checks = run_checks(
            task.step, task.root, {name: staging.outs / o.file for name, o in outputs.items()}
        )
        judge(task.step, checks, log.warning)
        reported = Reported.read(Path(setting.logged))
        status = "passed"
    except Exception as failure:
        error = str(failure)
        observed.exception = observed.exception or type(failure).__name__
        raise
    except BaseException:
        status, error = "cancelled", CANCELLED
        raise
    finally:
        if status != "passed":
            staging.drop_outs()  # on a disk that is full they are in the way of the evidence
        record = record_of(task, status, error, observed)
        task.store.keep_attempt(staging, record)
        if status != "passed":
            task.store.unstage(staging)
    executed = f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}"
    manifest = manifest_of(task, outputs, reported, executed, checks)
    try:
        return task.store.publish(staging, manifest)
    finally:
        task.store.unstage(staging)


def _execute(
    task: Task, staging: Staging, env: Mapping[str, str], log: Log, observed: Observed
) -> None:
    given = {
        name: v.value
        for name, v in task.values.items()
        if v.source != "default" or task.step.parameters[name].in_schema
    }
    source = task.root / task.step.path
    execution = Execution(
        notebook=prepare(task.root, task.step, given),
        file=staging.evidence / NOTEBOOK_FILE,
        folder=source.parent,
        env=environment_of(task.root, {**env, TRACEPARENT: traceparent(task.address, task.number)}),
        private=staging.private,
        redactor=redactor_of(task.secrets),
    )
    execution.start()
    try:
        _watch(execution, staging.evidence / LOG_FILE, task.timeout, log)
    except BaseException:  # a cancelled run arrives as an exception in the middle of a wait
        execution.stop(CANCELLED)
        execution.join(_STOP_TIMEOUT)
        raise
    finally:
        usage = execution.usage
        observed.cpu_seconds, observed.peak_memory = usage.cpu_seconds, usage.peak_memory
        observed.cells = execution.cells
        _write_html(execution, staging.evidence / HTML_FILE, log)
    if execution.failure is not None:
        failure = execution.failure
        observed.exception, observed.traceback = failure.exception, failure.traceback
        where = Where(task.step.path, failure.cell, None, failure.line)
        notebook = task.store.attempt_path(task.address, task.number, NOTEBOOK_FILE)
        fix = f"look at the executed notebook: {notebook}"
        if NO_SPACE in failure.error:
            fix = ROOM
        raise ProjectError([Problem(where, failure.error, fix, "failed")])
    if task.step.report:
        _write_report(execution, task.address, staging.evidence / REPORT_FILE, log)


def _watch(execution: Execution, file: Path, timeout: float | None, log: Log) -> None:
    """Pass on what the notebook prints until it is over or its time is up."""
    deadline = None if timeout is None else time.monotonic() + timeout
    shown = 0
    with file.open("w", encoding="utf-8") as stream:
        while True:
            ended = execution.done.wait(_TICK)
            execution.measure()
            text = execution.take_output()
            if text:
                stream.write(text)
                stream.flush()
                shown = _show(text, shown, file, log)
            if ended:
                return
            check_cancelled()
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


def _write_report(execution: Execution, address: StepRun, file: Path, log: Log) -> None:
    try:
        file.write_text(report_page(execution.notebook, address), encoding="utf-8")
    except Exception as error:  # as above
        log.warning(f"the report for readers could not be written: {error}")
