"""`dsml debug`: a step's notebook with the inputs and parameters that it had in a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import nbformat
import pytest
from click.testing import CliRunner
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dsml.cli import check as _check  # noqa: F401 - adds its command
from dsml.cli import cli
from dsml.cli import debug as command
from dsml.contract.problem import ProjectError
from dsml.contract.project import notebook_paths, read_project
from dsml.orchestrate.debug import debug_notebook
from dsml.step.inputs import ATTEMPT, find_attempt, name_attempt
from dsml.store import Attempt, StepRun, Store

from .projects import PROJECT_FOLDER, Step, manifests_of, write_project

MAKE = Step('context.save("x", [n])', outs={"x": "x.json"}, parameters="n: int = 3  # a number")
USE = Step(
    [
        "import helper, os, pathlib",
        'x = context.load("x")\ncontext.save("y", x)',
        'place = pathlib.Path("note.txt").read_text()',
        'raise ValueError(f"bad {x}, {factor}, {label}, {place}, {helper.NAME}, {os.getcwd()}")',
    ],
    ins={"x": "a.make.x"},
    outs={"y": "y.json"},
    parameters="factor: int = 2\nlabel: str = 'plain'",
)
ALSO = Step("raise RuntimeError('also')")
STEPS = {"a.make": MAKE, "b.use": USE, "c.also": ALSO}
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"b.use": {"factor": 5}}}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A project, two runs that failed and one that passed later, with other inputs."""
    root = tmp_path_factory.mktemp("debug") / "a project"
    write_project(root, STEPS, experiments=EXPERIMENTS)
    shutil.copy(PROJECT_FOLDER / ".gitignore", root)
    (root / "stages" / "b" / "note.txt").write_text("beside it")
    (root / "stages" / "b" / "helper.py").write_text("NAME = 'imported'")
    settings = ("--set", "a.make.n=10", "--set", "b.use.label=it's")
    run_ids = [
        ran(root, "--experiment", "wide", "--select", "+b.use", *settings, code=1),
        ran(root, "--experiment", "wide", code=1),
        ran(root, "--experiment", "wide", "--select", "a.make", "--set", "a.make.n=99", code=0),
    ]
    return root, run_ids


def ran(root, *arguments, code):
    """Run the pipeline as a user does; returns the run's id."""
    done = subprocess.run(
        [sys.executable, "-m", "dsml", "run", "--json", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)["run_id"]


@pytest.fixture
def project(failed, monkeypatch):
    """The project, as the folder that commands are given in; copies and scratch are removed."""
    root, _ = failed
    monkeypatch.chdir(root)
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    monkeypatch.setenv("PYTHONPATH", str(root))
    yield root
    for file in root.rglob("*.debug.ipynb"):
        file.unlink()
    shutil.rmtree(root / "artefacts" / ".scratch", ignore_errors=True)


@pytest.fixture
def runs(failed):
    return failed[1]


def dsml(*arguments):
    result = CliRunner().invoke(cli, arguments, catch_exceptions=True)
    if isinstance(result.exception, ProjectError):  # what `main` makes of it
        return 1, "", str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def copy_of(*arguments):
    """The copy that `dsml debug` prints the path of."""
    code, out, _ = dsml("debug", *arguments, "--no-open")
    assert code == 0
    assert len(out.splitlines()) == 1
    return Path(out.strip()).resolve()


def executed(file):
    """Run a notebook in its folder, as Jupyter does; returns it and the error it ended with."""
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(file.parent)}})
    try:
        client.execute()
    except CellExecutionError as error:
        return notebook, f"{error.ename}: {error.evalue}"
    return notebook, ""


def attempt_of(root, step, run_id):
    store = Store.open(root, read_project(root).catalog)
    (attempt,) = store.attempts(StepRun(step, "wide", run_id))
    return attempt


