"""Models that notebooks log, and the champion that they load."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from dagster import AssetKey
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from dsml import Context
from dsml.contract.problem import ProjectError, render
from dsml.contract.register import check_project
from dsml.evidence.attributes import given_and_made
from dsml.evidence.models import promote
from dsml.evidence.records import read_records
from dsml.step.context import Setting
from dsml.step.models import _flavour_of
from dsml.step.record import Record
from dsml.step.reported import Reported
from dsml.store.manifest import LoggedModel, Manifest

from .conftest import execute
from .logged_models import MODELS, Runs, import_mlflow, saying, write_models_project
from .projects import Step, write_project

ROWS, TARGET = load_diabetes(return_X_y=True, as_frame=True)


class Halved(TransformerMixin, BaseEstimator):
    """A class that no library has."""

    def fit(self, _rows, _target=None):
        return self

    def transform(self, rows):
        return rows / 2


def total_model():
    """A model that is of no library."""

    class Total(import_mlflow().pyfunc.PythonModel):
        def predict(self, model_input):
            return model_input.sum(axis=1)

    return Total()


def total(model_input: list[float]) -> list[float]:
    return [sum(model_input)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "what is logged"


@pytest.fixture
def context(folder):
    return context_in(folder)


def context_in(folder):
    setting = Setting("a.b", "r1", "wide", None, 0, {}, {}, {}, {}, str(folder))
    return Context(setting, logging.getLogger("tests"), Record(folder))


@pytest.fixture(autouse=True)
def _a_folder_to_be_in(tmp_path, monkeypatch):
    """MLflow 3.10 makes a database in the working directory when it loads a model."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fitted():
    return LinearRegression().fit(ROWS, TARGET)


def loaded(folder, name="m"):
    return import_mlflow().pyfunc.load_model(str(folder / name))


# --- logging one ----------------------------------------------------------------------------------


def test_a_model_is_kept_with_its_signature_and_its_example(context, folder, fitted, caplog):
    context.log_model("m", fitted, input_example=ROWS.head(3))
    model = loaded(folder)
    assert np.allclose(model.predict(ROWS), fitted.predict(ROWS))
    assert model.metadata.signature.inputs.input_names() == list(ROWS.columns)
    assert model.metadata.signature.outputs is not None
    assert model.input_example.equals(ROWS.head(3))
    assert Reported.read(folder).models == {"m": LoggedModel("m", "sklearn", signature=True)}
    assert [r.message for r in caplog.records if r.name == "tests"] == []


def test_the_packages_that_it_needs_are_kept_and_more_may_be_named(context, folder, fitted):
    context.log_model(
        "m", fitted, input_example=ROWS.head(3), extra_pip_requirements=["my-package==1.0"]
    )
    lines = (folder / "m" / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert names >= {"mlflow", "scikit-learn", "skops", "numpy", "pandas", "my-package"}
    assert all("==" in line for line in lines)


def test_to_keep_one_takes_neither_a_network_nor_another_process(
    context, folder, fitted, monkeypatch
):
    def refused(*arguments, **options):
        raise AssertionError(arguments)

    context.log_model("before", fitted, input_example=ROWS.head(3))  # what is imported may do so
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(subprocess.Popen, "__init__", refused)
    context.log_model("m", fitted, input_example=ROWS.head(3))
    context.log_model("total", total_model(), input_example=ROWS.head(3))
    assert (folder / "m" / "MLmodel").exists()


def test_without_a_signature_the_log_is_warned(context, folder, fitted, caplog):
    context.log_model("m", fitted)
    (warning,) = (record.message for record in caplog.records if record.name == "tests")
    assert warning == (
        "model 'm' has no signature, so nothing checks what it is given: log it with "
        "input_example=, some rows of its input"
    )
    assert not Reported.read(folder).models["m"].signature


def test_a_signature_may_be_given(context, folder, fitted):
    signature = import_mlflow().models.infer_signature(ROWS, TARGET)
    context.log_model("m", fitted, signature=signature)
    assert loaded(folder).metadata.signature == signature


def test_one_that_is_logged_twice_is_replaced_and_the_log_is_warned(
    context, folder, fitted, caplog
):
    context.log_model("m", fitted, input_example=ROWS.head(3))
    context.log_model("m", total_model(), input_example=ROWS.head(3))
    assert "model 'm' was logged before: it is replaced" in caplog.messages
    assert Reported.read(folder).models["m"].flavour == "pyfunc"
    assert np.allclose(loaded(folder).predict(ROWS), ROWS.sum(axis=1))


@pytest.mark.parametrize(
    ("model", "flavour"),
    [
        (make_pipeline(Halved(), LinearRegression()).fit(ROWS, TARGET), "sklearn"),
        (total_model, "pyfunc"),
        (total, "pyfunc"),
    ],
)
def test_classes_of_ones_own_and_functions_can_be_kept(model, flavour, context, folder):
    model = total_model() if model is total_model else model
    example = [1.0, 2.0] if model is total else ROWS.head(3)
    context.log_model("m", model, input_example=example)
    assert Reported.read(folder).models["m"].flavour == flavour
    expected = total(example) if model is total else None
    assert expected in (None, loaded(folder).predict(example))


@pytest.mark.parametrize("model", [3, {"a": 1}, None, ROWS])
def test_what_is_no_model_is_refused_with_what_to_do(model, context, folder):
    with pytest.raises(TypeError, match=r"derives from mlflow\.pyfunc\.PythonModel"):
        context.log_model("m", model)
    assert Reported.read(folder).models == {}


def test_a_model_that_was_loaded_by_mlflow_is_no_model_to_keep(context, folder, fitted):
    context.log_model("m", fitted, input_example=ROWS.head(3))
    with pytest.raises(TypeError, match=r"no way to save a mlflow\.pyfunc\.PyFuncModel"):
        context.log_model("again", loaded(folder))


def test_the_library_of_a_model_is_told_from_its_class():
    def model_of(package, *above):
        return type("Model", above, {"__module__": f"{package}.core"})

    for package, flavour in (("xgboost", "xgboost"), ("torch", "pytorch"), ("keras", "keras")):
        assert _flavour_of(model_of(package)()) == flavour
    both = model_of("lightgbm", LinearRegression)
    assert _flavour_of(both()) == "lightgbm"
    assert _flavour_of(model_of("mine", both)()) == "lightgbm"


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "../a", "a b", "-a"])
def test_a_name_that_no_model_can_have_is_refused(name, context, fitted):
    with pytest.raises(ValueError, match=r"is no name of a model|is empty"):
        context.log_model(name, fitted)


