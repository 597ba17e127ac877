"""``dsml debug``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.names import STAGES_FOLDER
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import read_project

if TYPE_CHECKING:
    from dsml.store import Attempt

_COMMAND = "dsml debug"


@cli.command()
@click.argument("run", default="latest")
@click.argument("step", required=False)
@click.option("--no-open", is_flag=True, help="Print the path of the notebook, and nothing more.")
def debug(run: str, step: str | None, *, no_open: bool) -> None:
    """Open a step's notebook with the inputs and parameters that it had in a run.

    RUN is an id, the beginning of one, or `latest`. STEP can be left out where one step of the run
    failed; of a mapped step it is an instance, such as 'train.fit[100]'. The notebook is a copy:
    what it writes goes to a scratch folder.
    """
    from dsml.cli.results import short_path
    from dsml.orchestrate.debug import debug_notebook
    from dsml.orchestrate.history import find_run, step_status
    from dsml.orchestrate.launch import open_instance
    from dsml.store import StepRun, Store

    root = project_root()
    project = read_project(root)
    store = Store.open(root, project.catalog)
    with open_instance(root) as instance:
        found = find_run(instance, run, _COMMAND)
        labels = step_status(instance, found.run_id, project.steps)
    run_of = StepRun("", found.experiment, found.run_id, found.partition)
    attempts = {label: a for label in labels for a in store.attempts(run_of.named(label))}
    attempt = _chosen(attempts, step, [*project.steps, *labels], found.short_id)
    spec = project.steps[attempt.step]
    file, is_new = debug_notebook(project, attempt)
    path = short_path(str(file))
    if not is_new:
        click.echo(f"{path} was there already; delete it to begin anew", err=True)
    elif attempt.code not in ("", spec.code):
        changed = f"{spec.path}, or a module that it imports, has changed since that attempt"
        click.echo(changed, err=True)
    if no_open:
        click.echo(path)
        return
    label = attempt.address.label
    click.echo(f"{label}, run {found.short_id}, attempt {attempt.number}: {attempt.status}")
    raise SystemExit(_open(root, file))


def _chosen(attempts: dict[str, Attempt], step: str | None, known: list[str], run: str) -> Attempt:
    """The last attempt at the step that was named, or at the one that failed."""
    failed = [name for name, attempt in attempts.items() if attempt.status != "passed"]
    if step is None and len(failed) == 1:
        step = failed[0]
    if step is not None and step in attempts:
        return attempts[step]
    if step is None:
        what = f"{len(failed) or 'no'} steps failed in run {run}, so it is unclear which is meant"
        what = what if failed else f"no step of run {run} failed"
        fix = f"name the step: {_COMMAND} {run} STEP, where STEP is {_or(failed or [*attempts])}"
    elif step in known:
        what = f"nothing is kept of '{step}' in run {run}: its notebook was not started there"
        fix = f"choose {_or([*attempts])}"
    else:
        what, fix = f"there is no step '{step}'", suggest(step, known)
    raise ProjectError([Problem(Where(_COMMAND), what, fix, "unknown-step")])


def _or(names: list[str]) -> str:
    return " or ".join(names) if names else "a step that has been run"


def _open(root: Path, file: Path) -> int:
    """Run JupyterLab on a notebook until it is ended; returns its exit code."""
    from dsml.step.process import environment_of

    if importlib.util.find_spec("jupyterlab") is None:
        fix = f"install the development tools, or open it in your editor: {file}"
        raise ProjectError([Problem(Where(_COMMAND), "there is no JupyterLab", fix, "no-jupyter")])
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={root / STAGES_FOLDER}", str(file)]
    process = subprocess.Popen(command, env=environment_of(root))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # JupyterLab has had it too, and asks whether to end
