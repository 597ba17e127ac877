"""``dsml new``."""

from __future__ import annotations

import click

from dsml.cli import cli, project_root
from dsml.contract.new import new_notebook
from dsml.contract.new_python import new_python_step


@cli.command()
@click.argument("step", metavar="STAGE/NAME")
@click.option("--in", "ins", multiple=True, metavar="NAME=PATH", help="Reads an artefact.")
@click.option("--out", "outs", multiple=True, metavar="NAME=FILE", help="Writes a file.")
@click.option("--text", is_flag=True, help="A script with cells, stages/STAGE/NAME.py.")
@click.option("--python", is_flag=True, help="A file with a function step_fn, STAGE/NAME.py.")
def new(
    step: str, ins: tuple[str, ...], outs: tuple[str, ...], *, text: bool, python: bool
) -> None:
    """Make a notebook or a Python step that runs as it is, and register it.

    PATH is the catalog path of an artefact, such as prepare.split.train. --in and --out can be
    given several times. Nothing is overwritten.
    """
    if text and python:
        raise click.UsageError("--text and --python contradict each other")
    if python:
        spec = new_python_step(project_root(), step, ins, outs)
    else:
        spec = new_notebook(project_root(), step, ins, outs, text=text)
    click.echo(f"{spec.path} is the step {spec.name}; it is checked and registered")
    click.echo(f"run it: dsml run --select {'+' if spec.upstream else ''}{spec.name}")
