"""``dsml gc``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import counted, short_id, size

if TYPE_CHECKING:
    from rich.table import Table

    from dsml.evidence.retention.sweep import Cleaned
    from dsml.store import StepRun


@cli.command()
@click.option(
    "--keep", default="5", show_default=True, metavar="N", help="Runs of each step that stay."
)
@click.option("--older-than", metavar="AGE", help="Only what is older: 30d, 12h, 2w.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--explain", is_flag=True, help="Say of each step that stays why it does.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def gc(*, keep: str, older_than: str | None, dry_run: bool, explain: bool, as_json: bool) -> None:
    """Remove old runs, and what killed ones have left.

    Of each step the newest runs stay, and the newest that have failed, for each experiment and
    partition. So does what any of these was made from, what a champion or a challenger refers to,
    and what a run that is under way may need. What MLflow and Dagster keep is not touched.
    """
    from dsml.contract.problem import ProjectError
    from dsml.evidence.retention.clean import clean, read_rule

    try:
        rule = read_rule(keep, older_than)
    except ProjectError as error:
        click.echo(str(error), err=True)
        raise SystemExit(2) from None
    done = clean(project_root(), rule, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(_document(done, dry_run=dry_run), indent=1, ensure_ascii=False))
        return
    _show(done, dry_run=dry_run, explain=explain)


def _document(done: Cleaned, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "bytes": done.bytes,
        "steps": [_named(address) | {"bytes": n} for address, n in done.steps.items()],
        "runs": list(done.runs),
        "leftovers": [{"what": what, "bytes": n} for what, n in done.leftovers],
        "spared": [_named(address) for address in done.spared],
        "kept": [_named(address) | {"why": why} for address, why in done.kept.items()],
    }


def _named(address: StepRun) -> dict[str, str | None]:
    return {
        "step": address.label,
        "run_id": address.run_id,
        "experiment": address.experiment,
        "partition": address.partition,
    }


def _show(done: Cleaned, *, dry_run: bool, explain: bool) -> None:
    from dsml.cli.console import make_console

    console = make_console()
    if explain:
        console.print(_table("Stays", "why", done.kept), highlight=False)
    if done.steps:
        sizes = {address: size(amount) for address, amount in done.steps.items()}
        console.print(_table("Would go" if dry_run else "Gone", "size", sizes), highlight=False)
    for what, amount in _together(done.leftovers).items():
        console.print(f"{what}: {size(amount)}", highlight=False, markup=False, soft_wrap=True)
    if done.spared:
        names = ", ".join(f"{a.label} of run {short_id(a.run_id)}" for a in done.spared)
        console.print(f"kept, since a run has begun that needs it: {names}", soft_wrap=True)
    console.print(_summary(done, dry_run=dry_run), style="green", highlight=False, soft_wrap=True)


def _table(title: str, about: str, found: Mapping[StepRun, str]) -> Table:
    from rich.text import Text

    from dsml.cli.console import make_table

    has_partitions = any(address.partition for address in found)
    columns = ["step", "run", "experiment", *(["partition"] if has_partitions else []), about]
    table = make_table(columns, title, right=["size"], no_wrap=True)
    for address, text in found.items():
        partition = [Text(address.partition or "")] if has_partitions else []
        names = (address.label, short_id(address.run_id), address.experiment)
        table.add_row(*map(Text, names), *partition, Text(text))
    return table


def _together(leftovers: Sequence[tuple[str, int]]) -> dict[str, int]:
    """What is left over of each kind, with its bytes."""
    found: dict[str, int] = defaultdict(int)
    for what, amount in leftovers:
        found[what] += amount
    return found


def _summary(done: Cleaned, *, dry_run: bool) -> str:
    if not (done.steps or done.runs or done.leftovers):
        return "there is nothing to remove"
    steps, runs = counted(len(done.steps), "step"), counted(len(done.runs), "whole run")
    free = f"{size(done.bytes)} {'would be' if dry_run else 'are'} free again"
    return f"{steps} of runs, {runs}, {free}"