def test_files_and_models_do_not_take_each_others_place(context, fitted, tmp_path):
    (tmp_path / "plain").write_text("text", encoding="utf-8")
    context.log_artefact(tmp_path / "plain")
    with pytest.raises(ValueError, match="a file 'plain' was logged before"):
        context.log_model("plain", fitted)
    context.log_model("m", fitted)
    with pytest.raises(ValueError, match="a model 'm' was logged before"):
        context.log_artefact(tmp_path / "plain", "m")


def test_a_failure_to_save_leaves_nothing(context, folder, fitted):
    with pytest.raises(TypeError, match="no_such_option"):
        context.log_model("m", fitted, no_such_option=1)
    assert not (folder / "m").exists()


def test_without_mlflow_it_is_told_what_to_install(context, fitted, monkeypatch):
    monkeypatch.setattr("dsml.step.models.find_spec", lambda _: None)
    with pytest.raises(ProjectError) as error:
        context.log_model("m", fitted)
    assert str(error.value) == (
        "log_model\n  log_model needs MLflow, which is not installed\n"
        "  add 'mlflow>=3.10,<4' to the dependencies in pyproject.toml, then: make install"
    )


# --- what a run keeps of it -----------------------------------------------------------------------


def test_a_run_keeps_the_folder_and_tells_of_it_everywhere(root):
    work = (
        "from sklearn.dummy import DummyRegressor\n"
        "import pandas as pd\n"
        "rows = pd.DataFrame({'x': [1.0, 2.0]})\n"
        "context.log_model('m', DummyRegressor().fit(rows, [1, 3]), input_example=rows)\n"
        "(context.record.folder / 'm' / '.hidden').write_text('kept')\n"
        "(context.record.folder / '.partial').write_text('not kept')\n"
    )
    ran = execute(write_project(root, {"a.b": Step(work)}))
    assert ran.passed
    manifest = ran.manifest("a.b")
    assert manifest.models == {"m": LoggedModel("m", "sklearn", signature=True)}
    assert Manifest.from_json(manifest.to_json()) == manifest
    kept = ran.attempt("a.b") / "logged"
    assert list(loaded(kept).predict(pd.DataFrame({"x": [5.0]}))) == [2.0]
    assert (kept / "m" / ".hidden").exists()
    assert not (kept / ".partial").exists()
    (event,) = ran.result.asset_materializations_for_node("a__b")
    assert event.asset_key == AssetKey(["a", "b"])
    assert event.metadata["m"].value == str(kept / "m")


def test_the_trace_names_the_model(root):
    write_models_project(root)
    runs = Runs(root)
    runs.run("r1", "one")
    tried = {t.attempt.step: t for t in read_records(runs.store, "r1").tried}
    found = dict(given_and_made(runs.store, tried["b.fit"]))
    assert found["dsml.model.m.flavour"] == "sklearn"
    assert found["dsml.model.m.path"] == "baseline/b/fit/r1/attempts/1/logged/m"


