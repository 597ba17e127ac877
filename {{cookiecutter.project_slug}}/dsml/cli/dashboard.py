"""``dsml dashboard``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

from dsml.cli import cli, project_root
from dsml.contract.problem import Problem, ProjectError, Where

APP = "dashboard/app.py"
_HOST = "127.0.0.1"


@cli.command()
@click.option("--port", default=8501, type=click.IntRange(1, 65535), show_default=True)
def dashboard(*, port: int) -> None:
    """Open the page that shows the champion, on 127.0.0.1.

    It follows each promotion by itself.
    """
    from dsml.cli.mlflow import become, tracking_in
    from dsml.step.process import environment_of

    root = project_root()
    _check(root)
    tracking_in(root)  # the page would say it too, but here it can be read at once
    click.echo(f"The dashboard on http://{_HOST}:{port}, Ctrl-C ends it", err=True)
    os.chdir(root)  # Streamlit reads the project's .streamlit/config.toml
    command = [
        *(sys.executable, "-m", "streamlit", "run", APP),
        *("--server.address", _HOST, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false"),
    ]
    become(command, environment_of(root))


def _check(root: Path) -> None:
    """Whether there is a dashboard, and what shows it.

    Raises:
        ProjectError: there isn't.
    """
    if not (root / APP).is_file():
        fix = "write a Streamlit app there, or take the template's: dashboard=streamlit"
        raise ProjectError([Problem(Where(APP), "is not there", fix, "no-dashboard")])
    if importlib.util.find_spec("streamlit") is None:
        fix = 'add "streamlit>=1.67,<2" to the dependencies in pyproject.toml, and install again'
        raise ProjectError([Problem(Where(APP), "Streamlit is not installed", fix, "no-streamlit")])
