"""The loop of an executor: starts steps as they become ready, hands on what they tell.

It is that of Dagster's multiprocess executor, around whatever executes one step: a thread of this
process, or a worker of a cluster. It leans on private parts of Dagster;
``tests/runtime/test_threads.py`` tells when they change.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dagster import DagsterEvent
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
)
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.system_config.objects import ResolvedRunConfig

from dsml.orchestrate.fanout import forgotten_instances
from dsml.orchestrate.needs import needs_of
from dsml.orchestrate.process import fail_gone_runs

Context = PlanExecutionContext | PlanOrchestrationContext

_POLL = 0.05  # seconds between two looks for signals, and for steps that have become ready


@dataclass(frozen=True)
class Over:
    """A step has been executed; ``error`` is what no step may raise."""

    key: str
    error: BaseException | None = None


Told = queue.SimpleQueue[DagsterEvent | Over]


class Launcher(Protocol):
    """Executes steps, each beside the others."""

    def start(self, step: ExecutionStep, known: KnownExecutionState, told: Told) -> None:
        """Begin to execute a step. Its events are put into ``told``, and at the end an ``Over``."""

    def stop(self) -> None:
        """Have all steps that are under way end soon."""


class _Loop:
    """One execution of a plan."""

    def __init__(
        self,
        context: Context,
        active: ActiveExecution,
        launcher: Launcher,
        limit: float,
        patience: float,
    ) -> None:
        self._context = context
        self._active = active
        self._launcher = launcher
        self._limit = limit
        self._patience = patience
        self._told: Told = queue.SimpleQueue()
        self._running: dict[str, float] = {}  # the places that each takes
        self._next: ExecutionStep | None = None
        self._stopping = False
        self._deadline = math.inf

    def events(self) -> Iterator[DagsterEvent]:
        """What happens, in the order in which it does."""
        try:
            while self._goes_on():
                if self._active.check_for_interrupts() and not self._stopping:
                    yield self._interrupt()
                if not self._stopping:
                    self._start_steps()
                    yield from self._waiting()
                yield from self._take()
                yield from self._active.plan_events_iterator(self._context)
        except BaseException:
            self._launcher.stop()
            raise
        if self._stopping:
            raise DagsterExecutionInterruptedError

    def _goes_on(self) -> bool:
        if self._stopping:
            return bool(self._running) and time.monotonic() < self._deadline
        return bool(self._running) or not self._active.is_complete

    def _waiting(self) -> Iterator[DagsterEvent]:
        """Tell of the steps that wait for a place in their pool, now and then."""
        for event in self._active.concurrency_event_iterator(self._context):
            fail_gone_runs(self._context.instance)  # one of them may hold it
            yield event

    def _interrupt(self) -> DagsterEvent:
        self._stopping = True
        self._deadline = time.monotonic() + self._patience
        self._active.mark_interrupted()
        self._launcher.stop()
        return DagsterEvent.engine_event(
            self._context,
            "Received a signal: stopping the steps that are under way",
            EngineEventData.interrupted(list(self._running)),
        )

    def _start_steps(self) -> None:
        while (step := self._fitting()) is not None:
            self._next = None
            self._running[step.key] = self._places(step)
            self._launcher.start(step, self._active.get_known_state(), self._told)

    def _fitting(self) -> ExecutionStep | None:
        """The next step, if there are places for it; it is not overtaken by one that takes less."""
        free = self._limit - sum(self._running.values())
        if free > 0 and self._next is None:
            self._next = next(iter(self._active.get_steps_to_execute(limit=1)), None)
        return self._next if self._next is not None and self._places(self._next) <= free else None

    def _places(self, step: ExecutionStep) -> float:
        return min(math.ceil(needs_of(step.tags).cpu or 1), self._limit)

    def _take(self) -> Iterator[DagsterEvent]:
        """Wait a moment for what the steps tell, and take all that is there."""
        try:
            told = self._told.get(timeout=_POLL)
            while True:
                yield from self._handle(told)
                told = self._told.get_nowait()
        except queue.Empty:
            return

    def _handle(self, told: DagsterEvent | Over) -> Iterator[DagsterEvent]:
        if isinstance(told, DagsterEvent):
            yield told
            self._active.handle_event(told)
            return
        del self._running[told.key]
        if told.error is not None and not self._stopping:
            raise told.error
        self._active.verify_complete(self._context, told.key)


def execute_plan(
    context: Context,
    plan: ExecutionPlan,
    launcher: Launcher,
    limit: int | None,
    patience: float = math.inf,
) -> Iterator[DagsterEvent]:
    """Execute a plan; at most ``limit`` places are taken at once, None: as many as there are.

    A step takes a place for each core that it needs. When the run is cancelled, steps have
    ``patience`` (seconds) to end.
    """
    pools = InstanceConcurrencyContext(context.instance, context.dagster_run)
    with (
        pools,
        plan.start(
            retry_mode=RetryMode.ENABLED,
            max_concurrent=limit,
            instance_concurrency_context=pools,
        ) as active,
    ):
        places = math.inf if limit is None else limit
        yield from _Loop(context, active, launcher, places, patience).events()


def whole_plan(context: PlanOrchestrationContext, plan: ExecutionPlan) -> ExecutionPlan:
    """The plan with the instances that Dagster has forgotten, where a run carries on another."""
    forgotten = forgotten_instances(plan.step_keys_to_execute, plan.known_state)
    if not forgotten:
        return plan
    job = context.job.get_definition()
    config = ResolvedRunConfig.build(job, context.run_config)
    return plan.build_subset_plan([*plan.step_keys_to_execute, *forgotten], job, config)