def test_manifests_that_know_of_no_models_are_read(root):
    write_models_project(root)
    runs = Runs(root)
    runs.run("r1", "one")
    (manifest,) = runs.store.published("b.fit")
    raw = json.loads(manifest.to_json())
    del raw["models"]
    assert Manifest.from_json(json.dumps(raw)).models == {}


# --- the champion ---------------------------------------------------------------------------------


def test_a_step_loads_the_champion_and_its_version_is_logged(root, folder, monkeypatch):
    write_models_project(root)
    monkeypatch.chdir(root / "stages" / "b")
    context = context_in(folder)
    with pytest.raises(ProjectError) as error:
        context.champion()
    assert str(error.value) == (
        "champion('m')\n  no champion yet\n  dsml promote m makes the best run's model the champion"
    )
    Runs(root).run("r1", "one")
    promote()
    assert list(context.champion().predict(saying("one")[1])) == ["one", "one"]
    assert list(context.champion("m").predict(saying("one")[1])) == ["one", "one"]
    assert Reported.read(folder).params == {"champion": 1}
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert not list(root.rglob("mlruns"))


def test_of_several_models_one_is_named(root, folder, monkeypatch):
    write_models_project(root, models={**MODELS, "n": MODELS["m"]})
    monkeypatch.chdir(root)
    context = context_in(folder)
    with pytest.raises(ProjectError, match="there are 2 models, and none is named\n  name one of"):
        context.champion()
    with pytest.raises(ProjectError, match="there is no model 'o'"):
        context.champion("o")
    Runs(root).run("r1", "one")
    promote("m")
    context.champion("m")
    assert Reported.read(folder).params == {"champion_m": 1}


# --- what a check says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": "a.split.tests"}, "no step publishes 'a.split.tests'\n  did you mean 'a.spl"),
        ({"holdout": ""}, "models.m.holdout: is missing"),
        ({"metric": None}, "models.m.metric: is missing\n  write metric: accuracy"),
        ({"metric": "acuracy"}, "nothing computes the metric 'acuracy'\n  did you mean 'accuracy'"),
        ({"higher": False}, "models.m.higher: 'accuracy' is better when it is higher"),
        ({"least": "much"}, "models.m.least: 'much' is no number"),
        ({"score": "f"}, "models.m.score: 'f' is no function\n  write it as module:function"),
        ({"score": "dag:score"}, "models.m.score: dag.py defines no 'score'"),
        ({"targt": "y"}, "models.m.targt: no such key\n  did you mean 'target'?"),
    ],
)
def test_a_mistake_in_the_catalog_is_told_with_its_line(changes, message, root):
    model = {name: value for name, value in {**MODELS["m"], **changes}.items() if value is not None}
    write_models_project(root)
    catalog = yaml.safe_load((root / "catalog.yml").read_text())
    catalog["models"] = {"m": model}
    (root / "catalog.yml").write_text(yaml.safe_dump(catalog, sort_keys=False))
    (error,) = check_project(root).errors
    assert message in str(error)
    assert error.where.path == "catalog.yml"
    assert error.where.line


def test_held_out_data_of_a_mapped_step_is_refused(root):
    declared = {"map": {"n": [1]}}
    mapped = Step("pass", outs={"t": "t.json"}, parameters="n: int = 1", declared=declared)
    models = {"m": {**MODELS["m"], "holdout": "a.b.t"}}
    with pytest.raises(ProjectError, match="is published by each instance of a mapped step"):
        write_project(root, {"a.b": mapped}, models=models)


@pytest.mark.parametrize("cache", [None, True, False])
def test_a_champion_in_a_step_that_may_be_left_out_is_warned_of(cache, root):
    declared = {} if cache is None else {"cache": cache}
    steps = {
        "a.b": Step("context.save('x', [1])", outs={"x": "x.json"}),
        "c.d": Step("said = context.champion()", ins={"x": "a.b.x"}, declared=declared),
    }
    write_project(root, steps)
    found = [p for p in check_project(root).problems if p.name == "cached-champion"]
    assert len(found) == (cache is not False)
    for problem in found:
        assert "a new champion is no change to it" in render([problem])
        assert problem.where.path == "stages/c/d.ipynb"


def test_a_champion_in_a_python_step_is_warned_of_too(root):
    write_project(root, {"a.b": Step("context.save('x', [1])", outs={"x": "x.json"})})
    file = root / "stages" / "c" / "d.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "op_parameters = {'description': 'Ask.', 'ins': {'x': 'a.b.x'}, 'outs': {'y': 'y.json'}}\n"
        "def step_fn(x, context):\n"
        "    return context.champion().predict(x)\n",
        encoding="utf-8",
    )
    (found,) = (p for p in check_project(root).problems if p.name == "cached-champion")
    assert (found.where.path, found.where.line) == ("stages/c/d.py", 3)
