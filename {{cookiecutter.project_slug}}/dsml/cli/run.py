"""``dsml run``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.executors import EXECUTORS, executor_name
from dsml.contract.project import Project, load_project
from dsml.contract.request import RunRequest, is_each, resolve_requests
from dsml.evidence.tracker import tracker_of
from dsml.orchestrate.warm import warm_up
from dsml.step.finish import leave
from dsml.step.task import FORCE_TAG

if TYPE_CHECKING:
    from rich.console import Console

    from dsml.cli.execution import Ended

_SETTING = "STAGE.NOTEBOOK.PARAM=VALUE"


@cli.command()
@click.argument("pipeline", required=False)
@click.option(
    "-e", "--experiment", help="The experiment, or all; default: the first of the catalog."
)
@click.option("-p", "--partition", help="The partition; default: the newest, or the first.")
@click.option("-s", "--set", "settings", multiple=True, metavar=_SETTING, help="Set a parameter.")
@click.option(
    "--select", multiple=True, metavar="SEL", help="Steps or stages: train.fit+, +report."
)
@click.option("--workers", type=click.IntRange(min=1), help="How many steps run at once.")
@click.option("--executor", type=click.Choice(EXECUTORS), help="How steps are run.")
@click.option("--force", is_flag=True, help="Run unchanged steps, too.")
@click.option("--from-failure", metavar="RUN", help="Carry on a run that failed: an id, or latest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def run(
    *,
    pipeline: str | None,
    experiment: str | None,
    partition: str | None,
    settings: tuple[str, ...],
    select: tuple[str, ...],
    workers: int | None,
    executor: str | None,
    force: bool,
    from_failure: str | None,
    as_json: bool,
) -> None:
    """Run a pipeline (default: the first of the catalog), or steps of it."""
    project = load_project(project_root())
    # these two start while Dagster is imported
    tracker_of(project.root, project.catalog)
    named = project.catalog.pipelines.get(pipeline or project.catalog.default_pipeline)
    if named is not None:
        warm_up(project, executor or executor_name(project.catalog, named))
    if from_failure is not None:
        if any((pipeline, experiment, partition, settings, select, workers, executor, force)):
            raise click.UsageError("--from-failure goes with --json alone: the run says the rest")
        leave(0 if _carry_on(project, from_failure, as_json=as_json) else 1)
    requests = resolve_requests(
        project,
        pipeline=pipeline,
        experiment=experiment,
        partition=partition,
        settings=settings,
        selection=select,
        workers=workers,
        executor=executor,
    )
    run_all = _run_each if is_each(project, experiment) else _run_one
    tags = {FORCE_TAG: "true"} if force else {}
    leave(0 if run_all(project, requests, tags, as_json=as_json) else 1)


def _carry_on(project: Project, name: str, *, as_json: bool) -> bool:
    from dsml.cli.console import make_console
    from dsml.cli.execution import run_shown
    from dsml.orchestrate.launch import open_instance
    from dsml.orchestrate.resume import carry_on, failed_run, request_of

    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        run = carry_on(instance, project, failed_run(instance, name))
        ended = run_shown(project, request_of(project, run), instance, console, run=run)
    return _tell(ended, console, as_json=as_json)


def _run_one(
    project: Project, requests: Sequence[RunRequest], tags: Mapping[str, str], *, as_json: bool
) -> bool:
    from dsml.cli.console import make_console
    from dsml.cli.execution import run_shown
    from dsml.orchestrate.launch import open_instance

    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        ended = run_shown(project, requests[0], instance, console, tags)
    return _tell(ended, console, as_json=as_json)


def _tell(ended: Ended, console: Console, *, as_json: bool) -> bool:
    from dsml.cli.execution import report, tell

    if as_json:
        click.echo(json.dumps(report(ended), indent=1))
    else:
        tell(console, ended)
    return ended.passed


def _run_each(
    project: Project, requests: Sequence[RunRequest], tags: Mapping[str, str], *, as_json: bool
) -> bool:
    from dsml.cli.console import make_console
    from dsml.cli.execution import report
    from dsml.cli.series import passed, run_series, tell_series
    from dsml.orchestrate.launch import open_instance

    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        found = run_series(project, requests, instance, console, tags)
    if as_json:
        click.echo(json.dumps([report(ended) for ended in found], indent=1))
    else:
        tell_series(console, requests, found)
    return passed(requests, found)
