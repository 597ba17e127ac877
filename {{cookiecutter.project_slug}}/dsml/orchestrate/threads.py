"""An executor that runs every step in a thread of the run's own process.

A notebook runs in a kernel, which is a process of its own: a worker process between the two would
only cost time to start, and memory. What is left to a thread is waiting, and publishing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from dagster import DagsterEvent, Executor
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import (
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode

from dsml.orchestrate.cancelling import begin_run, cancel_steps
from dsml.orchestrate.loop import Over, Told, execute_plan, whole_plan


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
        plan = whole_plan(plan_context, execution_plan)
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
    with ThreadPoolExecutor(max_workers=limit, thread_name_prefix="step") as pool:
        yield from execute_plan(job_context, execution_plan, _Threads(job_context, pool), limit)


class _Threads:
    """Executes each step in a thread."""

    def __init__(self, context: PlanExecutionContext, pool: ThreadPoolExecutor) -> None:
        self._context = context
        self._pool = pool

    def start(self, step: ExecutionStep, known: KnownExecutionState, told: Told) -> None:
        """Execute it as soon as a thread is free."""
        self._pool.submit(_run_step, self._context.for_step(step, known), told)

    def stop(self) -> None:
        """Have every kernel stopped; the pool is left when all its threads have ended."""
        cancel_steps()


def _run_step(context: StepExecutionContext, told: Told) -> None:
    """Execute one step in this thread, and then the hooks that wait for it."""
    events: list[DagsterEvent] = []
    error: BaseException | None = None
    try:
        for event in dagster_event_sequence_for_step(context):
            events.append(event)
            told.put(event)
        for event in _trigger_hook(context, events):
            told.put(event)
    except BaseException as raised:  # handed to the main thread, where the run is
        error = raised
    told.put(Over(context.step.key, error))
