"""``dsml sync``."""

from __future__ import annotations

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import counted, short_id


@cli.command()
@click.argument("run", required=False)
def sync(*, run: str | None) -> None:
    """Send to MLflow what it doesn't have yet: of RUN, or of all runs.

    Runs don't wait for an MLflow that is down or slow. What they would have sent is kept.
    """
    from dsml.cli.mlflow import tracking_in
    from dsml.evidence.sync import sync as send
    from dsml.evidence.trace import find_run, open_store

    root = project_root()
    tracking = tracking_in(root)
    store = open_store(root)
    run_id = None if run is None else find_run(store, run, "dsml sync")
    count = 0
    for sent in send(store, tracking, run_id):
        count += 1
        click.echo(f"{short_id(sent.run_id)}  {sent.outcome}  {sent.url}")
    click.echo(f"{counted(count, 'run')} sent to {tracking.shown}")
