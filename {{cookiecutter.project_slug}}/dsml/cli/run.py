"""``dsml run``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dsml.cli import cli, project_root
from dsml.contract.project import Project, load_project
from dsml.contract.request import RunRequest, resolve_request
from dsml.step.finish import leave

if TYPE_CHECKING:
    from rich.console import Console

    from dsml.cli.progress import LiveView, PlainView, Progress, StepProgress
    from dsml.store import Manifest, Store

_SETTING = "STAGE.NOTEBOOK.PARAM=VALUE"


@dataclass(frozen=True)
class _Ended:
    """A run that is over."""

    request: RunRequest
    run_id: str
    status: str
    progress: Progress
    store: Store
    manifests: list[Manifest]

    @property
    def not_run(self) -> list[str]:
        """The steps that the run never came to."""
        return [step for step in self.request.steps if step not in self.progress.steps]


@cli.command()
@click.argument("pipeline", required=False)
@click.option("-e", "--experiment", help="The experiment; default: the first of the catalog.")
@click.option("-s", "--set", "settings", multiple=True, metavar=_SETTING, help="Set a parameter.")
@click.option(
    "--select", multiple=True, metavar="SEL", help="Steps or stages: train.fit+, +report."
)
@click.option("--workers", type=click.IntRange(min=1), help="How many steps run at once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def run(
    *,
    pipeline: str | None,
    experiment: str | None,
    settings: tuple[str, ...],
    select: tuple[str, ...],
    workers: int | None,
    as_json: bool,
) -> None:
    """Run a pipeline (default: the first of the catalog), or steps of it."""
    project = load_project(project_root())
    request = resolve_request(
        project,
        pipeline=pipeline,
        experiment=experiment,
        settings=settings,
        selection=select,
        workers=workers,
    )
    ended = _run(project, request, as_json=as_json)
    leave(0 if ended.status == "SUCCESS" else 1)


def _run(project: Project, request: RunRequest, *, as_json: bool) -> _Ended:
    from dsml.cli.console import make_console
    from dsml.cli.progress import Progress
    from dsml.cli.results import manifests
    from dsml.orchestrate.config import op_name
    from dsml.orchestrate.launch import create_run, execute, open_instance
    from dsml.store import Store

    store = Store.open(project.root, project.catalog)
    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        started = create_run(project, request, instance)
        _head(console, request, started.run_id)
        view = _view(console, store, request, started.run_id)
        progress = Progress({op_name(step): step for step in project.registered}, view.changed)
        view.follow(progress)
        with view:
            status = execute(project, request, started, instance, progress)
    found = manifests(store, project.registered, request.experiment, started.run_id)
    ended = _Ended(request, started.run_id, status.value, progress, store, found)
    if as_json:
        click.echo(json.dumps(_report(ended), indent=1))
    else:
        _tail(console, ended)
    return ended


def _view(console: Console, store: Store, request: RunRequest, run_id: str) -> LiveView | PlainView:
    from dsml.cli.progress import LiveView, PlainView
    from dsml.cli.results import short_path
    from dsml.store import StepRun
    from dsml.store.manifest import LOG_FILE

    def log_of(step: StepProgress) -> str:
        address = StepRun(step.name, request.experiment, run_id)
        path = store.attempt_path(address, max(step.attempts, 1), LOG_FILE)
        return short_path(str(path))

    if console.is_terminal and not console.quiet:
        return LiveView(console, log_of, max(map(len, request.steps), default=0))
    return PlainView(console, log_of)


def _head(console: Console, request: RunRequest, run_id: str) -> None:
    count = len(request.steps)
    what = f"{count} step{'s' * (count != 1)}" if count else "steps"
    line = f"{request.pipeline}: {what}, experiment {request.experiment}, run {run_id}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _tail(console: Console, ended: _Ended) -> None:
    from dsml.cli.results import show_artefacts, show_metrics

    console.print()
    show_artefacts(console, ended.store, ended.manifests)
    show_metrics(console, ended.manifests)
    failed = [step for step in ended.progress.steps.values() if step.status == "failed"]
    for step in failed:
        click.echo(f"\n{step.error or step.name + ' failed'}", err=True)
    if ended.not_run:
        click.echo(f"\nnot run: {', '.join(ended.not_run)}", err=True)
    if ended.status == "SUCCESS":
        console.print(f"\nrun {ended.run_id} passed", style="green", highlight=False)
        return
    if not failed and ended.progress.run_error:
        click.echo(f"\n{ended.progress.run_error}", err=True)
    word = "was cancelled" if ended.status in ("CANCELED", "CANCELING") else "failed"
    click.echo(f"\nrun {ended.run_id} {word}; look into it: dsml show {ended.run_id[:8]}", err=True)


def _report(ended: _Ended) -> dict[str, Any]:
    from dsml.cli.results import artefacts

    return {
        "run_id": ended.run_id,
        "pipeline": ended.request.pipeline,
        "experiment": ended.request.experiment,
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
        "artefacts": list(artefacts(ended.store, ended.manifests)),
        "metrics": {m.step: dict(m.metrics) for m in ended.manifests if m.metrics},
    }
