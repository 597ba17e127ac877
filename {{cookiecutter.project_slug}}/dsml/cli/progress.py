"""The progress of a run: what each step is doing, from the events that Dagster records."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.events import EngineEventData
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from dsml.contract.figures import duration
from dsml.contract.problem import Problem, Where
from dsml.orchestrate.config import PLAN, parse_step_key
from dsml.orchestrate.history import failure_text
from dsml.orchestrate.launch import interrupted
from dsml.step.task import UNCHANGED

_CELL = re.compile(r"^cell (\d+)/(\d+), ", re.MULTILINE)
_BEGINNINGS = (
    DagsterEventType.STEP_WORKER_STARTING,
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_FAILURE,
)
_CRASHED = "ChildProcessCrashException"  # how Dagster's error of a worker that is gone ends
_SHOWN = 12  # running steps that are shown at once
WAITING = "waiting"
_OPEN = (WAITING, "running")


@dataclass
class StepProgress:
    """One step, or one instance of a mapped step.

    ``status`` is waiting (for a place in its pool), running, passed, unchanged (and not run),
    failed, cancelled, retrying or skipped. Times are Unix's.
    """

    step: str
    instance: str | None = None
    status: str = "running"
    started: float = 0.0
    ended: float | None = None
    cell: str = ""
    attempts: int = 0
    error: str = ""
    unchanged: bool = False

    @property
    def name(self) -> str:
        """``train.fit``, or ``train.fit[100]``."""
        return self.step if self.instance is None else f"{self.step}[{self.instance}]"

    @property
    def seconds(self) -> float:
        """How long the step has taken so far."""
        return (self.ended or time.time()) - self.started


class Progress:
    """Follows the events of one run; ``changed`` is called with each step that begins or ends.

    ``warnings`` are those of the run as a whole; what a step is warned of is in its log.
    """

    def __init__(self, names: dict[str, str], changed: Callable[[StepProgress], None]) -> None:
        self.steps: dict[str, StepProgress] = {}
        self.run_error = ""
        self.warnings: dict[str, None] = {}
        self._names = names
        self._changed = changed

    @property
    def running(self) -> list[StepProgress]:
        """The steps that are under way, and those that wait for their pool."""
        return [step for step in list(self.steps.values()) if step.status in _OPEN]

    def __call__(self, entry: EventLogEntry) -> None:
        """Take in one event."""
        key = parse_step_key(entry.step_key or "")
        step_name = self._names.get(key.op)
        event = entry.dagster_event
        if event is None and entry.step_key is None and entry.level == logging.WARNING:
            self.warnings[entry.user_message] = None
        if event is not None and event.event_type == DagsterEventType.RUN_FAILURE:
            told = (entry.user_message, failure_text(event))
            self.run_error = "\n  ".join(text for text in told if text)
        if step_name is None or (key.part == PLAN and not _failed(event)):
            return  # a mapped step is shown by its instances, and when all of them are over
        shown = StepProgress(step_name, key.instance, started=entry.timestamp)
        if event is not None and (event.event_type in _BEGINNINGS or _is_blocked(event)):
            self.steps.setdefault(shown.name, shown)
        step = self.steps.get(shown.name)
        if step is None:
            return
        if event is None:
            cells = _CELL.findall(entry.user_message)
            step.cell = "cell {}/{}".format(*cells[-1]) if cells else step.cell
            step.unchanged = step.unchanged or entry.user_message.startswith(UNCHANGED)
            return
        self._take(step, event, entry.timestamp)

    def _take(self, step: StepProgress, event: DagsterEvent, timestamp: float) -> None:
        kind = event.event_type
        if kind in (DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED):
            step.status, step.started, step.cell = "running", timestamp, ""
            step.attempts += 1
        elif kind == DagsterEventType.STEP_SUCCESS:
            step.status, step.error = "unchanged" if step.unchanged else "passed", ""
            step.ended = timestamp
        elif kind == DagsterEventType.STEP_SKIPPED:
            step.status, step.ended = "skipped", timestamp
        elif kind == DagsterEventType.STEP_FAILURE:
            step.status, step.error = _failure(event, step.name)
            step.ended = timestamp
        elif kind == DagsterEventType.STEP_UP_FOR_RETRY:
            step.status, step.error = "retrying", failure_text(event)
        elif _is_blocked(event):
            step.status, step.cell = WAITING, "waits for a place in its pool"
        else:
            return
        self._changed(step)


def _failed(event: DagsterEvent | None) -> bool:
    return event is not None and event.event_type == DagsterEventType.STEP_FAILURE


def _is_blocked(event: DagsterEvent) -> bool:
    """Whether a step waits for a place in its pool."""
    data = event.event_specific_data
    return isinstance(data, EngineEventData) and "pool" in data.metadata


def _failure(event: DagsterEvent, step: str) -> tuple[str, str]:
    """The status of a step that has failed, and why it has."""
    from dsml.orchestrate.runner import CANCELLED  # slow, and loaded where a step has been run

    error = failure_text(event)
    if error.endswith(_CRASHED):
        what = "the worker process that ran it has died; was the memory used up?"
        fix = "carry on: dsml run --from-failure latest"
        return "failed", str(Problem(Where(step), what, fix, "worker-died"))
    return ("cancelled", "") if interrupted(event) or error == CANCELLED else ("failed", error)


class PlainView:
    """A line when a step begins and one when it ends, for logs and pipes."""

    def __init__(self, console: Console, log_of: Callable[[StepProgress], str]) -> None:
        self._console = console
        self._log_of = log_of

    def changed(self, step: StepProgress) -> None:
        """Show that a step began or ended."""
        parts = [step.name, step.status]
        if step.status not in _OPEN:
            parts += [duration(step.seconds), self._log_of(step)]
        line = "  ".join(part for part in parts if part)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def follow(self, progress: Progress) -> None:
        """Nothing is shown in between."""


_MARKS = {
    "passed": "[green]✓[/]",
    "unchanged": "[green]=[/]",
    "failed": "[red]✗[/]",
    "skipped": "[yellow]○[/]",
}


class LiveView:
    """Ended steps as lines that stay, running ones below them with the cell they are in."""

    def __init__(self, console: Console, log_of: Callable[[StepProgress], str], width: int) -> None:
        self._console = console
        self._log_of = log_of
        self._width = width
        self._progress: Progress | None = None
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,  # a run's stdout and stderr go into a file
            redirect_stderr=False,
        )
        self._spinner = Spinner("dots", style="cyan")

    def changed(self, step: StepProgress) -> None:
        """Show that a step ended; one that began is shown by the next refresh."""
        if step.status in _OPEN:
            return
        mark = _MARKS.get(step.status, "[yellow]↻[/]")
        name = escape(f"{step.name:{self._width}}")
        log = escape(self._log_of(step)) if step.status != "skipped" else ""
        line = f"{mark} {name}  {duration(step.seconds):>9}  [dim]{log}[/]"
        self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def follow(self, progress: Progress) -> None:
        """Show the running steps of a run from now on."""
        self._progress = progress

    def _render(self) -> Group:
        running = self._progress.running if self._progress else []
        rows = [self._row(step) for step in running[:_SHOWN]]
        if len(running) > _SHOWN:
            rows.append(Text(f"  and {len(running) - _SHOWN} more", style="dim"))
        return Group(*rows)

    def _row(self, step: StepProgress) -> Text:
        spin = self._spinner.render(self._console.get_time())
        text = Text.assemble(spin if isinstance(spin, Text) else str(spin), " ")
        return text + Text(f"{step.name:{self._width}}  {duration(step.seconds):>9}  {step.cell}")