def with_cell(file, source, before="raise"):
    """Put a cell before the one that begins with `before`."""
    notebook = nbformat.read(file, as_version=4)
    (index,) = [i for i, c in enumerate(notebook.cells) if c.source.startswith(before)]
    notebook.cells.insert(index, nbformat.v4.new_code_cell(source, id="inserted"))
    nbformat.write(notebook, file)
    return file


# --- the attempt, once more -----------------------------------------------------------------------


def test_the_same_error_is_seen_with_the_same_inputs_although_newer_ones_are_there(project, runs):
    before = manifests_of(project)
    _, error = executed(copy_of(runs[0]))
    told = attempt_of(project, "b.use", runs[0]).error.splitlines()[1].strip()
    assert error == told
    folder = project / "stages" / "b"
    assert error == f"ValueError: bad [10], 5, it's, beside it, imported, {folder}"
    assert json.loads((project / "artefacts/.scratch/wide/b.use/y.json").read_text()) == [10]
    assert manifests_of(project) == before
    assert json.loads(
        (next(iter(project.glob(f"artefacts/wide/a/make/{runs[2]}/x.json")))).read_text()
    ) == [99]


def test_the_context_shows_what_the_attempt_read_and_where_values_came_from(project, runs):
    file = with_cell(copy_of(runs[0]), "print(context)\nprint(context.retry_number)")
    notebook, _ = executed(file)
    (shown,) = [o.text for c in notebook.cells for o in c.get("outputs", ()) if "text" in o]
    rows = [line.split() for line in shown.splitlines()]
    assert rows[0] == ["b.use,", "experiment", "wide,", "run", "scratch"]
    assert next(row for row in rows if row[:1] == ["x"])[1:3] == ["a.make.x", runs[0][:8]]
    assert ["factor", "5", "experiment"] in rows
    assert ["label", '"it\'s"', "run"] in rows
    assert shown.splitlines()[-1] == "0"


def test_a_parameter_that_is_changed_in_the_copy_wins_even_with_its_default(project, runs):
    file = with_cell(copy_of(runs[0]), "factor, label = 2, 'new'", before="from dsml import")
    _, error = executed(file)
    assert error.startswith("ValueError: bad [10], 2, new,")


def test_a_step_that_passed_can_be_gone_through_too(project, runs):
    _, error = executed(copy_of(runs[2], "a.make"))
    assert error == ""
    assert json.loads((project / "artefacts/.scratch/wide/a.make/x.json").read_text()) == [99]


def test_a_step_that_is_named_and_a_run_by_its_beginning(project, runs):
    assert copy_of(runs[1][:8], "c.also").name == f"also.{runs[1][:8]}.debug.ipynb"
    assert copy_of(runs[1], "b.use").name == f"use.{runs[1][:8]}.debug.ipynb"


# --- the copy -------------------------------------------------------------------------------------


def test_the_copy_is_the_notebook_and_two_cells(project, runs):
    file = copy_of(runs[0])
    source = nbformat.read(project / "stages" / "b" / "use.ipynb", as_version=4)
    copied = nbformat.read(file, as_version=4)
    nbformat.validate(copied)
    added = [cell for cell in copied.cells if cell.id not in {c.id for c in source.cells}]
    assert [cell.source for cell in copied.cells if cell not in added] == [
        cell.source for cell in source.cells
    ]
    assert added[0] is copied.cells[0]
    assert added[1].source == '# Parameters\nfactor = 5\nlabel = "it\'s"\n'
    assert file.parent == project / "stages" / "b"


def test_git_check_and_register_pass_the_copy_over(project, runs):
    register = (project / "catalog.yml").read_bytes()
    file = copy_of(runs[0])
    subprocess.run(["git", "init", "-q", project], check=True)
    status = ["git", "-C", project, "status", "--porcelain", "--untracked-files=all", "stages"]
    listed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert "use.ipynb" in listed
    assert ".debug.ipynb" not in listed
    assert dsml("check")[0] == 0
    assert dsml("register") == (0, "the register is up to date\n", "")
    assert (project / "catalog.yml").read_bytes() == register
    assert file.relative_to(project).as_posix() not in notebook_paths(project)


