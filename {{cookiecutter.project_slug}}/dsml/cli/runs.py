"""``dsml runs`` and ``dsml show``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.catalog import read_catalog
from dsml.contract.figures import duration, moment, number

if TYPE_CHECKING:
    from rich.console import Console

    from dsml.orchestrate.history import RunSummary
    from dsml.store import Attempt, Manifest, Store

LOOKED_AT = 1000  # of the newest runs, where what they have published decides
_STATUSES = ("SUCCESS", "FAILURE", "CANCELED", "STARTED", "QUEUED")

where_option = click.option(
    "-w", "--where", "conditions", multiple=True, help="Only runs with 'NAME > VALUE', or =, !=, <."
)


@cli.command()
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("-e", "--experiment", help="Only runs of this experiment.")
@click.option("-p", "--partition", help="Only runs of this partition.")
@click.option("--status", multiple=True, type=click.Choice(_STATUSES, case_sensitive=False))
@where_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def runs(
    *,
    limit: int,
    pipeline: str | None,
    experiment: str | None,
    partition: str | None,
    status: tuple[str, ...],
    conditions: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the runs, the newest first, whoever started them.

    With --where these are those of the newest 1000 that have a parameter, a fact or a metric so.
    """
    from dsml.orchestrate.history import list_runs
    from dsml.orchestrate.launch import open_instance

    root = project_root()
    with open_instance(root) as instance:
        found = list_runs(
            instance,
            LOOKED_AT if conditions else limit,
            pipeline=pipeline,
            experiment=experiment,
            partition=partition,
            statuses=status,
        )
    if conditions:
        found = list(islice(_meeting(root, found, conditions), limit))
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], indent=1))
        return
    if not found:
        chosen = any((pipeline, experiment, partition, status, conditions))
        click.echo("there are no such runs" if chosen else "there are no runs yet: dsml run")
        return
    _table(found)


def _meeting(
    root: Path, found: Iterable[RunSummary], conditions: Iterable[str]
) -> Iterator[RunSummary]:
    from dsml.evidence.comparison import read_row
    from dsml.evidence.conditions import meeting, read_condition
    from dsml.evidence.manifests import known_steps
    from dsml.store import Store

    wanted = [read_condition(text, "dsml runs") for text in conditions]
    catalog = read_catalog(root, [])
    store, steps = Store.open(root, catalog), known_steps(catalog)
    by_id = {run.run_id: run for run in found}
    rows = (read_row(store, steps, run) for run in by_id.values())
    return (by_id[row.run.run_id] for row in meeting(rows, wanted, "dsml runs"))


def _table(found: list[RunSummary]) -> None:
    from dsml.cli.console import make_console, make_table

    partitions = ["partition"] if any(run.partition for run in found) else []
    columns = ("run", "started", "pipeline", "experiment", *partitions, "status", "took")
    table = make_table(columns, right=["took"], no_wrap=True)
    for run in found:
        colour = {"SUCCESS": "green", "FAILURE": "red"}.get(run.status, "yellow")
        table.add_row(
            run.short_id,
            moment(run.started or run.created),
            run.pipeline,
            run.experiment,
            *([run.partition or ""] if partitions else []),
            f"[{colour}]{run.status.lower()}[/]",
            _took(run),
        )
    make_console().print(table, highlight=False)


def _took(run: RunSummary) -> str:
    return duration(run.ended - run.started) if run.started and run.ended else ""


@cli.command()
@click.argument("run", default="latest")
@click.option("--json", "as_json", is_flag=True, help="The manifests as JSON.")
def show(run: str, as_json: bool) -> None:
    """Look into one run: its steps, parameters, artefacts and figures.

    RUN is an id, the beginning of one, or `latest`.
    """
    from dsml.evidence.manifests import known_steps, manifests
    from dsml.orchestrate.history import find_run, step_status
    from dsml.orchestrate.launch import open_instance
    from dsml.store import Store

    root = project_root()
    catalog = read_catalog(root, [])
    store, steps = Store.open(root, catalog), known_steps(catalog)
    with open_instance(root) as instance:
        found = find_run(instance, run)
        status = step_status(instance, found.run_id, steps)
    published = manifests(store, steps, found)
    if as_json:
        document = asdict(found) | {"steps": status, "manifests": [asdict(m) for m in published]}
        click.echo(json.dumps(document, indent=1))
        return
    _show(store, found, status, published)


def _show(
    store: Store,
    found: RunSummary,
    status: dict[str, str],
    manifests: list[Manifest],
) -> None:
    from dsml.cli.console import make_console
    from dsml.cli.results import show_artefacts, show_metrics

    console = make_console()
    console.print(f"run {found.run_id}", style="bold", highlight=False)
    partition = f"partition {found.partition}, " if found.partition else ""
    console.print(
        f"{found.pipeline}, experiment {found.experiment}, {partition}{found.status.lower()}, "
        f"{moment(found.started or found.created)}, {_took(found)}",
        highlight=False,
    )
    attempts = _attempts(store, found, status)
    _show_steps(console, store, status, attempts, {m.address.label: m for m in manifests})
    _show_parameters(console, manifests)
    show_artefacts(console, store, manifests)
    show_metrics(console, manifests)
    for last in (kept[-1] for kept in attempts.values() if kept):
        if last.status != "passed":
            console.print(f"\n{last.error}", style="red", highlight=False, markup=False)


def _attempts(store: Store, found: RunSummary, steps: Iterable[str]) -> dict[str, list[Attempt]]:
    from dsml.store import StepRun

    run = StepRun("", found.experiment, found.run_id, found.partition)
    return {step: store.attempts(run.named(step)) for step in steps}


def _show_steps(
    console: Console,
    store: Store,
    status: dict[str, str],
    attempts: dict[str, list[Attempt]],
    manifests: dict[str, Manifest],
) -> None:
    from dsml.cli.console import make_table
    from dsml.cli.results import short_path
    from dsml.store.manifest import NOTEBOOK_FILE

    columns = ("step", "status", "attempts", "executed notebook")
    table = make_table(columns, "Steps", overflow="fold")
    for step, state in status.items():
        kept, published = attempts[step], manifests.get(step)
        if kept:
            path = store.attempt_path(kept[-1].address, kept[-1].number, NOTEBOOK_FILE)
            table.add_row(step, state, str(kept[-1].number), short_path(str(path)))
        elif published is not None and published.cached:
            path = store.attempt_path(published.origin, published.attempts, NOTEBOOK_FILE)
            table.add_row(step, "unchanged", "", short_path(str(path)))
        else:
            table.add_row(step, state, "", "")
    console.print(table, highlight=False)


def _show_parameters(console: Console, manifests: list[Manifest]) -> None:
    from dsml.cli.console import make_table

    rows = [
        (m.address.label, name, value)
        for m in manifests
        if m.instances is None
        for name, value in m.parameters.items()
    ]
    if not rows:
        return
    table = make_table(("step", "parameter", "value", "from"), "Parameters")
    for step, name, value in rows:
        shown = value.value
        text = number(shown) if isinstance(shown, float) else str(shown)
        table.add_row(step, name, text, value.source)
    console.print(table, highlight=False)
