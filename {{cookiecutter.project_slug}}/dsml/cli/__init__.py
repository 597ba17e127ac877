"""The command line: ``dsml ...``.

Exit codes: 0 done, 1 a run or a check failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dsml.contract.problem import ProjectError
from dsml.contract.project import find_root

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
def cli() -> None:
    """Run, check and look into this project's pipelines of notebooks."""


def project_root() -> Path:
    """The project that the command was started in, with its folder importable."""
    root = find_root(Path.cwd().resolve())
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root


def main() -> None:
    """Run a command; a mistake of the user's is told as a message, never as a traceback."""
    from dsml.cli import (  # noqa: F401 - they add their commands
        adopt,
        backfill,
        check,
        compare,
        dashboard,
        debug,
        doctor,
        gc,
        mlflow,
        new,
        notify,
        promote,
        report,
        reproduce,
        run,
        runs,
        schedules,
        serve,
        summary,
        sync,
        trace,
    )

    try:
        cli()
    except ProjectError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    except Exception as error:
        from dsml.cli.trouble import trouble

        problem = trouble(error)
        if problem is None:
            raise
        click.echo(str(problem), err=True)
        raise SystemExit(1) from None
