"""``dsml schedules``: what starts pipelines by itself, and turning it on and off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import counted, moment
from dsml.contract.project import load_project

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from dsml.orchestrate.switches import Switch

_NONE = (
    "no pipeline has a schedule or a sensor\n"
    'declare one in catalog.yml: schedule: {cron: "0 6 * * 1", timezone: Europe/Berlin}'
)
_COLOURS = {"failure": "red", "success": "green"}


@cli.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def schedules(context: click.Context, *, as_json: bool) -> None:
    """List schedules and sensors: when they come next, and what their last tick did."""
    if context.invoked_subcommand is not None:
        return
    from dsml.orchestrate.launch import open_instance
    from dsml.orchestrate.switches import read_switches

    root = load_project(project_root()).root
    with open_instance(root) as instance:
        found = read_switches(root, instance)
        if as_json:
            click.echo(json.dumps([asdict(switch) for switch in found], indent=1))
            return
        _show(found)
        _hints(instance, found)


@schedules.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All schedules and sensors.")
def start(names: tuple[str, ...], *, every: bool) -> None:
    """Start schedules and sensors; they run while the daemon does (make dagit)."""
    _turn(names, every=every, on=True)


@schedules.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All schedules and sensors.")
def stop(names: tuple[str, ...], *, every: bool) -> None:
    """Stop schedules and sensors; runs that are under way go on."""
    _turn(names, every=every, on=False)


def _turn(names: tuple[str, ...], *, every: bool, on: bool) -> None:
    from dsml.orchestrate.launch import open_instance
    from dsml.orchestrate.switches import turn

    if every == bool(names):
        raise click.UsageError("give the names of schedules and sensors, or --all")
    root = load_project(project_root()).root
    with open_instance(root) as instance:
        turned = turn(root, instance, names, on=on)
        for switch in turned:
            coming = f", next at {moment(switch.next_tick)}" if switch.next_tick else ""
            click.echo(f"{switch.name} {'started' if on else 'stopped'}{coming}")
        _hint_daemon(instance, turned)


def _show(found: Sequence[Switch]) -> None:
    from dsml.cli.console import make_console, make_table

    console = make_console()
    if not found:
        click.echo(_NONE)
        return
    columns = ("name", "pipeline", "when", "time zone", "status", "next tick", "last tick")
    table = make_table(columns, overflow="fold")
    for switch in found:
        table.add_row(*_row(switch))
    console.print(table, highlight=False)


def _row(switch: Switch) -> list[Any]:
    from rich.markup import escape

    last = ""
    if switch.last_tick is not None:
        tick = switch.last_tick
        colour = _COLOURS.get(tick.status, "yellow")
        runs = f", {counted(len(tick.runs), 'run')}" if tick.runs else ""
        detail = f": {escape(tick.detail)}" if tick.detail else ""
        last = f"{moment(tick.time)} [{colour}]{tick.status}[/]{runs}{detail}"
    status = "[green]running[/]" if switch.running else "[yellow]stopped[/]"
    plain = (switch.name, switch.pipeline, switch.when, switch.timezone)
    return [*map(escape, plain), status, moment(switch.next_tick), last]


def _hints(instance: DagsterInstance, found: Sequence[Switch]) -> None:
    if any(not switch.running for switch in found):
        click.echo("\nstart one that is stopped: dsml schedules start NAME")
    _hint_daemon(instance, found)


def _hint_daemon(instance: DagsterInstance, found: Sequence[Switch]) -> None:
    from dsml.orchestrate.switches import missing_daemons

    missing = missing_daemons(instance, found)
    if missing:
        kinds = " and ".join(f"{kind}s" for kind in missing)
        click.echo(f"no daemon runs, so that {kinds} do nothing: make dagit", err=True)
