"""``dsml doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root

if TYPE_CHECKING:
    from dsml.orchestrate.doctor.findings import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red"}
_INDENT = " " * 19  # below what is found


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(*, as_json: bool) -> None:
    """Check what the project needs of this machine, and say how to mend what is wrong.

    Exit code 1: something is broken.
    """
    from dsml.orchestrate.doctor.findings import examine

    found: list[Finding] = []
    for finding in examine(project_root()):
        found.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    if any(finding.state == "broken" for finding in found):
        raise SystemExit(1)


def _show(finding: Finding) -> None:
    state = click.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
    click.echo(f"{state} {finding.check:9} {finding.what}")
    if finding.fix:
        click.echo(f"{_INDENT}{finding.fix}")
