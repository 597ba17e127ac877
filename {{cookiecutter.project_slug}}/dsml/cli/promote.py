"""``dsml promote``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root

if TYPE_CHECKING:
    from rich.table import Table

    from dsml.evidence.models import Decision


@cli.command()
@click.argument("model", required=False)
@click.option("--metric", help="Decide by this metric; default: that of the model in catalog.yml.")
@click.option("--higher/--lower", default=None, help="Whether a higher value is better.")
@click.option("--run", metavar="RUN", help="The model of this run; default: the best one.")
@click.option("-e", "--experiment", help="Only runs of this experiment.")
@click.option("--dry-run", is_flag=True, help="Say what would come of it; register nothing.")
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="Go back to a version.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def promote(
    *,
    model: str | None,
    metric: str | None,
    higher: bool | None,
    run: str | None,
    experiment: str | None,
    dry_run: bool,
    to: int | None,
    as_json: bool,
) -> None:
    """Make the best run's model the champion, if it is better than the one there is.

    MODEL is a name from `models` in catalog.yml; it may be left out where there is but one. The
    model is registered as the challenger, and becomes the champion where it passes the gate: better
    on held-out data than the champion, checks of the run passed, a signature that fits. Exit code
    1: it was refused.
    """
    from dsml.evidence import models

    if to is not None and (run or metric or experiment or dry_run or higher is not None):
        raise click.UsageError("--to goes with no other option but --json")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    root = project_root()
    if to is not None:
        decision = models.restore(to, model, root=root)
    else:
        decision = models.promote(
            model,
            metric=metric,
            higher=higher,
            run=run,
            experiment=experiment,
            dry_run=dry_run,
            root=root,
        )
    if as_json:
        click.echo(json.dumps(decision.to_dict(), indent=1, ensure_ascii=False))
    else:
        _show(decision)
    if decision.outcome == "refused":
        raise SystemExit(1)


def _show(decision: Decision) -> None:
    from rich.markup import escape

    from dsml.cli.console import make_console
    from dsml.contract.figures import number, short_id

    console = make_console()
    if decision.criteria:
        logged = "" if decision.logged is None else f", logged {number(decision.logged)}"
        which = f"{decision.step} in run {short_id(decision.run_id)}"
        about = f"challenger: {which} ({decision.experiment}{logged})"
        console.print(escape(about), highlight=False, soft_wrap=True)
        console.print(_table(decision))
    colour = "red" if decision.outcome == "refused" else "green"
    console.print(f"[{colour}]{escape(str(decision))}[/]", highlight=False, soft_wrap=True)
    if decision.promoted and decision.before and not decision.dry_run:
        undo = f"to undo it: dsml promote {decision.model} --to {decision.before}"
        console.print(undo, highlight=False, soft_wrap=True)


def _table(decision: Decision) -> Table:
    from rich.text import Text

    from dsml.cli.console import make_table

    columns = ("criterion", "challenger", "champion", "")
    table = make_table(columns, right=("challenger", "champion"))
    for criterion in decision.criteria:
        mark = "passed" if criterion.passed else f"refused: {criterion.note}".removesuffix(": ")
        table.add_row(
            Text(criterion.name),
            Text(criterion.challenger),
            Text(criterion.champion),
            Text(mark, style="green" if criterion.passed else "red"),
        )
    return table
