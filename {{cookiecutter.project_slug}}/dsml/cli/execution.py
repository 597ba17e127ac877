"""One run from the command line: shown while it runs, told when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dsml.contract.figures import counted, short_id
from dsml.contract.project import Project
from dsml.contract.request import RunRequest

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun
    from rich.console import Console

    from dsml.cli.progress import LiveView, PlainView, Progress, StepProgress
    from dsml.store import Manifest, Store

_CANCELLED = ("CANCELED", "CANCELING")


@dataclass(frozen=True)
class Ended:
    """A run that is over; ``seconds`` is what its steps took from the first to the last."""

    request: RunRequest
    run_id: str
    status: str
    progress: Progress
    store: Store
    manifests: list[Manifest]

    @property
    def passed(self) -> bool:
        """Whether every step did what it had to."""
        return self.status == "SUCCESS"

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody ended it."""
        return self.status in _CANCELLED

    @property
    def not_run(self) -> list[str]:
        """The steps that the run never came to."""
        from dsml.cli.progress import WAITING

        begun = {step.step for step in self.progress.steps.values() if step.status != WAITING}
        return [step for step in self.request.steps if step not in begun]

    @property
    def seconds(self) -> float:
        """How long it was from the beginning of the first step to the end of the last."""
        steps = self.progress.steps.values()
        begun = min((step.started for step in steps), default=0.0)
        return max((step.ended or begun for step in steps), default=0.0) - begun


def run_shown(
    project: Project,
    request: RunRequest,
    instance: DagsterInstance,
    console: Console,
    tags: Mapping[str, str] | None = None,
    run: DagsterRun | None = None,
) -> Ended:
    """Execute a run (that has been created, or a new one), showing what its steps are doing."""
    from dsml.cli.progress import Progress
    from dsml.evidence.manifests import manifests
    from dsml.orchestrate.config import op_name
    from dsml.orchestrate.launch import create_run, execute
    from dsml.store import StepRun, Store
    from dsml.store.disk import check_disk

    store = Store.open(project.root, project.catalog)
    check_disk(store)
    store.reach()
    started = run or create_run(project, request, instance, tags)
    _head(console, request, started.run_id)
    view = _view(console, store, request, started.run_id)
    progress = Progress({op_name(step): step for step in project.registered}, view.changed)
    view.follow(progress)
    with view:
        status = execute(project, request, started, instance, progress)
    run_of = StepRun("", request.experiment, started.run_id, request.partition)
    found = manifests(store, project.registered, run_of)
    return Ended(request, started.run_id, status.value, progress, store, found)


def _view(console: Console, store: Store, request: RunRequest, run_id: str) -> LiveView | PlainView:
    from dsml.cli.progress import LiveView, PlainView
    from dsml.cli.results import short_path
    from dsml.store import StepRun
    from dsml.store.manifest import LOG_FILE

    def log_of(step: StepProgress) -> str:
        address = StepRun(step.step, request.experiment, run_id, request.partition, step.instance)
        path = store.attempt_path(address, max(step.attempts, 1), LOG_FILE)
        return short_path(str(path)) if path.exists() else ""  # nothing ran: it was unchanged

    if console.is_terminal and not console.quiet:
        return LiveView(console, log_of, max(map(len, request.steps), default=0))
    return PlainView(console, log_of)


def _head(console: Console, request: RunRequest, run_id: str) -> None:
    count = len(request.steps)
    what = counted(count, "step") if count else "steps"
    partition = f", partition {request.partition}" if request.partition else ""
    line = f"{request.pipeline}: {what}, experiment {request.experiment}{partition}, run {run_id}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def tell(console: Console, ended: Ended) -> None:
    """Say what a run has left behind, and how it ended."""
    from dsml.cli.results import show_artefacts, show_metrics

    console.print()
    show_artefacts(console, ended.store, ended.manifests)
    show_metrics(console, ended.manifests)
    for warning in ended.progress.warnings:
        click.echo(f"\n{warning}", err=True)
    if ended.passed:
        console.print(f"\nrun {ended.run_id} passed", style="green", highlight=False)
    else:
        tell_failure(ended)


def tell_failure(ended: Ended) -> None:
    """Say why a run has failed."""
    failed = [step for step in ended.progress.steps.values() if step.status == "failed"]
    for step in failed:
        click.echo(f"\n{step.error or step.name + ' failed'}", err=True)
    if ended.not_run:
        click.echo(f"\nnot run: {', '.join(ended.not_run)}", err=True)
    if not failed and ended.progress.run_error:
        click.echo(f"\n{ended.progress.run_error}", err=True)
    word = "was cancelled" if ended.was_cancelled else "failed"
    fix = f"look into it: dsml show {short_id(ended.run_id)}"
    click.echo(f"\nrun {ended.run_id} {word}; {fix}", err=True)


def report(ended: Ended) -> dict[str, Any]:
    """The same as plain data."""
    from dsml.cli.results import artefacts

    return {
        "run_id": ended.run_id,
        "pipeline": ended.request.pipeline,
        "experiment": ended.request.experiment,
        "partition": ended.request.partition,
        "status": ended.status.lower(),
        "steps": [
            {
                "step": step.name,
                "status": step.status,
                "seconds": round(step.seconds, 3),
                "attempts": step.attempts,
                "error": step.error,
            }
            for step in ended.progress.steps.values()
        ],
        "not_run": ended.not_run,
        "warnings": list(ended.progress.warnings),
        "artefacts": list(artefacts(ended.store, ended.manifests)),
        "metrics": {m.address.label: dict(m.metrics) for m in ended.manifests if m.metrics},
    }
