"""An executor that sends each step to a worker of a cluster, which starts a process for it.

Dagster's own executors for Dask and Ray do not fit: that of ``dagster-dask`` plans all tasks before
the first is run, so it can neither map a step nor try it again, and is not to be cancelled; that of
``dagster-ray`` submits each step as a job to the dashboard of a cluster that is there already, and
fails a step whose worker is lost. Here the loop is that of the threads. What is left to the cluster
is where a step is executed, and that it is executed again where its worker is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from dagster import DagsterEvent, Executor
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import deserialize_value, serialize_value
from dagster_shared.error import SerializableErrorInfo

from dsml.contract.needs import Needs
from dsml.orchestrate.loop import Over, Told, execute_plan, whole_plan
from dsml.orchestrate.needs import needs_of
from dsml.orchestrate.remote.worker import Request, Result

# What decides where artefacts and runs are kept; all else in its environment is the worker's own.
_HANDED_ON = ("DSML_ENV", "DAGSTER_HOME")
_PATIENCE = 10.0  # seconds for steps to end when the run is cancelled

# Called with what gives the result, or raises what became of it.
Done = Callable[[Callable[[], Result]], None]


class Cluster(Protocol):
    """Workers of a cluster, as long as a run needs them."""

    where: str  # what a user knows it as
    limit: int | None  # how many steps its workers execute at once, where that is known

    def submit(self, request: Request, name: str, needs: Needs, done: Done) -> None:
        """Have a worker execute a step; ``done`` is called, in any thread, when it is over."""

    def stop(self, run_id: str) -> None:
        """Have the steps of a run end soon."""

    def end(self, run_id: str) -> None:
        """Clear up after a run."""


Connect = Callable[[], AbstractContextManager[Cluster]]


class RemoteExecutor(Executor):
    """Has the steps of a run executed by a cluster, at most ``max_concurrent`` at once."""

    def __init__(self, root: Path, connect: Connect, max_concurrent: int | None) -> None:
        self._root = root
        self._connect = connect
        self._max_concurrent = max_concurrent

    @property
    def retries(self) -> RetryMode:
        """Failed steps are tried again in this run, as their policies say."""
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Execute the steps of a plan, and give the events of all of them as they end."""
        plan = whole_plan(plan_context, execution_plan)
        with self._connect() as cluster:
            limit = self._max_concurrent or cluster.limit
            yield DagsterEvent.engine_event(
                plan_context,
                f"Executing steps on {cluster.where}"
                + ("" if limit is None else f", at most {limit} at once"),
                EngineEventData.in_process(os.getpid(), plan.step_keys_to_execute),
            )
            launcher = _Launcher(self, self._root, plan_context, cluster)
            try:
                yield from execute_plan(plan_context, plan, launcher, limit, _PATIENCE)
            finally:
                cluster.end(plan_context.run_id)


class _Launcher:
    """Executes each step on the cluster."""

    def __init__(
        self, executor: Executor, root: Path, context: PlanOrchestrationContext, cluster: Cluster
    ) -> None:
        self._executor = executor
        self._root = root
        self._context = context
        self._cluster = cluster
        self._stopping = False

    def start(self, step: ExecutionStep, known: KnownExecutionState, told: Told) -> None:
        request: Request = {
            "root": str(self._root),
            "run_id": self._context.run_id,
            "args": serialize_value(self._args(step, known)),
            "env": {name: os.environ[name] for name in _HANDED_ON if name in os.environ},
        }
        done = partial(self._over, step, known, told)
        self._cluster.submit(request, step.key, needs_of(step.tags), done)

    def stop(self) -> None:
        self._stopping = True
        self._cluster.stop(self._context.run_id)

    def _args(self, step: ExecutionStep, known: KnownExecutionState) -> ExecuteStepArgs:
        return ExecuteStepArgs(
            job_origin=self._context.reconstructable_job.get_python_origin(),
            run_id=self._context.run_id,
            step_keys_to_execute=[step.key],
            instance_ref=self._context.instance.get_ref(),
            retry_mode=self._executor.retries.for_inner_plan(),
            known_state=known,
            print_serialized_events=False,
        )

    def _over(
        self,
        step: ExecutionStep,
        known: KnownExecutionState,
        told: Told,
        result: Callable[[], Result],
    ) -> None:
        """Hand on what a step has told, or that it was lost, which its policy may try again."""
        broken: BaseException | None = None
        try:
            found = _taken(result)
            for text in found.get("events", ()):
                told.put(deserialize_value(text, DagsterEvent))
            if "error" in found and not self._stopping:
                told.put(self._lost(step, known, found["error"]))
        except BaseException as error:  # handed to the main thread, where the run is
            broken = error
        told.put(Over(step.key, broken))

    def _lost(self, step: ExecutionStep, known: KnownExecutionState, why: str) -> DagsterEvent:
        return self._executor.log_failure_or_retry_event_after_error(
            self._context.for_step(step), SerializableErrorInfo(why, [], None), known
        )


def _taken(result: Callable[[], Result]) -> Result:
    try:
        return result()
    except BaseException as error:  # what is raised where a worker is lost has many classes
        return {"error": f"{type(error).__name__}: {error}"}
