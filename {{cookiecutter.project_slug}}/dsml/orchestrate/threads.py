"""An executor that runs every step in a thread of the run's own process.

A notebook runs in a kernel, which is a process of its own: a worker process between the two would
only cost time to start, and memory. What is left to a thread is waiting, and publishing.

It leans on private parts of Dagster: the loop is that of its multiprocess executor, around the one
step generator that all of its executors share. ``tests/runtime/test_threads.py`` tells when they
change.
"""

from __future__ import annotations

import functools
import os
import queue
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from dagster import (
    DagsterEvent,
    Executor,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    executor,
)
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import (
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.system_config.objects import ResolvedRunConfig

from dsml.orchestrate.cancelling import begin_run, cancel_steps
from dsml.orchestrate.fanout import forgotten_instances
from dsml.orchestrate.process import fail_gone_runs

_POLL = 0.05  # seconds between two looks for signals, and for steps that have become ready


@dataclass(frozen=True)
class _Over:
    """A step's thread has ended; ``error`` is what no step may raise."""

    key: str
    error: BaseException | None


class ThreadExecutor(Executor):
    """Runs the steps of a run in threads, at most ``max_concurrent`` at once."""

    def __init__(self, max_concurrent: int) -> None:
        self._max_concurrent = max_concurrent

    @property
    def retries(self) -> RetryMode:
        """Failed steps are tried again in this run, as their policies say."""
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        """Execute the steps of a plan, and give the events of all of them as they come."""
        begin_run()
        plan = _whole(plan_context, execution_plan)
        yield DagsterEvent.engine_event(
            plan_context,
            f"Executing steps in threads of process {os.getpid()}, "
            f"at most {self._max_concurrent} at once",
            EngineEventData.in_process(os.getpid(), plan.step_keys_to_execute),
        )
        with _console_captured(plan_context, plan) as captured:
            yield captured
            yield from iter(
                ExecuteRunWithPlanIterable(
                    execution_plan=plan,
                    iterator=functools.partial(_execute, limit=self._max_concurrent),
                    execution_context_manager=PlanExecutionContextManager(
                        job=plan_context.job,
                        retry_mode=self.retries,
                        execution_plan=plan,
                        run_config=plan_context.run_config,
                        dagster_run=plan_context.dagster_run,
                        instance=plan_context.instance,
                        raise_on_error=plan_context.raise_on_error,
                        output_capture=plan_context.output_capture,
                    ),
                )
            )


def _whole(context: PlanOrchestrationContext, plan: ExecutionPlan) -> ExecutionPlan:
    """The plan with the instances that Dagster has forgotten, where a run carries on another."""
    forgotten = forgotten_instances(plan.step_keys_to_execute, plan.known_state)
    if not forgotten:
        return plan
    job = context.job.get_definition()
    config = ResolvedRunConfig.build(job, context.run_config)
    return plan.build_subset_plan([*plan.step_keys_to_execute, *forgotten], job, config)


@contextmanager
def _console_captured(
    context: PlanOrchestrationContext, plan: ExecutionPlan
) -> Iterator[DagsterEvent]:
    """Send what this process prints to where the UI shows it, under every step of the run."""
    logs = context.instance.compute_log_manager
    key = logs.build_log_key_for_run(context.run_id, create_compute_log_file_key())
    with logs.capture_logs(key) as captured:
        yield DagsterEvent.capture_logs(context, plan.step_keys_to_execute, key, captured)


def _execute(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan, limit: int
) -> Iterator[DagsterEvent]:
    with (
        InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as concurrency,
        execution_plan.start(
            retry_mode=job_context.retry_mode,
            max_concurrent=limit,
            instance_concurrency_context=concurrency,
        ) as active,
        ThreadPoolExecutor(max_workers=limit, thread_name_prefix="step") as pool,
    ):
        yield from _Loop(job_context, active, pool, limit).events()


class _Loop:
    """Starts steps as they become ready, and hands on what they tell, until all are over."""

    def __init__(
        self,
        job_context: PlanExecutionContext,
        active: ActiveExecution,
        pool: ThreadPoolExecutor,
        limit: int,
    ) -> None:
        self._context = job_context
        self._active = active
        self._pool = pool
        self._limit = limit
        self._told: queue.SimpleQueue[DagsterEvent | _Over] = queue.SimpleQueue()
        self._running: dict[str, Future[None]] = {}
        self._stopping = False

    def events(self) -> Iterator[DagsterEvent]:
        """What happens, in the order in which it does."""
        try:
            while self._running or not (self._stopping or self._active.is_complete):
                if self._active.check_for_interrupts() and not self._stopping:
                    yield self._interrupt()
                if not self._stopping:
                    self._start_steps()
                    yield from self._waiting()
                yield from self._take()
                yield from self._active.plan_events_iterator(self._context)
        except BaseException:
            cancel_steps()  # the pool is left when all its threads have ended
            raise
        if self._stopping:
            raise DagsterExecutionInterruptedError

    def _waiting(self) -> Iterator[DagsterEvent]:
        """Tell of the steps that wait for a place in their pool, now and then."""
        for event in self._active.concurrency_event_iterator(self._context):
            fail_gone_runs(self._context.instance)  # one of them may hold it
            yield event

    def _interrupt(self) -> DagsterEvent:
        self._stopping = True
        self._active.mark_interrupted()
        cancel_steps()
        return DagsterEvent.engine_event(
            self._context,
            "Received a signal: stopping the steps that are under way",
            EngineEventData.interrupted(list(self._running)),
        )

    def _start_steps(self) -> None:
        for step in self._active.get_steps_to_execute(limit=self._limit - len(self._running)):
            step_context = self._context.for_step(step, self._active.get_known_state())
            self._running[step.key] = self._pool.submit(_run_step, step_context, self._told)

    def _take(self) -> Iterator[DagsterEvent]:
        """Wait a moment for what the steps tell, and take all that is there."""
        try:
            told = self._told.get(timeout=_POLL)
            while True:
                yield from self._handle(told)
                told = self._told.get_nowait()
        except queue.Empty:
            return

    def _handle(self, told: DagsterEvent | _Over) -> Iterator[DagsterEvent]:
        if isinstance(told, DagsterEvent):
            yield told
            self._active.handle_event(told)
            return
        del self._running[told.key]
        if told.error is not None and not self._stopping:
            raise told.error
        self._active.verify_complete(self._context, told.key)


def _run_step(context: StepExecutionContext, told: queue.SimpleQueue[DagsterEvent | _Over]) -> None:
    """Execute one step in this thread, and then the hooks that wait for it."""
    events: list[DagsterEvent] = []
    error: BaseException | None = None
    try:
        for event in dagster_event_sequence_for_step(context):
            events.append(event)
            told.put(event)
        for event in _trigger_hook(context, events):
            told.put(event)
    except BaseException:  # handed to the main thread, where the run is
        error = sys.exc_info()[1]
    told.put(_Over(context.step.key, error))


def thread_executor(workers: int | None) -> ExecutorDefinition:
    """The executor, with a limit that a run may change: ``execution: {config: ...}``."""

    @executor(
        name="threads",
        config_schema={
            "max_concurrent": Field(
                Noneable(Int),
                default_value=workers,
                is_required=False,
                description="how many steps run at once; null means one for each core",
            )
        },
    )
    def threads(context: InitExecutorContext) -> Executor:
        given = context.executor_config["max_concurrent"]
        limit = given if isinstance(given, int) and given > 0 else os.cpu_count() or 1
        return ThreadExecutor(limit)

    return threads
