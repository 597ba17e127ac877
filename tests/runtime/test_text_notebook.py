"""Text notebooks and fresh notebooks run: with the command, by hand, and as a pair."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pytest

from dsml.contract.new import new_notebook
from dsml.step.formats import FORMATS

from .conftest import execute
from .projects import Step, manifests_of, start, write_project

MAKE = Step('context.save("x", [n])', outs={"x": "x.json"}, parameters="n: int = 3  # a number")
SCRIPT = """\
# ---
# jupyter:
#   kernelspec:
#     name: python3
# ---

# %% [markdown]
# # Use

# %% tags=["op_parameters"]
op_parameters = {"ins": {"x": "a.make.x"}, "outs": {"y": "y.json"}}

# %% tags=["parameters"]
factor: int = 2  # what to multiply by
fail: bool = False

# %%
from dsml import get_context

context = get_context(op_parameters)
# %time x = context.load("x")
# files = !echo one

# %%

if fail:
    raise ValueError(factor)
context.save("y", [factor, *context.load("x")])
"""
EXPERIMENTS = {
    "baseline": {},
    "failing": {"config": {"a.use": {"fail": True, "factor": 7}}},
}
FIRST = 'op_parameters = {"ins": {"x": "a.make.x"}, "outs": {"y": "y.json"}}'


@pytest.fixture
def mixed(root):
    """A notebook, and a text notebook that reads from it."""
    (root / "stages" / "a").mkdir(parents=True)
    (root / "stages" / "a" / "use.py").write_text(SCRIPT, encoding="utf-8")
    return write_project(root, {"a.make": MAKE}, experiments=EXPERIMENTS)


def dsml(root, *arguments):
    process = start(root, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def by_python(root, *command, cwd=None):
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd or root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_it_runs_and_is_published_like_any_notebook(mixed):
    code, _, err = dsml(mixed, "run")
    assert (code, err) == (0, "")
    manifest = manifests_of(mixed)["a.use"]
    folder = mixed / "artefacts/baseline/a/use" / manifest.run_id
    assert json.loads((folder / "y.json").read_text()) == [2, 3]
    executed = nbformat.read(folder / manifest.executed, as_version=nbformat.NO_CONVERT)
    nbformat.validate(executed)
    assert [cell.cell_type for cell in executed.cells] == ["markdown", *["code"] * 4]
    assert executed.cells[3].source.endswith('%time x = context.load("x")\nfiles = !echo one')
    assert (folder / manifest.executed).with_suffix(".html").is_file()


@pytest.mark.slow
def test_a_cell_that_fails_is_told_with_the_line_of_the_script(mixed):
    code, _, err = dsml(mixed, "run", "--experiment", "failing")
    assert code == 1
    line = SCRIPT.split("\n").index("    raise ValueError(factor)") + 1
    assert f"stages/a/use.py, cell 5, line {line}\n  ValueError: 7\n" in err


def test_parameters_are_injected_below_their_defaults(mixed):
    ran = execute(mixed, run_config={"ops": {"a__use": {"config": {"factor": 5}}}})
    assert ran.passed
    values = ran.manifest("a.use").parameters
    assert {name: (v.value, v.source) for name, v in values.items()} == {
        "factor": (5, "run"),
        "fail": (False, "default"),
    }


def test_the_code_of_the_manifest_is_that_of_the_script(mixed):
    assert execute(mixed).manifest("a.use").code != ""


# --- by hand


@pytest.mark.parametrize("folder", ["root", "stage", "elsewhere"])
def test_it_runs_as_a_script_from_any_folder(mixed, folder, tmp_path):
    assert execute(mixed).passed
    cwd = {"root": mixed, "stage": mixed / "stages/a", "elsewhere": tmp_path}[folder]
    done = by_python(mixed, str(mixed / "stages/a/use.py"), cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    written = mixed / "artefacts/.scratch/baseline/a.use/y.json"
    assert json.loads(written.read_text()) == [2, 3]


def test_a_script_ends_with_the_message_and_no_traceback(mixed):
    done = by_python(mixed, "stages/a/use.py")
    assert done.returncode == 1
    assert done.stderr.startswith("stages/a/use.py, cell 2 (op_parameters), line 11\n  ins.x:")
    assert "Traceback" not in done.stderr


def test_the_script_of_a_pair_is_the_step_of_the_notebook(mixed):
    assert execute(mixed).passed
    (mixed / "stages/a/make.py").write_text(
        '# %% tags=["op_parameters"]\nfrom dsml import get_context\n'
        "context = get_context({})\nprint(context.step)\n",
        encoding="utf-8",
    )
    assert by_python(mixed, "stages/a/make.py").stdout == "a.make\n"


def test_a_notebook_with_a_mistake_is_told_the_mistake(mixed):
    file = mixed / "stages/a/use.py"
    file.write_text(SCRIPT.replace(FIRST, "op_parameters = dict()"), encoding="utf-8")
    done = by_python(mixed, "stages/a/use.py")
    assert done.stderr.startswith(
        "stages/a/use.py, cell 2 (op_parameters), line 11\n"
        "  op_parameters: `dict()` is no literal\n"
    )


# --- pairs


@pytest.mark.slow
def test_a_pair_that_is_out_of_step_does_not_run(mixed):
    (mixed / "stages/a/make.py").write_text('# %% tags=["x"]\nn = 1\n', encoding="utf-8")
    code, _, err = dsml(mixed, "run")
    assert code == 1
    assert err == (
        "stages/a/make.ipynb, cell 1\n"
        "  the cell differs from its pair stages/a/make.py, line 2\n"
        "  run: jupytext --set-formats ipynb,py:percent --sync stages/a/make.ipynb, "
        "or delete one of the two\n"
    )


# --- fresh notebooks


@pytest.mark.parametrize("text", [False, True])
def test_a_fresh_notebook_runs_as_it_is(root, text):
    write_project(root, {"a.make": MAKE})
    outs = [f"o{i}=file{i}{suffix}" for i, suffix in enumerate([*FORMATS, ".xlsx"])]
    new_notebook(root, "b/fresh", ["x=a.make.x", "again=a.make.x"], outs, text=text)
    ran = execute(root)
    assert ran.passed, ran.log
    assert set(ran.manifest("b.fresh").outputs) == {out.partition("=")[0] for out in outs}
