"""``dsml notify``."""

from __future__ import annotations

import click

from dsml.cli import cli, project_root
from dsml.contract.problem import Problem, ProjectError


@cli.command()
@click.option("--test", "send_test", is_flag=True, help="Send a test message.")
def notify(*, send_test: bool) -> None:
    """Say where failed runs are told, by the settings in the environment."""
    from dsml.orchestrate.channels import SETTINGS, channels

    root = project_root()
    problems: list[Problem] = []
    found = channels(problems)
    if not found and not problems:
        listed = "\n".join(f"  {name:20} {about}" for name, about in SETTINGS.items())
        click.echo(f"nobody is told of failed runs; set in the environment:\n{listed}")
        raise SystemExit(1 if send_test else 0)
    if send_test:
        problems = _send(root.name)
    else:
        for channel in found:
            click.echo(channel.name)
    if problems:
        raise ProjectError(problems)
    if not send_test:
        click.echo("try it: dsml notify --test")


def _send(project: str) -> list[Problem]:
    from dsml.orchestrate.channels import Message, send

    body = f"A failed run of {project} is told in this way. Nothing has failed."
    sent, problems = send(Message(f"{project}: a test", body))
    for name in sent:
        click.echo(f"sent: {name}")
    return problems
