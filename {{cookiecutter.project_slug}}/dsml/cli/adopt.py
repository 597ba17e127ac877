"""``dsml adopt``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dsml.cli import cli, project_root
from dsml.contract.adoption import plan_adoption, write_adoption
from dsml.contract.proposal import Proposal

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@cli.command()
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--stage", required=True, help="The stage folder that it goes to.")
@click.option("--name", help="The name of the step; that of the file, if left out.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
def adopt(notebook: Path, stage: str, name: str | None, *, yes: bool, dry_run: bool) -> None:
    """Make a step of any notebook: a copy below stages/ that keeps the contract.

    NOTEBOOK (.ipynb, or a script with `# %%` cells) is read, never run, and stays as it is. Its
    constants become parameters, the files that it reads and writes become ins and outs.
    """
    root = project_root()
    adoption = plan_adoption(root, notebook, stage, name)
    for line in adoption.difference.splitlines():
        click.secho(line, fg=_COLOURS.get(line[:1]))
    click.echo("")
    _summarise(adoption.proposal)
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: give --yes to write, or --dry-run")
        if not click.confirm(f"Write {adoption.path}?", default=True):
            raise SystemExit(1)
    write_adoption(root, adoption)
    click.echo(f"{adoption.path} is written, and a draft until: dsml register {adoption.path}")


def _summarise(proposal: Proposal) -> None:
    for title, found in (
        ("parameters", proposal.parameters),
        ("ins", [f"{name} = {path}" for name, path in proposal.ins.items()]),
        ("outs", [f"{name} = {file}" for name, file in proposal.outs.items()]),
    ):
        click.echo(f"{title:10}  {', '.join(found) or 'none'}")
    for note in proposal.notes:
        click.echo(f"note        {note}")
