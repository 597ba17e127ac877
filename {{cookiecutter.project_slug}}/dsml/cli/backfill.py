"""``dsml backfill``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from dsml.cli import cli, project_root
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import Project, load_project
from dsml.contract.request import BACKFILL, RunRequest, resolve_backfill
from dsml.step.finish import leave
from dsml.step.task import FORCE_TAG


@cli.command()
@click.argument("pipeline")
@click.option("--from", "first", metavar="KEY", help="The first partition; default: the oldest.")
@click.option("--to", "last", metavar="KEY", help="The last partition; default: the newest.")
@click.option(
    "-e",
    "--experiment",
    help="The experiment, or all; default: the first, without partitions all.",
)
@click.option("--missing-only", is_flag=True, help="Leave out what has been published already.")
@click.option("--force", is_flag=True, help="Run unchanged steps, too.")
@click.option("--dry-run", is_flag=True, help="Only list what would be run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def backfill(
    *,
    pipeline: str,
    first: str | None,
    last: str | None,
    experiment: str | None,
    missing_only: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a pipeline for a range of partitions, or for its experiments, one run after the other.

    Ctrl-C ends the run that is under way and starts no other.
    """
    project = load_project(project_root())
    wanted = resolve_backfill(project, pipeline, experiment=experiment, first=first, last=last)
    requests = _missing(project, wanted) if missing_only else wanted
    if dry_run or not requests:
        _list(wanted, requests, as_json=as_json, dry_run=dry_run)
        return
    leave(0 if _run(project, wanted, requests, force=force, as_json=as_json) else 1)


def _missing(project: Project, wanted: Sequence[RunRequest]) -> list[RunRequest]:
    from dsml.store import Store
    from dsml.store.missing import is_missing, newest_of

    if wanted[0].other:
        what = "--missing-only: the pipeline selects steps in Dagster's own syntax"
        fix = "name stages and steps in its select, or leave the option out"
        raise ProjectError([Problem(BACKFILL, what, fix, "not-selected")])
    store = Store.open(project.root, project.catalog)
    found: list[RunRequest] = []
    for experiment in dict.fromkeys(request.experiment for request in wanted):
        of_this = [request for request in wanted if request.experiment == experiment]
        steps = [project.registered[name] for name in of_this[0].steps]
        newest = newest_of(store, steps, experiment, each=of_this[0].partition is not None)
        found += [request for request in of_this if is_missing(steps, newest, request.partition)]
    return found


def _list(
    wanted: Sequence[RunRequest], requests: Sequence[RunRequest], *, as_json: bool, dry_run: bool
) -> None:
    if as_json:
        click.echo(json.dumps(_document("", wanted, requests, []), indent=1))
        return
    for request in requests:
        click.echo(" ".join(filter(None, [request.experiment, request.partition])))
    left_out = len(wanted) - len(requests)
    already = f", {left_out} published already" if left_out else ""
    would = "would be run" if dry_run else "to be run"
    click.echo(f"{len(requests)} {would}{already}")


def _run(
    project: Project,
    wanted: Sequence[RunRequest],
    requests: Sequence[RunRequest],
    *,
    force: bool,
    as_json: bool,
) -> bool:
    from dsml.cli.console import make_console
    from dsml.cli.execution import report
    from dsml.cli.series import passed, run_series, tell_series
    from dsml.orchestrate.backfills import start_backfill
    from dsml.orchestrate.launch import open_instance

    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        started = start_backfill(instance, requests[0].pipeline, [r.key for r in requests])
        tags = {**started.tags, **({FORCE_TAG: "true"} if force else {})}
        found = run_series(project, requests, instance, console, tags)
        done = passed(requests, found)
        cancelled = len(found) < len(requests) or found[-1].was_cancelled
        started.end(passed=done, cancelled=cancelled)
    if as_json:
        runs = [report(ended) for ended in found]
        click.echo(json.dumps(_document(started.backfill_id, wanted, requests, runs), indent=1))
    else:
        tell_series(console, requests, found)
    return done


def _document(
    backfill_id: str,
    wanted: Sequence[RunRequest],
    requests: Sequence[RunRequest],
    runs: list[dict[str, Any]],
) -> dict[str, Any]:
    def named(request: RunRequest) -> dict[str, str | None]:
        return {"experiment": request.experiment, "partition": request.partition}

    return {
        "backfill": backfill_id,
        "selected": [named(request) for request in requests],
        "published": [named(request) for request in wanted if request not in requests],
        "runs": runs,
    }
