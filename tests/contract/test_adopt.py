"""`dsml adopt`: what is found in a notebook by reading it, and the copy that is written."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dsml.contract.adoption import plan_adoption, write_adoption
from dsml.contract.percent import ScriptCell
from dsml.contract.problem import ProjectError
from dsml.contract.proposal import propose
from dsml.contract.source import parse

from .conftest import RUNTIME

NOTEBOOKS = Path(__file__).parent / "notebooks"
CHURN = "churn analysis (final).ipynb"
ARTEFACTS = {"prepare.clean.table": "clean.parquet", "a.b.x": "x.csv", "c.d.x": "x.csv"}


def adopt(*sources, tags=(), relocate=lambda path: path):
    cells = [ScriptCell("code", source) for source in sources]
    if tags:
        cells[0] = ScriptCell("code", sources[0], tags)
    return propose(cells, "fit", ARTEFACTS, relocate)


def parameters(proposal):
    tagged = [cell.source for cell in proposal.cells if "parameters" in cell.tags]
    return tagged[0] if tagged else ""


def last(proposal):
    return proposal.cells[-1].source


# --- parameters


@pytest.mark.parametrize(
    "source",
    [
        "n = 3",
        "n: int = 3",
        "n = 3  # trees",
        "# trees\nn = 3",
        "n = [\n    1,\n    2,\n]",
        "n = -0.5",
        "n = None",
    ],
)
def test_a_constant_that_is_used_becomes_a_parameter_as_it_is_written(source):
    found = adopt("import os", f"{source}\nprint(n)")
    assert (parameters(found), last(found), found.parameters) == (source, "print(n)", ["n"])


@pytest.mark.parametrize(
    "source",
    [
        "n = 3",
        "n = 3\nn = 4\nprint(n)",
        "n = 3\nn += 1\nprint(n)",
        "for n in range(3): print(n)",
        "n = 0\nfor n in range(3): print(n)",
        "n = len('abc')\nprint(n)",
        "n = []\nprint(n)",
        "n = [1]\nn.append(2)\nprint(n)",
        "n = {'a': 1}\nn['b'] = 2\nprint(n)",
        "def f():\n    global n\n    n = 2\nn = 3\nprint(n)",
        "if True:\n    n = 3\nprint(n)",
        "_n = 3\nprint(_n)",
        "max = 3\nprint(max)",
        "n = '''a\nb'''\nprint(n)",
        "a = b = 3\nprint(a, b)",
        "a, b = 1, 2\nprint(a, b)",
        "n: np.int64 = 3\nprint(n)",
        "n: int = 'a'\nprint(n)",
        "n = !ls\nprint(n)",
        "n = 3; m = print(n)",
        "import x as n\nn = 3\nprint(n)",
    ],
)
def test_anything_else_stays_where_it_is(source):
    found = adopt(source)
    assert (found.parameters, parameters(found), last(found)) == ([], "", source)


def test_a_name_of_a_function_s_own_is_another_one():
    found = adopt("n = 3\nprint(n)\ndef f():\n    n = 4\n    return n")
    assert found.parameters == ["n"]


def test_a_name_that_is_bound_in_a_cell_that_cannot_be_read_is_left_alone():
    assert adopt("n = 3\nprint(n)", "n = 4\nif").parameters == []


def test_a_use_in_a_magic_counts():
    assert adopt("n = 3", "%timeit f(n)").parameters == ["n"]


def test_a_setting_that_shares_its_line_is_noted():
    found = adopt("n = 3; m = 4\nprint(n, m)")
    assert found.notes == [
        f"cell 1, line 1: {name} shares its line; on a line of its own it could be a parameter"
        for name in "nm"
    ]


def test_the_parameters_cell_of_papermill_is_kept_and_its_injected_one_dropped():
    cells = [
        ScriptCell("code", "n = 3\ndoubled = 2 * n", ("parameters",)),
        ScriptCell("code", "n = 7", ("injected-parameters",)),
        ScriptCell("code", "n = n + 1\nprint(n)"),
    ]
    found = propose(cells, "fit", {}, str)
    assert [cell.source for cell in found.cells[1:]] == [
        "n = 3",
        "from dsml import get_context\n\ncontext = get_context(op_parameters)",
        "doubled = 2 * n",
        "n = n + 1\nprint(n)",
    ]


# --- files


@pytest.mark.parametrize(
    ("call", "rewritten"),
    [
        ("pd.read_parquet('data/clean.parquet')", "pd.read_parquet({})"),
        (
            "pd.read_parquet(path='clean.parquet', columns=['a'])",
            "pd.read_parquet(path={}, columns=['a'])",
        ),
        ("pd.read_parquet(\n    'clean.parquet'\n)", "pd.read_parquet(\n    {}\n)"),
        ("open('clean.parquet', 'rb')", "open({}, 'rb')"),
        ("np.load('ä/clean.parquet')", "np.load({})"),
        ("joblib.load(f'data/{\"clean\"}.parquet')", "joblib.load({})"),
        ("Path('clean.parquet').read_bytes()", "{}.read_bytes()"),
        ("(Path('data') / 'clean.parquet').open()", "({}).open()"),
        ("Image.open(os.path.join('data', 'clean.parquet'))", "Image.open({})"),
        ("plt.imread('data\\\\clean.parquet')", "plt.imread({})"),
        ("cv2.imread('clean.parquet')", "cv2.imread(str({}))"),
    ],
)
def test_a_file_that_a_step_publishes_becomes_an_in(call, rewritten):
    imports = "import os, cv2, joblib, numpy as np\nfrom pathlib import Path\nfrom PIL import Image"
    found = adopt(imports, f"x = {call}")
    assert last(found) == "x = " + rewritten.format("context.ins.clean")
    assert dict(found.ins) == {"clean": "prepare.clean.table"}
    ast.parse(last(found))


@pytest.mark.parametrize(
    ("call", "rewritten", "file"),
    [
        (
            "df.to_csv('out/my table.csv', index=False)",
            "df.to_csv({}, index=False)",
            "my_table.csv",
        ),
        ("plt.savefig('my table.png')", "plt.savefig({})", "my_table.png"),
        ("joblib.dump(m, 'my table.joblib')", "joblib.dump(m, {})", "my_table.joblib"),
        ("np.save(file='my table.npy', arr=x)", "np.save(file={}, arr=x)", "my_table.npy"),
        (
            "json.dump(x, open('my table.json', 'w'))",
            "json.dump(x, open({}, 'w'))",
            "my_table.json",
        ),
        (
            "open('my table.txt', mode='a').write('x')",
            "open({}, mode='a').write('x')",
            "my_table.txt",
        ),
        ("Path('my table.md').write_text('x')", "{}.write_text('x')", "my_table.md"),
    ],
)
def test_a_file_that_is_written_becomes_an_out(call, rewritten, file):
    found = adopt("import joblib, json\nimport numpy as np\nfrom pathlib import Path", call)
    assert last(found) == rewritten.format("context.outs.my_table")
    assert dict(found.outs) == {"my_table": file}


def test_a_file_that_no_step_publishes_becomes_a_parameter():
    found = adopt(
        "a = pd.read_csv('in.csv')\nb = pd.read_csv('in.csv')", relocate="../../{}".format
    )
    assert parameters(found) == 'in_path: str = "../../in.csv"  # a file that no step publishes'
    assert last(found) == "a = pd.read_csv(in_path)\nb = pd.read_csv(in_path)"


def test_a_path_that_is_a_constant_already_stays_one():
    found = adopt("DATA = 'in.csv'\nx = pd.read_csv(DATA)", relocate="../../{}".format)
    assert parameters(found) == 'DATA = "../../in.csv"  # a file that no step publishes'
    assert last(found) == "x = pd.read_csv(DATA)"


def test_constants_that_only_were_paths_go():
    found = adopt(
        "D = 'data'\nSRC = 'clean.parquet'\nx = pd.read_parquet(SRC)\nx.to_csv(D + '/y.csv')"
    )
    assert found.parameters == []
    assert last(found) == "x = pd.read_parquet(context.ins.clean)\nx.to_csv(context.outs.y)"


def test_what_was_written_above_is_read_from_there():
    found = adopt("x.to_csv('y.csv')\nz = pd.read_csv('./y.csv')")
    assert last(found) == "x.to_csv(context.outs.y)\nz = pd.read_csv(context.outs.y)"
    assert (dict(found.ins), dict(found.outs)) == ({}, {"y": "y.csv"})


def test_outs_of_one_name_get_files_of_their_own():
    found = adopt(
        "x.to_csv('a/y.csv'); x.to_csv('b/Y.csv'); x.to_json('y.json'); x.to_json('manifest.json')"
    )
    assert dict(found.outs) == {
        "y": "y.csv",
        "y_2": "Y_2.csv",
        "y_json": "y.json",
        "manifest_2": "manifest_2.json",
    }


def test_a_file_that_two_steps_publish_is_left_to_the_user():
    found = adopt("x = pd.read_csv('x.csv')")
    assert found.notes == [
        "cell 1, line 1: 'x.csv' is published by a.b.x and c.d.x: choose one and declare it"
    ]
    assert (dict(found.ins), found.parameters) == ({}, ["x_path"])


@pytest.mark.parametrize(
    "source",
    [
        "x = pd.read_csv('https://example.org/x.csv')",
        "x = df.to_csv()",
        "x = pd.read_csv(io.StringIO('a'))",
        "with open(0) as f:\n    pd.read_csv(f)",
        "df.to_csv(sys.stdout)",
        "x = 'read_csv(clean.parquet)'",
        "x = pd.read_csv(*args)",
        "def f(path='clean.parquet'):\n    return 1",
    ],
)
def test_what_is_no_file_is_left_alone(source):
    found = adopt("import io, sys", source)
    assert (last(found), dict(found.ins), dict(found.outs)) == (source, {}, {})
    assert [n for n in found.notes if "open" not in n] == []


@pytest.mark.parametrize(
    "source",
    [
        "for i in x:\n    df.to_csv(f'{i}.csv')",
        "def f(p):\n    df.to_csv(p)\np = 'a.csv'\nprint(p)",
    ],
)
def test_a_path_that_is_worked_out_is_noted(source):
    found = adopt(source)
    assert found.notes == [
        (
            "cell 1, line 2: the path of df.to_csv is worked out while the notebook runs; "
            "declare it by hand if it is an in or an out"
        )
    ]
    assert dict(found.outs) == {}


def test_an_out_that_is_not_always_written_is_noted():
    found = adopt("if x:\n    x.to_csv('y.csv')")
    assert found.notes == [
        "cell 1, line 2: 'y.csv' is not written in every run, but the step has to write its outs"
    ]


def test_a_variable_named_context_is_respected():
    found = adopt("context = f()\nx.to_csv('context.csv')")
    assert last(found) == "context = f()\nx.to_csv(step_context.outs.context)"


# --- whole notebooks


@pytest.fixture
def project(make):
    """A project in whose folder `old` the notebooks lie."""
    make.step("prepare.clean", '{"outs": {"table": "clean.parquet"}}').register()
    shutil.copytree(NOTEBOOKS, make.root / "old")
    (make.root / "old" / "data").mkdir()
    (make.root / "old" / "data" / "raw.csv").write_text("value,country\n1,DE\n")
    return make


@pytest.mark.parametrize("name", [CHURN, "papermill.ipynb", "script.py"])
def test_the_copy_passes_the_check_and_the_original_is_untouched(project, name):
    before = {p: p.read_bytes() for p in (project.root / "old").rglob("*") if p.is_file()}
    adoption = plan_adoption(project.root, project.root / "old" / name, "train")
    assert not (project.root / "stages" / "train").exists()
    write_adoption(project.root, adoption)
    assert project.messages == ""
    project.register()
    assert project.messages == ""
    assert {p: p.read_bytes() for p in before} == before


def test_a_messy_notebook(project):
    adoption = plan_adoption(project.root, project.root / "old" / CHURN, "train")
    assert adoption.path == "stages/train/churn_analysis_final.ipynb"
    proposal = adoption.proposal
    assert proposal.parameters == [
        *("N_TREES", "MAX_DEPTH", "FEATURES", "DATA", "OUT_DIR", "plans_path", "lookup_path")
    ]
    assert dict(proposal.outs) == {
        "train": "train.csv",
        "metrics": "metrics.json",
        "model_v2": "model_v2.joblib",
        "curve": "Curve.PNG",
        "report": "report.md",
    }
    assert [note.partition(": ")[0] for note in proposal.notes] == [
        *("cell 5, line 2", "cell 3, line 4", "cell 3, line 4"),
        *("cell 7, line 4", "cell 10, line 3", "cell 10, line 4"),
    ]
    nbformat.validate(nbformat.reads(adoption.text, as_version=nbformat.NO_CONVERT))
    document = json.loads(adoption.text)
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for cell in proposal.cells:
        if cell.kind == "code" and "range(3)\n" not in cell.source and "%%bash" not in cell.source:
            parse(cell.source)


def test_a_script_is_adopted_as_a_script(project):
    adoption = plan_adoption(project.root, project.root / "old" / "script.py", "load", "rows")
    assert adoption.path == "stages/load/rows.py"
    lines = adoption.text.split("\n")
    assert 'raw_path: str = "../../old/data/raw.csv"  # a file that no step publishes' in lines
    assert "# %time table = pd.read_csv(raw_path)" in lines
    assert "notes = (Path(notes_path)).read_text()" in lines


def test_papermill_s_notebook_reads_what_the_project_publishes(project):
    adoption = plan_adoption(project.root, project.root / "old" / "papermill.ipynb", "train")
    assert dict(adoption.proposal.ins) == {"clean": "prepare.clean.table"}
    assert adoption.proposal.parameters == ["n_rows", "n_rows_unused", "context"]


def test_pictures_in_markdown_come_along(project):
    png = {"a.png": {"image/png": "AAAA"}}
    cell = {"cell_type": "markdown", "metadata": {}, "source": "![a](attachment:a.png)"}
    made = {
        "cells": [cell | {"attachments": png}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    project.file("old/picture.ipynb", json.dumps(made))
    adoption = plan_adoption(project.root, project.root / "old" / "picture.ipynb", "a")
    assert json.loads(adoption.text)["cells"][0]["attachments"] == png


def test_old_notebooks_are_read(project):
    cells = [
        {"cell_type": "heading", "level": 1, "source": ["Old"]},
        {"cell_type": "code", "input": ["n = 3\n", "print n"], "outputs": [], "language": "python"},
        {"cell_type": "code", "input": ["x = 3\n", "y = x"], "outputs": [], "language": "python"},
    ]
    made = {"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3, "nbformat_minor": 0}
    project.file("old/old.ipynb", json.dumps(made))
    adoption = plan_adoption(project.root, project.root / "old" / "old.ipynb", "a")
    assert adoption.proposal.cells[0].source == "# Old"
    assert adoption.proposal.parameters == ["x"]


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("r.ipynb", "a", "r.ipynb\n  its language is R\n  a step is written in Python"),
        (
            "data/raw.csv",
            "a",
            "raw.csv\n  is no notebook\n  give an .ipynb, or a script with `# %%` cells",
        ),
        (
            "script.py",
            "my stage",
            "dsml adopt\n  'my stage' is no Python identifier\n  write my_stage/script",
        ),
    ],
)
def test_what_cannot_be_adopted_is_refused(project, name, stage, message):
    with pytest.raises(ProjectError) as caught:
        plan_adoption(project.root, project.root / "old" / name, stage)
    assert str(caught.value).endswith(message)


def test_a_step_is_not_adopted_again(project):
    with pytest.raises(ProjectError) as caught:
        plan_adoption(project.root, project.root / "stages/prepare/clean.ipynb", "train")
    assert "it is the notebook of a step already" in str(caught.value)


# --- the command


def test_without_yes_nothing_is_written_where_nobody_can_be_asked(project):
    done = project.run("adopt", "old/script.py", "--stage", "load")
    assert done.returncode == 2
    assert "nobody can be asked here: give --yes to write, or --dry-run" in done.stderr
    assert not (project.root / "stages" / "load").exists()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no such terminals")
@pytest.mark.parametrize(("answer", "written"), [(b"y\n", True), (b"n\n", False)])
def test_on_a_terminal_it_asks_before_it_writes(project, answer, written):
    ours, theirs = os.openpty()
    os.write(ours, answer)
    command = [sys.executable, "-m", "dsml", "adopt", "old/script.py", "--stage", "load"]
    done = subprocess.run(
        command,
        cwd=project.root,
        env={"PYTHONPATH": str(RUNTIME), "PYTHONUTF8": "1", "PATH": ""},
        stdin=theirs,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert "Write stages/load/script.py? [Y/n]" in done.stdout
    assert (done.returncode, (project.root / "stages/load/script.py").exists()) == (
        0 if written else 1,
        written,
    )


def test_a_dry_run_shows_the_difference_and_writes_nothing(project):
    done = project.run("adopt", "old/script.py", "--stage", "load", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--- old/script.py\n+++ stages/load/script.py\n" in done.stdout
    assert '\n-table = pd.read_csv(SOURCE / "raw.csv")\n' in done.stdout
    assert "\nouts        clean = clean.parquet\n" in done.stdout
    assert not (project.root / "stages" / "load").exists()


def test_with_yes_it_is_written_and_nothing_is_overwritten(project):
    done = project.run("adopt", "old/script.py", "--stage", "load", "--yes")
    assert done.returncode == 0
    assert done.stdout.endswith(
        "stages/load/script.py is written, and a draft until: dsml register stages/load/script.py\n"
    )
    before = (project.root / "stages/load/script.py").read_bytes()
    again = project.run("adopt", "old/script.py", "--stage", "load", "--yes")
    assert (again.returncode, again.stdout) == (1, "")
    assert "stages/load/script.py is there already" in again.stderr
    assert (project.root / "stages/load/script.py").read_bytes() == before
