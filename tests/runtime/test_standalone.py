"""The same notebooks without the runner: by hand, with papermill, jupyter execute and nbmake."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from dsml.contract.catalog import read_catalog
from dsml.contract.problem import ProjectError
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import measure

from .projects import Step, write_notebook, write_project

MAKE = Step('context.save("x", [n])', outs={"x": "x.json"}, parameters="n: int = 3  # a number")
USE = Step(
    'context.save("y", [factor, *context.load("x")])',
    ins={"x": "a.make.x"},
    outs={"y": "y.json"},
    parameters="factor: int = 2  # what to multiply by",
)
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"a.use": {"factor": 5}}}}


@pytest.fixture
def small(root):
    return write_project(root, {"a.make": MAKE, "a.use": USE}, experiments=EXPERIMENTS)


@pytest.fixture
def by_hand(monkeypatch):
    """Run the code cells of a notebook in its folder, without a kernel; returns its variables."""

    def run(root, step, folder=None, **changed):
        file = root / "stages" / Path(*step.split(".")).with_suffix(".ipynb")
        monkeypatch.chdir(folder or file.parent)
        variables = {"__name__": "__main__"}
        for cell in json.loads(file.read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), variables)
            if cell["metadata"].get("tags") == ["parameters"]:
                variables |= changed
        return variables

    return run


def publish(root, step, experiment, run_id, ended, **outs):
    store = Store.open(root, read_catalog(root, []))
    address = StepRun(step, experiment, run_id)
    staging = store.stage(address, 1)
    outputs = {}
    for name, value in outs.items():
        file = staging.outs / f"{name}.json"
        file.write_text(json.dumps(value))
        outputs[name] = measure(file)
    manifest = Manifest(
        step, run_id, experiment, None, {}, {}, outputs, "", {}, {}, ended, ended, 1, ""
    )
    store.publish(staging, manifest)
    store.unstage(staging)


def scratch(root, step, file, experiment="baseline"):
    return json.loads((root / "artefacts" / ".scratch" / experiment / step / file).read_text())


# --- by hand --------------------------------------------------------------------------------------


def test_outs_go_to_a_scratch_run_and_nothing_is_published(small, by_hand):
    context = by_hand(small, "a.make")["context"]
    assert context.run_id == "scratch"
    assert scratch(small, "a.make", "x.json") == [3]
    assert list(small.rglob("manifest.json")) == []


def test_inputs_are_the_newest_of_the_experiment(small, by_hand):
    publish(small, "a.make", "baseline", "r1", "1", x=10)
    publish(small, "a.make", "baseline", "r2", "2", x=[20])
    publish(small, "a.make", "wide", "r3", "3", x=[30])
    by_hand(small, "a.use")
    assert scratch(small, "a.use", "y.json") == [2, 20]


def test_the_variable_dsml_run_pins_the_inputs_to_a_run(small, by_hand, monkeypatch):
    publish(small, "a.make", "baseline", "r1", "1", x=[10])
    publish(small, "a.make", "baseline", "r2", "2", x=[20])
    monkeypatch.setenv("DSML_RUN", "r1")
    by_hand(small, "a.use")
    assert scratch(small, "a.use", "y.json") == [2, 10]


def test_the_variable_dsml_experiment_chooses_inputs_and_parameters(small, by_hand, monkeypatch):
    publish(small, "a.make", "wide", "r3", "3", x=[30])
    monkeypatch.setenv("DSML_EXPERIMENT", "wide")
    variables = by_hand(small, "a.use")
    assert variables["factor"] == variables["context"].config.factor == 5
    assert scratch(small, "a.use", "y.json", "wide") == [5, 30]


def test_a_parameter_that_was_changed_in_the_notebook_wins(small, by_hand, monkeypatch):
    publish(small, "a.make", "wide", "r3", "3", x=[30])
    monkeypatch.setenv("DSML_EXPERIMENT", "wide")
    context = by_hand(small, "a.use", factor=7)["context"]
    assert context.config.factor == 7
    assert context.setting.sources["factor"] == "notebook"


@pytest.mark.parametrize(
    ("variables", "what", "fix"),
    [
        ({}, "in experiment 'baseline'", "dsml run --experiment baseline --select +a.make"),
        (
            {"DSML_EXPERIMENT": "wide"},
            "in experiment 'wide'",
            "dsml run --experiment wide --select +a.make",
        ),
    ],
)
def test_without_a_run_before_the_message_says_what_to_run_first(
    small, by_hand, monkeypatch, variables, what, fix
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProjectError) as refused:
        by_hand(small, "a.use")
    assert str(refused.value).splitlines() == [
        "stages/a/use.ipynb, cell 2 (op_parameters), line 3",
        f"  ins.x: 'a.make.x' has not been published {what}",
        f"  run it first: {fix}",
    ]


def test_a_run_that_is_pinned_does_not_fall_back_to_the_newest(small, by_hand, monkeypatch):
    publish(small, "a.make", "baseline", "r1", "1", x=[10])
    monkeypatch.setenv("DSML_RUN", "no-such-run")
    with pytest.raises(ProjectError, match=r"no run 'no-such-run' has published what a\.use reads"):
        by_hand(small, "a.use")


def test_an_unknown_experiment_names_the_nearest(small, by_hand, monkeypatch):
    monkeypatch.setenv("DSML_EXPERIMENT", "wyde")
    with pytest.raises(ProjectError, match="no experiment 'wyde'\n  did you mean 'wide'"):
        by_hand(small, "a.make")


def test_outside_a_project_the_message_says_so(small, by_hand, tmp_path):
    with pytest.raises(ProjectError, match=r"neither this folder nor one above it has a catalog"):
        by_hand(small, "a.make", folder=tmp_path)


def test_a_broken_neighbour_is_no_obstacle(small, by_hand):
    (small / "stages" / "a" / "broken.ipynb").write_text("{")
    assert by_hand(small, "a.make")["context"].step == "a.make"


# --- which notebook is it -------------------------------------------------------------------------


@pytest.fixture
def twins(root):
    """Two notebooks that declare the same op_parameters."""
    return write_project(root, {"a.one": MAKE, "a.two": MAKE})


def test_two_notebooks_that_declare_the_same_are_told_apart_by_the_user(twins, by_hand):
    with pytest.raises(ProjectError) as refused:
        by_hand(twins, "a.two")
    assert str(refused.value).splitlines() == [
        "get_context",
        "  a.one, a.two declare the same op_parameters, so it is unclear which of them this is",
        '  write get_context(op_parameters, step="a.one")',
    ]
    file = twins / "stages" / "a" / "two.ipynb"
    text = file.read_text().replace("(op_parameters)", '(op_parameters, step=\\"a.two\\")')
    file.write_text(text)
    assert by_hand(twins, "a.two")["context"].step == "a.two"


def test_jupyter_tells_which_notebook_it_is(twins, by_hand, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(twins / "stages" / "a" / "two.ipynb"))
    assert by_hand(twins, "a.two")["context"].step == "a.two"
    monkeypatch.setenv("JPY_SESSION_NAME", "two.ipynb")  # relative to where the server was started
    assert by_hand(twins, "a.two")["context"].step == "a.two"


def test_visual_studio_code_tells_which_notebook_it_is(twins, by_hand):
    told = str(twins / "stages" / "a" / "two.ipynb")
    context = by_hand(twins, "a.two", __vsc_ipynb_file__=told)["context"]
    assert context.step == "a.two"


def test_equal_notebooks_in_two_folders_are_told_apart_by_the_folder(root, by_hand):
    write_project(root, {"a.one": MAKE, "b.one": MAKE})
    assert by_hand(root, "b.one")["context"].step == "b.one"


def test_an_unknown_step_names_the_nearest(small, by_hand):
    file = write_notebook(small, "a.make", MAKE)
    text = file.read_text().replace("(op_parameters)", '(op_parameters, step=\\"a.mkae\\")')
    file.write_text(text)
    with pytest.raises(ProjectError, match=r"no step 'a.mkae'\n  did you mean 'a.make'"):
        by_hand(small, "a.make")


def test_of_a_step_that_is_named_and_cannot_be_read_its_own_mistake_is_told(small, by_hand):
    by_hand(small, "a.make")  # goes to the notebook's folder
    (small / "stages" / "a" / "make.ipynb").write_text("{")
    with pytest.raises(ProjectError, match=r"\Astages/a/make\.ipynb, line 1\n"):
        exec("from dsml import get_context\nget_context({}, step='a.make')", {})


def test_a_notebook_that_was_changed_and_not_saved_is_told_so(small, by_hand):
    source = "from dsml import get_context\nget_context({'outs': {'other': 'o.json'}})"
    variables = {"__name__": "__main__"}
    by_hand(small, "a.make")  # goes to the notebook's folder
    with pytest.raises(ProjectError) as refused:
        exec(source, variables)
    assert "no notebook of this project declares these op_parameters" in str(refused.value)
    assert "save the notebook, or name it" in str(refused.value)


# --- the tools, on the notebooks of a generated project -------------------------------------------


@pytest.fixture(scope="module")
def prepared(digits, tmp_path_factory):
    """A generated project whose data has been prepared for the experiment `small`."""
    from conftest import run_command

    project = tmp_path_factory.mktemp("by hand") / digits.name
    shutil.copytree(digits, project)
    arguments = ("run", "--experiment", "small", "--select", "+prepare.split")
    run_command(sys.executable, "-m", "dsml", *arguments, cwd=project)
    return project


@pytest.fixture
def fit(prepared):
    """The notebook `train/fit`, which must stay as it is; its earlier results are removed."""
    file = prepared / "stages" / "train" / "fit.ipynb"
    before = file.read_bytes()
    shutil.rmtree(prepared / "artefacts" / ".scratch", ignore_errors=True)
    yield file
    assert file.read_bytes() == before


def model_of(project):
    return project / "artefacts" / ".scratch" / "small" / "train.fit" / "model.joblib"


def printed(notebook):
    """What the cells of an executed notebook show, as one text."""
    outputs = [o for c in json.loads(notebook.read_text())["cells"] for o in c.get("outputs", ())]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join("".join(text) for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["the notebook's folder", "the project's root"])
def test_papermill_runs_a_notebook_with_parameters(prepared, run, tmp_path, place):
    notebook = prepared / "stages" / "load" / "digits.ipynb"
    cwd = notebook.parent if place == "the notebook's folder" else prepared
    output = tmp_path / "an output.ipynb"
    run(
        *("papermill", notebook.relative_to(cwd), output, "-p", "source", "data/sample.csv"),
        cwd=cwd,
        DSML_EXPERIMENT="small",
        PYTHONPATH=str(prepared),
    )
    assert (prepared / "artefacts/.scratch/small/load.digits/digits.parquet").is_file()
    # the 20 images of the file, and beside them the experiment's number of others
    assert "metric images = 620" in printed(output)


@pytest.mark.slow
def test_papermill_runs_a_mapped_notebook_for_one_of_its_values(prepared, fit, run, tmp_path):
    output = tmp_path / "output.ipynb"
    run(
        *("papermill", fit.name, output, "-p", "n_train", "150", "-p", "gamma", "0.002"),
        cwd=fit.parent,
        DSML_EXPERIMENT="small",
        PYTHONPATH=str(prepared),
    )
    assert model_of(prepared).is_file()
    assert "gamma=0.002" in printed(output)
    assert "metric n_train = 150" in printed(output)


@pytest.mark.slow
def test_jupyter_execute_runs_a_notebook(prepared, fit, run):
    environment = {"DSML_EXPERIMENT": "small", "PYTHONPATH": str(prepared)}
    run("jupyter", "execute", fit.name, cwd=fit.parent, **environment)
    assert model_of(prepared).is_file()


@pytest.mark.slow
def test_nbmake_runs_a_notebook(prepared, fit, run):
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbmake", fit)
    done = run(*command, cwd=prepared, DSML_EXPERIMENT="small")
    assert "1 passed" in done.stdout
    assert model_of(prepared).is_file()


@pytest.mark.slow
def test_papermill_shows_the_message_of_a_missing_input(prepared, fit, run, tmp_path):
    done = run(
        *("papermill", fit.name, tmp_path / "output.ipynb"),
        cwd=fit.parent,
        check=False,
        DSML_EXPERIMENT="wide",
        PYTHONPATH=str(prepared),
    )
    assert done.returncode == 1
    assert "'prepare.split.train' has not been published in experiment 'wide'" in done.stderr
    assert "run it first: dsml run --experiment wide --select +prepare.split" in done.stderr