def test_a_copy_that_is_there_is_kept_with_its_changes(project, runs):
    file = with_cell(copy_of(runs[0]), "# my note")
    code, out, err = dsml("debug", runs[0], "--no-open")
    assert (code, Path(out.strip()).resolve()) == (0, file)
    assert err == f"{file.relative_to(project)} was there already; delete it to begin anew\n"
    assert "# my note" in file.read_text()


def test_a_notebook_that_has_changed_since_is_told(project, runs):
    source = project / "stages" / "c" / "also.ipynb"
    text = source.read_text()
    source.write_text(text.replace("'also'", "'changed'"))
    try:
        code, out, err = dsml("debug", runs[1], "c.also", "--no-open")
    finally:
        source.write_text(text)
    changed = "stages/c/also.ipynb, or a module that it imports, has changed since that attempt\n"
    assert (code, err) == (0, changed)
    assert "'changed'" in Path(out.strip()).read_text()


def test_later_attempts_have_copies_of_their_own(project, runs):
    attempt = attempt_of(project, "b.use", runs[0])
    first, _ = debug_notebook(read_project(project), attempt)
    second, is_new = debug_notebook(read_project(project), replace(attempt, number=2))
    assert is_new
    assert [f.name for f in (first, second)] == [
        f"use.{runs[0][:8]}.debug.ipynb",
        f"use.{runs[0][:8]}-2.debug.ipynb",
    ]
    assert "wide/b.use/" + runs[0] + "/2" in second.read_text()


def test_the_environment_is_that_of_the_run(project, runs, monkeypatch):
    text = (project / "catalog.yml").read_text()
    changed = text.replace("  dev:", "  other:\n    storage: artefacts\n  dev:")
    (project / "catalog.yml").write_text(changed)
    monkeypatch.setenv("DSML_ENV", "other")
    try:
        file = copy_of(runs[0])
    finally:
        (project / "catalog.yml").write_text(text)
    assert (
        nbformat.read(file, as_version=4).cells[0].source.count("""["DSML_ENV"] = 'other'""") == 1
    )


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["is no longer what was read then", "has been deleted"])
def test_an_input_that_is_not_what_it_was_is_told(project, runs, change):
    file = copy_of(runs[0])
    kept = project / "artefacts" / "wide" / "a" / "make" / runs[0] / "x.json"
    content = kept.read_bytes()
    kept.chmod(0o644)
    kept.unlink()
    if "deleted" not in change:
        kept.write_text("[11]")
    try:
        _, error = executed(file)
    finally:
        kept.write_bytes(content)
    assert error.splitlines() == [
        "ProjectError: stages/b/use.ipynb, cell 2 (op_parameters), line 3",
        f"  ins.x: 'a.make.x' of run {runs[0][:8]} {change}",
        "  restore the file, or take a newer run: dsml runs lists them",
    ]


def test_without_its_first_cell_a_copy_does_not_read_other_inputs(project, runs, monkeypatch):
    file = copy_of(runs[0])
    notebook = nbformat.read(file, as_version=4)
    del notebook.cells[0]
    nbformat.write(notebook, file)
    monkeypatch.setenv("JPY_SESSION_NAME", str(file))  # as Jupyter does
    _, error = executed(file)
    assert error.splitlines()[-1] == "  run its first cell first"


@pytest.mark.parametrize("name", ["nonsense", "wide/b.use/no-such-run/1", "wide/b.use/{run}/7"])
def test_an_attempt_of_which_nothing_is_kept_is_told(project, runs, monkeypatch, name):
    monkeypatch.setenv(ATTEMPT, name.format(run=runs[0]))
    store = Store.open(project, read_project(project).catalog)
    with pytest.raises(ProjectError, match="DSML_ATTEMPT\n  nothing is kept of the attempt"):
        find_attempt(store)


