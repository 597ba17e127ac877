"""``dsml new``."""

from __future__ import annotations

import click

from dsml.cli import cli, project_root
from dsml.contract.new import new_notebook


@cli.command()
@click.argument("step", metavar="STAGE/NAME")
@click.option("--in", "ins", multiple=True, metavar="NAME=PATH", help="Reads an artefact.")
@click.option("--out", "outs", multiple=True, metavar="NAME=FILE", help="Writes a file.")
@click.option("--text", is_flag=True, help="A script with cells, stages/STAGE/NAME.py.")
def new(step: str, ins: tuple[str, ...], outs: tuple[str, ...], *, text: bool) -> None:
    """Make a notebook that runs as it is, and register it.

    PATH is the catalog path of an artefact, such as prepare.split.train. Both options can be given
    several times. Nothing is overwritten.
    """
    spec = new_notebook(project_root(), step, ins, outs, text=text)
    click.echo(f"{spec.path} is the step {spec.name}; it is checked and registered")
    click.echo(f"run it: dsml run --select {'+' if spec.upstream else ''}{spec.name}")
