"""``dsml reproduce``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import short_id
from dsml.contract.project import load_project
from dsml.step.finish import leave

if TYPE_CHECKING:
    from rich.console import Console

    from dsml.cli.execution import Ended
    from dsml.orchestrate.reproduce import Comparison

_SHOWN = 16  # characters of a hash


@cli.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def reproduce(run: str, *, as_json: bool) -> None:
    """Do a run again and compare: the same parameters and inputs, the code as it is now.

    RUN is an id, the beginning of one, or `latest`. Exit code 1: something came out different.
    """
    from dsml.cli.console import make_console
    from dsml.cli.execution import run_shown
    from dsml.evidence.manifests import manifests
    from dsml.orchestrate.history import find_run
    from dsml.orchestrate.launch import open_instance
    from dsml.orchestrate.reproduce import circumstances, compare, request_of
    from dsml.step.task import REPRODUCE_TAG
    from dsml.store import Store

    project = load_project(project_root())
    store = Store.open(project.root, project.catalog)
    console = make_console(quiet=as_json)
    with open_instance(project.root) as instance:
        found = find_run(instance, run, "dsml reproduce")
        recorded = manifests(store, project.registered, found)
        request = request_of(project, found, recorded)
        tags = {REPRODUCE_TAG: found.run_id}
        ended = run_shown(project, request, instance, console, tags)
    compared = compare(recorded, ended.manifests)
    different = circumstances(project, recorded)
    if as_json:
        document = {
            "reproduces": found.run_id,
            "run_id": ended.run_id,
            "status": ended.status.lower(),
            "compared": [asdict(item) | {"same": item.same} for item in compared],
            "circumstances": [
                {"what": what, "then": then, "now": now} for what, then, now in different
            ],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        _tell(console, found.run_id, ended, compared, different)
    leave(0 if ended.passed and all(item.same for item in compared) else 1)


def _tell(
    console: Console,
    recorded: str,
    ended: Ended,
    compared: Sequence[Comparison],
    different: Sequence[tuple[str, str, str]],
) -> None:
    from rich.markup import escape

    from dsml.cli.console import make_table
    from dsml.cli.execution import tell_failure

    if not ended.passed:
        tell_failure(ended)
    columns = ("step", "artefact or metric", f"run {short_id(recorded)}", "now", "")
    table = make_table(columns, no_wrap=True)
    for item in compared:
        again = "-" if item.again is None else item.again[:_SHOWN]
        word = "[green]same[/]" if item.same else "[red]differs[/]"
        cells = (item.step, item.name, item.recorded[:_SHOWN], again)
        table.add_row(*map(escape, cells), word)
    console.print()
    console.print(table, highlight=False)
    if different:
        changed = make_table(("what", "then", "now"), "Changed since", overflow="fold")
        for row in different:
            changed.add_row(*map(escape, row))
        console.print(changed, highlight=False)
    count = sum(not item.same for item in compared)
    if count:
        console.print(f"\n{count} of {len(compared)} came out different", style="red")
    else:
        console.print(f"\nall {len(compared)} came out the same", style="green", highlight=False)
