"""A run's line to MLflow, from the process that executes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from dagster import DagsterEvent, MetadataValue, RetryRequested
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext

from dsml.contract.project import Project
from dsml.evidence.tracker import tracker_of
from dsml.orchestrate.metadata import StepContext
from dsml.orchestrate.preview import Metadata
from dsml.step.task import Task
from dsml.step.tracking import tracking_of

if TYPE_CHECKING:
    from dsml.orchestrate.runner import Log

LINK = "MLflow"
# What MLflow's client says of a request that came to nothing.
_LOST = "API request to "
# What is in the code of steps that use MLflow; the libraries log by it without being told to.
# fmt: off
_SPEAKERS = (
    "mlflow", "MLflow", "MLFlow", "transformers", "ultralytics", "evidence.models", "champion(",
)
# fmt: on


class Tracked:
    """Follows one run; where nothing is tracked it does nothing."""

    def __init__(self, project: Project, run_id: str, log: Log) -> None:
        self._run_id = run_id
        self._log = log
        self._begun: Future[dict[str, Any]] | None = None
        self._tracker = tracker_of(project.root, project.catalog)
        if self._tracker is not None:
            self._begun = self._tracker.begin(run_id)
        elif tracking_of(project.root, project.catalog) is not None:
            log.warning("nothing is tracked: the catalog says mlflow, and MLflow is not installed")

    @property
    def is_on(self) -> bool:
        """Whether the run is tracked."""
        return self._tracker is not None

    def link(
        self, context: PlanOrchestrationContext, *, wait: bool = False
    ) -> Iterator[DagsterEvent]:
        """Once, when it is known: an event that leads to the run in MLflow."""
        if self._begun is None or not (wait or self._begun.done()):
            return
        found, self._begun = self._begun.result(), None
        if found.get("problem"):
            self._log.warning(found["problem"])
        if found.get("url"):
            data = EngineEventData(metadata={LINK: MetadataValue.url(found["url"])})
            yield DagsterEvent.engine_event(context, f"Tracked in MLflow: {found['url']}", data)

    def push(self) -> None:
        """Have what the run has left so far written to MLflow."""
        if self._tracker is not None:
            self._tracker.push(self._run_id)

    def end(self, *, wait: bool) -> None:
        """Have all of the run written to MLflow; what was in the way is told."""
        if self._tracker is None:
            return
        problem = (self._tracker.end if wait else self._tracker.leave)(self._run_id)
        if problem:
            self._log.warning(problem)


def kernel_env(project: Project, context: StepContext, task: Task) -> Mapping[str, str]:
    """What the step's kernel finds in its environment, so that MLflow lands in the right run."""
    tracker = tracker_of(project.root, project.catalog)
    if tracker is None:
        return {}
    opened = tracker.open_step(task.address, wait=task.step.body.mentions(_SPEAKERS))
    if opened.problem:
        context.log.warning(opened.problem)
    return opened.env


def link(project: Project, task: Task) -> Metadata:
    """The page of the step in MLflow."""
    tracker = tracker_of(project.root, project.catalog)
    url = tracker.url(task.address) if tracker is not None else ""
    return {LINK: MetadataValue.url(url)} if url else {}


def retry_if_lost(project: Project, context: StepContext, task: Task, message: str) -> None:
    """Have a step tried once more that failed because MLflow went away under it.

    The next attempt is tracked on this machine. Its retries are for failures of its own.

    Raises:
        RetryRequested: MLflow is gone.
    """
    tracker = tracker_of(project.root, project.catalog)
    if _LOST in message and tracker is not None and tracker.is_lost(task.address.run_id):
        context.log.warning("MLflow went away during the attempt: trying again without it")
        raise RetryRequested(max_retries=context.retry_number + 1)
