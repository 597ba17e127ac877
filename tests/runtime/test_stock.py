"""The same notebooks under dagstermill's own engine, and under papermill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import In, Out

from dsml.contract.graph import order
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.stock import get_dagstermill_op_params
from dsml.store.publish import measure

from .projects import Step, manifests_of, write_notebook, write_project

STOCK = {"stock": {"engine": "dagstermill", "executor": "in_process"}}
NUMBERS = Step(
    'context.save("x", list(range(count)))', outs={"x": "x.json"}, parameters="count: int = 3"
)
DOUBLE = Step(
    'context.save("y", [factor * x for x in context.load("x")])',
    ins={"x": "a.numbers.x"},
    outs={"y": "y.json"},
    parameters="factor: int = 2  # by which each number grows\nunused: str = 'kept'",
)


def dsml(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dsml", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


# --- one op ---------------------------------------------------------------------------------------


def test_the_parameters_of_an_op_come_from_the_notebook(root):
    write_project(root, {"a.numbers": NUMBERS, "b.double": DOUBLE})
    file = root / "stages" / "b" / "double.ipynb"
    params = get_dagstermill_op_params(file)
    assert params["name"] == "b__double"
    assert params["notebook_path"] == str(file)
    assert params["description"] == "A step."
    assert set(params["ins"]) == {"x"}
    assert isinstance(params["ins"]["x"], In)
    assert set(params["outs"]) == {"y"}
    assert isinstance(params["outs"]["y"], Out)
    factor = params["config_schema"]["factor"]
    assert (factor.default_value, factor.description) == (2, "by which each number grows")


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # all of dagstermill is in beta
def test_dagstermill_makes_an_op_of_them(root):
    from dagstermill import define_dagstermill_op

    write_project(root, {"a.numbers": NUMBERS})
    params = get_dagstermill_op_params(root / "stages" / "a" / "numbers.ipynb")
    op = define_dagstermill_op(**params)
    assert op.name == "a__numbers"
    assert set(op.output_dict) == {"x"}


def test_a_notebook_that_breaks_the_contract_makes_no_op(root):
    write_project(root, {"a.numbers": NUMBERS})
    file = write_notebook(root, "a.bad", Step())
    file.write_text(file.read_text().replace('\\"outs\\"', '\\"outz\\"'), encoding="utf-8")
    with pytest.raises(ProjectError, match="did you mean 'outs'"):
        get_dagstermill_op_params(file)


# --- a pipeline of ops ----------------------------------------------------------------------------


def test_the_ops_of_a_pipeline_are_joined_by_catalog_path_and_by_order(root):
    last = Step(after=["b.double"])
    steps = {"a.numbers": NUMBERS, "b.double": DOUBLE, "c.last": last}
    write_project(root, steps, pipelines=STOCK)
    job = load_definitions(root).resolve_job_def("stock")
    joined = {
        (str(invocation.name), name): (dependency.node, dependency.output)
        for invocation, inputs in job.graph.dependencies.items()
        for name, dependency in inputs.items()
    }
    assert joined == {
        ("b__double", "x"): ("a__numbers", "x"),
        ("c__last", "after_b__double"): ("b__double", "executed_notebook"),
    }


@pytest.mark.slow
def test_what_is_given_is_set_and_the_other_defaults_are_kept(root):
    experiments: dict[str, Any] = {"baseline": {}, "wide": {"config": {"a.numbers": {"count": 4}}}}
    steps = {"a.numbers": NUMBERS, "b.double": DOUBLE}
    write_project(root, steps, experiments=experiments, pipelines=STOCK)
    dsml(root, "run", "stock", "--experiment", "wide", "--set", "b.double.factor=10")
    found = manifests_of(root)
    values = {
        step: {name: (value.value, value.source) for name, value in manifest.parameters.items()}
        for step, manifest in found.items()
    }
    assert values == {
        "a.numbers": {"count": (4, "experiment")},
        "b.double": {"factor": (10, "run"), "unused": ("kept", "default")},
    }
    (file,) = root.glob("artefacts/wide/b/double/*/y.json")
    assert json.loads(file.read_text()) == [0, 10, 20, 30]
    assert not (root / "artefacts" / ".staging").exists()


@pytest.mark.slow
def test_a_failing_cell_publishes_nothing_and_keeps_a_record(root):
    failing = Step(['context.save("x", 1)', "1 / 0"], outs={"x": "x.json"})
    write_project(root, {"a.b": failing}, pipelines=STOCK)
    done = dsml(root, "run", "stock", check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert manifests_of(root) == {}
    (record,) = root.glob("artefacts/baseline/a/b/*/attempts/1/attempt.json")
    assert json.loads(record.read_text())["status"] == "failed"


# --- three engines, one result --------------------------------------------------------------------


@pytest.mark.slow
def test_the_digits_are_the_same_by_our_runner_by_dagstermill_and_by_papermill(
    digits: Path, copy_of: Callable[[Path], Path]
):
    project = copy_of(digits)
    add_stock_pipeline(project)
    dsml(project, "run", "training", "--experiment", "small")
    ours = sums(project)
    shutil.rmtree(project / "artefacts")
    dsml(project, "run", "stock", "--experiment", "small")
    assert sums(project) == ours
    assert papermill_sums(project) == ours


def add_stock_pipeline(project: Path) -> None:
    file = project / "catalog.yml"
    text = file.read_text(encoding="utf-8")
    stock = '\npipelines:\n  stock: {select: "*", engine: dagstermill}\n'
    file.write_text(text.replace("\npipelines:\n", stock), encoding="utf-8")
    assert "stock" in yaml.safe_load(text.replace("\npipelines:\n", stock))["pipelines"]


def sums(project: Path) -> dict[str, str]:
    """The sha256 of every published artefact."""
    return {
        f"{step}.{name}": output.sha256
        for step, manifest in manifests_of(project).items()
        for name, output in manifest.outputs.items()
    }


def papermill_sums(project: Path) -> dict[str, str]:
    """The sha256 of what the notebooks write when papermill runs them one by one."""
    steps = load_project(project).registered
    found: dict[str, str] = {}
    for name in order(steps):
        folder = (project / steps[name].path).parent
        subprocess.run(
            [
                sys.executable,
                "-m",
                "papermill",
                f"{steps[name].notebook}.ipynb",
                "-",
                "--log-level",
                "ERROR",
            ],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(project),
                "DSML_EXPERIMENT": "small",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=300,
            check=True,
        )
        scratch = project / "artefacts" / ".scratch" / "small" / name
        for out, file in steps[name].outs.items():
            found[f"{name}.{out}"] = measure(scratch / file).sha256
    return found
