"""One attempt at one notebook: inputs in, kernel, outputs published, evidence kept.

Knows nothing of Dagster: the connection to the kernel and the log are handed in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.spec import StepSpec
from dsml.orchestrate.executed import HTML_FILE, NOTEBOOK_FILE, prepare, write_html
from dsml.orchestrate.facts import git_facts, now, versions
from dsml.orchestrate.kernel import Execution
from dsml.step.context import Setting
from dsml.step.standalone import missing_input
from dsml.store import Attempt, Input, Manifest, Output, Staging, StepRun, Store, Value
from dsml.store.manifest import ATTEMPTS_FOLDER, Json
from dsml.store.publish import measure

LOG_FILE = "log.txt"
LOGGED_FOLDER = "logged"
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
class Task:
    """One attempt that is to be made; ``timeout`` is in seconds."""

    root: Path
    step: StepSpec
    store: Store
    address: StepRun
    number: int
    values: Mapping[str, Value]
    timeout: float | None = None

    def kept(self, number: int, file: str) -> str:
        """Where a file of an attempt is kept when the attempt is over."""
        return str(self.store.path(self.address, f"{ATTEMPTS_FOLDER}/{number}/{file}"))


@dataclass
class Reported:
    """What the notebook logged: metrics (their last value), facts, and files."""

    metrics: dict[str, float | str] = field(default_factory=dict)
    params: dict[str, Json] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]]) -> Reported:
        """Sort what came through the line by its kind."""
        found = cls()
        kinds: dict[str, tuple[dict[str, Any], str]] = {
            "metric": (found.metrics, "value"),
            "param": (found.params, "value"),
            "file": (found.files, "file"),
        }
        for message in messages:
            if isinstance(message, Mapping) and message.get("kind") in kinds:
                target, key = kinds[message["kind"]]
                target[str(message["name"])] = message[key]
        return found


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
    started = now()
    inputs = _resolve(task)
    staging = task.store.stage(task.address, task.number)
    status, error = "failed", ""
    try:
        setting = _setting(task, inputs, staging)
        with connect(setting, staging.private) as line:
            _execute(task, staging, line.env, log)
        outputs = _outputs(task, staging, log)
        status = "passed"
    except Exception as failure:
        error = str(failure)
        raise
    except BaseException:
        status, error = "cancelled", CANCELLED
        raise
    finally:
        record = _record(task, inputs, started, status, error)
        task.store.keep_attempt(task.address, staging, record)
        if status != "passed":
            task.store.unstage(staging)
    reported = Reported.of(line.reported())
    manifest = _manifest(task, inputs, outputs, reported, started)
    task.store.publish(task.address, staging, manifest)
    task.store.unstage(staging)
    return Passed(manifest, reported.files)


def _resolve(task: Task) -> dict[str, Input]:
    found: dict[str, Input] = {}
    problems: list[Problem] = []
    for name, source in task.step.ins.items():
        artefact = task.store.resolve(source, task.address)
        if artefact is None:
            problems.append(missing_input(task.step, name, source, task.address.experiment))
        else:
            found[name] = artefact
    if problems:
        raise ProjectError(problems)
    return found


def _setting(task: Task, inputs: Mapping[str, Input], staging: Staging) -> Setting:
    address = task.address
    return Setting(
        step=task.step.name,
        run_id=address.run_id,
        experiment=address.experiment,
        partition_key=address.partition,
        retry_number=task.number - 1,
        config={name: value.value for name, value in task.values.items()},
        sources={name: value.source for name, value in task.values.items()},
        ins={name: str(task.store.fetch(found, address)) for name, found in inputs.items()},
        outs={name: str(staging.outs / file) for name, file in task.step.outs.items()},
        logged=str(staging.evidence / LOGGED_FOLDER),
    )


def _execute(task: Task, staging: Staging, env: Mapping[str, str], log: Log) -> None:
    given = {name: v.value for name, v in task.values.items() if v.source != "default"}
    source = task.root / task.step.path
    execution = Execution(
        notebook=prepare(source, given),
        file=staging.evidence / NOTEBOOK_FILE,
        folder=source.parent,
        env=_kernel_env(task.root, env),
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


def _kernel_env(root: Path, env: Mapping[str, str]) -> dict[str, str]:
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


def _outputs(task: Task, staging: Staging, log: Log) -> dict[str, Output]:
    """Measure the declared outs.

    Raises:
        ProjectError: naming every one that is not there.
    """
    problems: list[Problem] = []
    outputs: dict[str, Output] = {}
    for name, file in task.step.outs.items():
        path = staging.outs / file
        if path.is_file():
            outputs[name] = measure(path)
            continue
        what = f"outs.{name}: the step ended without writing '{file}'"
        fix = f'write it with context.save("{name}", ...), or to the path context.outs.{name}'
        problems.append(Problem(task.step.where("outs", name), what, fix, "out-missing"))
    if problems:
        raise ProjectError(problems)
    declared = set(task.step.outs.values())
    for path in sorted(staging.outs.iterdir()):
        if path.name not in declared:
            log.warning(f"'{path.name}' was written but is no out of the step: it is not kept")
    return outputs


def _record(
    task: Task, inputs: Mapping[str, Input], started: str, status: str, error: str
) -> Attempt:
    address = task.address
    return Attempt(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=address.partition,
        number=task.number,
        status=status,
        error=error,
        started=started,
        ended=now(),
        parameters=task.values,
        inputs=inputs,
    )


def _manifest(
    task: Task,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    reported: Reported,
    started: str,
) -> Manifest:
    address = task.address
    return Manifest(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=address.partition,
        parameters=task.values,
        inputs=inputs,
        outputs=outputs,
        code=task.step.code,
        git=git_facts(task.root),
        versions=versions(task.root),
        started=started,
        ended=now(),
        attempts=task.number,
        executed=f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}",
        logged=reported.params,
        metrics=reported.metrics,
    )