def test_an_attempt_is_found_by_its_name_with_a_partition_too(new_store, monkeypatch):
    store = new_store("{experiment}/{partition}/{stage}/{notebook}/{run_id}/{file}")
    address = StepRun("a.b", "wide", "r1", "2024-01-01")
    attempt = Attempt(
        "a.b", "r1", "wide", "2024-01-01", {}, {}, 1, "failed", "why", "1", "2", "code"
    )
    store.keep_attempt(store.stage(address, 1), attempt)
    monkeypatch.setenv(ATTEMPT, name_attempt(attempt))
    assert find_attempt(store) == attempt


def test_an_unknown_run_is_answered_with_the_nearest_or_the_newest(project, runs):
    mistyped = ("f" if runs[1][0] != "f" else "e") + runs[1][1:]
    assert dsml("debug", mistyped)[::2] == (
        1,
        f"dsml debug\n  there is no run '{mistyped}'\n  did you mean '{runs[1]}'?",
    )
    newest = f"the newest is '{runs[2][:8]}'; dsml runs lists them"
    assert dsml("debug", "zz")[2] == f"dsml debug\n  there is no run 'zz'\n  {newest}"


def test_an_unknown_step_is_answered_with_the_nearest(project, runs):
    message = "dsml debug\n  there is no step 'b.sue'\n  did you mean 'b.use'?"
    assert dsml("debug", runs[0], "b.sue") == (1, "", message)


def test_a_step_that_did_not_run_is_told(project, runs):
    what = f"nothing is kept of 'c.also' in run {runs[0][:8]}: its notebook was not started there"
    message = f"dsml debug\n  {what}\n  choose a.make or b.use"
    assert dsml("debug", runs[0], "c.also") == (1, "", message)


def test_where_several_steps_failed_one_has_to_be_named(project, runs):
    short = runs[1][:8]
    assert dsml("debug", short)[2].splitlines() == [
        "dsml debug",
        f"  2 steps failed in run {short}, so it is unclear which is meant",
        f"  name the step: dsml debug {short} STEP, where STEP is b.use or c.also",
    ]


def test_where_no_step_failed_one_has_to_be_named(project, runs):
    assert (
        dsml("debug")[2].splitlines()
        == [  # the latest run
            "dsml debug",
            f"  no step of run {runs[2][:8]} failed",
            f"  name the step: dsml debug {runs[2][:8]} STEP, where STEP is a.make",
        ]
    )


# --- JupyterLab -----------------------------------------------------------------------------------


class _Lab:
    """Stands in for JupyterLab: is interrupted once, and ends."""

    started: ClassVar[list[tuple[list[str], dict[str, str]]]] = []
    waits = 0

    def __init__(self, arguments, env):
        self.started.append((arguments, env))

    def wait(self):
        type(self).waits += 1
        if self.waits == 1:
            raise KeyboardInterrupt
        return 0


def test_jupyterlab_is_opened_on_this_machine_alone(project, runs, monkeypatch):
    monkeypatch.setattr(command.subprocess, "Popen", _Lab)
    monkeypatch.delenv("PYTHONPATH")
    code, out, _ = dsml("debug", runs[0])
    assert (code, out) == (0, f"b.use, run {runs[0][:8]}, attempt 1: failed\n")
    ((arguments, environment),) = _Lab.started
    assert arguments[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.ip=127.0.0.1" in arguments
    assert f"--ServerApp.root_dir={project / 'stages'}" in arguments
    assert arguments[-1] == str(project / "stages" / "b" / f"use.{runs[0][:8]}.debug.ipynb")
    assert environment["PYTHONPATH"] == str(project)


def test_without_jupyterlab_the_message_says_what_to_do(project, runs, monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda _: None)
    message = dsml("debug", runs[0])[2]
    assert message.splitlines()[1] == "  there is no JupyterLab"
    assert message.endswith(f"use.{runs[0][:8]}.debug.ipynb")
