"""``dsml serve``."""

from __future__ import annotations

import os
import socket

import click

from dsml.cli import cli, project_root
from dsml.contract.problem import Problem, ProjectError, Where

COMMAND = "dsml serve"


@cli.command()
@click.argument("model", required=False)
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: any may ask it.")
def serve(*, model: str | None, port: int, host: str) -> None:
    """Serve the champion: POST /invocations predicts, GET /ping says whether it is there.

    MODEL is a name from `models` in catalog.yml; it may be left out where there is but one. What it
    takes and gives is MLflow's protocol. A version that is promoted later needs a restart.
    """
    from dsml.contract.catalog import read_catalog
    from dsml.step.models import load_champion, the_model

    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    root = project_root()
    catalog = read_catalog(root, [])
    name = the_model(catalog, model, COMMAND)
    _check_free(host, port)
    champion, version = load_champion(root, catalog, name)

    import uvicorn
    from mlflow.pyfunc import scoring_server

    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/invocations"
    click.echo(f"{name}, version {version.version}: POST {url}, Ctrl-C ends it", err=True)
    os.chdir(root)  # where the project's own code is
    # MLflow's own server of models, in this very environment
    uvicorn.run(scoring_server.init(champion), host=host, port=port, log_level="warning")


def _check_free(host: str, port: int) -> None:
    """Tell of a port that is taken before the model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            what = f"nothing can listen on {host}, port {port}: {error.strerror}"
            fix = f"take another one: dsml serve --port {port + 1}"
            raise ProjectError([Problem(Where(COMMAND), what, fix, "port")]) from None
