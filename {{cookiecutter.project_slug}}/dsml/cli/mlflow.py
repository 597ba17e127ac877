"""``dsml mlflow``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.problem import Problem, ProjectError

if TYPE_CHECKING:
    from dsml.step.tracking import Tracking

_HOST = "127.0.0.1"
# Else it starts eight processes, with 1.8 GB, that wait for answers of language models to judge.
_WITHOUT_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@cli.command()
@click.option("--port", default=5000, type=click.IntRange(1, 65535), show_default=True)
def mlflow(*, port: int) -> None:
    """Open MLflow's UI on what this project has tracked, on 127.0.0.1.

    It serves the project's own folder. For an MLflow that is a server already, it says where.
    """
    tracking = tracking_in(project_root())
    if tracking.folder is None:
        click.echo(f"MLflow is at {tracking.shown}")
        return
    from dsml.evidence.mlflow_runs import MlflowRuns

    # the database is made once, before the server has it
    runs = f"#/experiments/{MlflowRuns(tracking).experiment_id}/runs"
    click.echo(f"MLflow on http://{_HOST}:{port}/{runs}, Ctrl-C ends it", err=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)),
        *("--backend-store-uri", tracking.uri),
        *("--artifacts-destination", str(tracking.artefacts), "--workers", "1"),
    ]
    become(command, {**_WITHOUT_JOBS, **os.environ, **tracking.env()})


def tracking_in(root: Path) -> Tracking:
    """The MLflow of a project.

    Raises:
        ProjectError: nothing is tracked in it, or MLflow isn't installed.
    """
    from dsml.contract.catalog import read_catalog
    from dsml.step.models import need_mlflow
    from dsml.step.tracking import tracking_of

    catalog = read_catalog(root, [])
    tracking = tracking_of(root, catalog)
    if tracking is None:
        name = catalog.environment().name
        where = catalog.where("environments", name)
        what = f"environments.{name}: nothing is tracked"
        fix = "give it a folder or an address: mlflow: .mlflow"
        raise ProjectError([Problem(where, what, fix, "no-mlflow")])
    need_mlflow("tracking")
    return tracking


def become(command: list[str], env: dict[str, str]) -> None:
    """Let another program take the place of this one, or wait for it where that cannot be."""
    if sys.platform == "win32":
        import subprocess

        raise SystemExit(subprocess.run(command, env=env, check=False).returncode)
    os.execve(command[0], command, env)  # noqa: S606 - there is no shell to go through
