"""What is recorded of a run as a whole, by the process that executes it.

Every run goes through its executor, whoever started it: the command line, the UI, a schedule or a
sensor. That is therefore where its record is written, and its trace.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from dagster import DagsterEvent, DagsterExecutionInterruptedError, DagsterRun, Executor
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.storage.tags import BACKFILL_ID_TAG, SCHEDULE_NAME_TAG, SENSOR_NAME_TAG

from dsml.contract.problem import ProjectError
from dsml.contract.project import Project
from dsml.contract.request import RunRequest, missing_secrets
from dsml.contract.spec import StepSpec
from dsml.evidence import export, trace
from dsml.evidence.ci import ci_facts
from dsml.evidence.records import Tried
from dsml.orchestrate.config import given_values, op_name, parse_step_key
from dsml.orchestrate.launch import interrupted
from dsml.orchestrate.partitions import keys_of
from dsml.orchestrate.process import PROCESS_TAG
from dsml.orchestrate.tracked import Tracked
from dsml.step.facts import git_facts, git_origin, now
from dsml.step.process import mark
from dsml.store import Store
from dsml.store.disk import disk_told
from dsml.store.runs import RunRecord, has_attempts, keep_run

if TYPE_CHECKING:
    from dsml.orchestrate.runner import Log

_SHARE = 20  # the trace of a run under way is written again for a twentieth of the time at most
_STARTERS = {BACKFILL_ID_TAG: "backfill", SCHEDULE_NAME_TAG: "schedule", SENSOR_NAME_TAG: "sensor"}
_CANCELLED = (DagsterExecutionInterruptedError, KeyboardInterrupt, GeneratorExit)


class Recorded(Executor):
    """Executes as another executor does; the run leaves its record and its trace in the store.

    A run without a step of the project leaves none. ``prepare`` is called before steps are run.
    """

    def __init__(self, project: Project, executor: Executor, prepare: Callable[[], None]) -> None:
        self._project = project
        self._executor = executor
        self._prepare = prepare

    @property
    def retries(self) -> RetryMode:
        """Whether steps are tried again."""
        return self._executor.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """When a step may begin."""
        return self._executor.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Execute the plan as the other executor does."""
        if not _steps(self._project, execution_plan):
            yield from self._executor.execute(plan_context, execution_plan)
            return
        self._prepare()
        run = _Run(self._project, plan_context.dagster_run, execution_plan, plan_context.log)
        status = "passed"
        try:
            self._check_secrets(plan_context.dagster_run, execution_plan)
            for event in self._executor.execute(plan_context, execution_plan):
                if event.is_step_failure and status == "passed":
                    status = "failed"
                if interrupted(event):
                    status = "cancelled"
                run.follow(event)
                yield event
                yield from run.tracked.link(plan_context)
            yield from run.tracked.link(plan_context, wait=run.waits)
        except BaseException as error:
            if status == "passed":
                status = "failed"
            if isinstance(error, _CANCELLED):
                status = "cancelled"
            raise
        finally:
            run.end(status)

    def _check_secrets(self, run: DagsterRun, plan: ExecutionPlan) -> None:
        """Look whether all secrets are there before any step begins; a run by hand has done so."""
        steps = tuple(_steps(self._project, plan))
        values = {name: given_values(run.run_config, name) for name in steps}
        request = RunRequest(run.job_name, keys_of(run)[0], steps, values)
        problems = missing_secrets(self._project, request, os.environ)
        if problems:
            raise ProjectError(problems)


class _Run:
    """Keeps the record and the trace of one run up to date."""

    def __init__(self, project: Project, run: DagsterRun, plan: ExecutionPlan, log: Log) -> None:
        self._store = Store.open(project.root, project.catalog)
        self._log = log
        self._record = _record(project, run, plan)
        self._known: dict[str, Tried] = {}
        self._next = 0.0
        self._is_kept = False
        with self._told():
            keep_run(self._store, self._record)
            self._is_kept = True
        for name in project.catalog.preload:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                log.warning(f"catalog.yml, preload: there is no module '{name}'")
        self.tracked = Tracked(project, run.run_id, log)

    @cached_property
    def waits(self) -> bool:
        """Whether MLflow is waited for at the end: a run that found nothing to do goes on."""
        return self.tracked.is_on and has_attempts(self._store, self._record.run_id)

    def follow(self, event: DagsterEvent) -> None:
        """Write the trace when a step has ended, so that it is there if the run is killed."""
        if not (event.is_step_success or event.is_step_failure):
            return
        self.tracked.push()
        begun = time.monotonic()
        if begun < self._next or not self._is_kept:
            return
        with self._told():
            trace.write(self._store, self._record.run_id, self._known)
        ended = time.monotonic()
        self._next = ended + _SHARE * (ended - begun)

    def end(self, status: str) -> None:
        """Write how the run ended, and its trace; send it where the environment says so."""
        self._record = replace(self._record, status=status, ended=now())
        with self._told():
            keep_run(self._store, self._record)
            found = trace.write(self._store, self._record.run_id, self._known)
            problem = export.send(found.spans) if export.is_configured() else None
            if problem is not None:
                self._log.warning(str(problem))
        self.tracked.end(wait=self.waits)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A run is not to fail because of its trace."""
        try:
            with disk_told(self._store.work):
                yield
        except Exception as error:
            kind = "" if isinstance(error, ProjectError) else f"{type(error).__name__}: "
            self._log.warning(f"the trace of this run could not be written: {kind}{error}")


def _steps(project: Project, plan: ExecutionPlan) -> dict[str, StepSpec]:
    """The steps of the project that a run executes."""
    ops = {parse_step_key(key).op for key in plan.step_keys_to_execute}
    return {name: step for name, step in project.registered.items() if op_name(name) in ops}


def _record(project: Project, run: DagsterRun, plan: ExecutionPlan) -> RunRecord:
    experiment, partition = keys_of(run)
    steps = _steps(project, plan)
    return RunRecord(
        run_id=run.run_id,
        project=project.catalog.project,
        pipeline=run.job_name,
        experiment=experiment,
        partition=partition,
        started=now(),
        parent=run.parent_run_id or "",
        started_by=_started_by(run),
        user=_user(),
        process=mark(),
        steps={name: sorted(step.upstream & steps.keys()) for name, step in steps.items()},
        git={**git_facts(project.root), **git_origin(project.root)},
        ci=ci_facts(os.environ),
    )


def _started_by(run: DagsterRun) -> str:
    for tag, word in _STARTERS.items():
        if tag in run.tags:
            return f"{word} {run.tags[tag]}"
    return "command line" if PROCESS_TAG in run.tags else "UI"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in many containers
        return ""
