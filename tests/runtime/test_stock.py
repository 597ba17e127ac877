"""The same notebooks under dagstermill's own engine, and under papermill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster import In, Out

from dsml.contract.fanout import instances
from dsml.contract.graph import order
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.config import op_name
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.stock import get_dagstermill_op_params
from dsml.step.reported import Reported
from dsml.store import Curve, Manifest
from dsml.store.manifest import measure

from .projects import Step, manifests_of, write_notebook, write_project

STOCK = {"stock": {"engine": "dagstermill", "executor": "in_process"}}
NUMBERS = Step(
    'context.save("x", list(range(count)))', outs={"x": "x.json"}, parameters="count: int = 3"
)
NOTE = "context.log_param('rows', 7)\ncontext.log_text('note', 'kept')"
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


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A pipeline after a run through dagstermill that was given a parameter."""
    experiments: dict[str, Any] = {"baseline": {}, "wide": {"config": {"a.numbers": {"count": 4}}}}
    logging = Step(
        [NUMBERS.work, "for x in range(3):\n    context.log_metric('x', x)", NOTE],
        outs=NUMBERS.outs,
        parameters=NUMBERS.parameters,
    )
    root = write_project(
        tmp_path_factory.mktemp("stock") / "a project",
        {"a.numbers": logging, "b.double": DOUBLE},
        experiments=experiments,
        pipelines=STOCK,
    )
    dsml(root, "run", "stock", "--experiment", "wide", "--set", "b.double.factor=10")
    return root


@pytest.mark.slow
def test_what_is_given_is_set_and_the_other_defaults_are_kept(ran):
    values = {
        step: {name: (value.value, value.source) for name, value in manifest.parameters.items()}
        for step, manifest in manifests_of(ran).items()
    }
    assert values == {
        "a.numbers": {"count": (4, "experiment")},
        "b.double": {"factor": (10, "run"), "unused": ("kept", "default")},
    }
    (file,) = ran.glob("artefacts/wide/b/double/*/y.json")
    assert json.loads(file.read_text()) == [0, 10, 20, 30]
    assert not (ran / "artefacts" / ".staging").exists()


@pytest.mark.slow
def test_what_is_logged_is_in_the_manifest_and_kept_with_the_attempt(ran):
    manifest = manifests_of(ran)["a.numbers"]
    assert manifest.metrics == {"x": 2.0}
    assert manifest.curves == {"x": Curve(3, 0.0, 2.0)}
    assert (manifest.logged, manifest.files) == ({"rows": 7}, {"note": "note.txt"})
    (logged,) = ran.glob("artefacts/wide/a/numbers/*/attempts/1/logged")
    assert Reported.read(logged).points == {"x": {0: 0.0, 1: 1.0, 2: 2.0}}
    assert (logged / "note.txt").read_text() == "kept"


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

# Each notebook as a job of one op, made as by somebody who has pipelines of dagstermill's.
JOBS = """\
import json
import sys
from pathlib import Path

from dagster import DagsterInstance, GraphDefinition, execute_job, in_process_executor
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagstermill import define_dagstermill_op
from dsml.orchestrate.stock import get_dagstermill_op_params

for notebook in Path("stages").glob("*/*.ipynb"):
    op = define_dagstermill_op(**get_dagstermill_op_params(notebook))
    graph = GraphDefinition(op.name, node_defs=[op])
    globals()[op.name] = graph.to_job(executor_def=in_process_executor)

if __name__ == "__main__":
    for name, values in json.loads(sys.argv[1]):
        result = execute_job(
            ReconstructableJob.for_file(__file__, name),
            DagsterInstance.get(),
            {"ops": {name: {"config": values}}},
            {"dagster/partition": "small"},
            raise_on_error=True,
        )
        print(result.run_id)
"""
# In a process of its own: dagstermill, once imported, changes what papermill does.
BY_PAPERMILL = """\
import hashlib
import json
import sys
from pathlib import Path

import papermill

for file, values, outs in json.loads(sys.argv[1]):
    papermill.execute_notebook(file, None, values, cwd=Path(file).parent, progress_bar=False)
    print(*(hashlib.sha256(Path(out).read_bytes()).hexdigest() for out in outs))
"""
Sums = dict[str, str]


@pytest.fixture
def project(trained: Path, copy_of: Callable[[Path], Path]) -> Path:
    """A digits project in which our runner has published every artefact."""
    return copy_of(trained)


@pytest.fixture
def ours(trained: Path) -> Sums:
    """The sha256 of all that our runner has published of notebooks; of a mapped one's, each."""
    found = {
        f"{step}.{name}[{key}]": part.sha256
        for step, manifest in manifests_of(trained).items()
        if step != "predict.counts"  # a Python step: the others cannot run it
        for name, output in manifest.outputs.items()
        for key, part in (output.parts or {"": output}).items()
    }
    assert {"train.fit.model[50]", "train.fit.model[450]", "predict.batch.predictions[]"} <= {
        *found
    }
    return found


def executions(project: Path) -> list[tuple[StepSpec, str, dict[str, Any]]]:
    """Each notebook with the keys and the values of its instances; the mapped ones come last.

    Consumers of theirs read all instances, as our runner has published them. What the stage
    `release` writes depends on the champion that there is, so it is left out.
    """
    declared = load_project(project)
    ordered = [declared.registered[name] for name in order(declared.registered)]
    steps = [step for step in ordered if step.function is None and step.stage != "release"]
    plain: list[tuple[StepSpec, str, dict[str, Any]]] = [(s, "", {}) for s in steps if not s.map]
    config = declared.catalog.experiments["small"].config
    return plain + [
        (step, instance.key, dict(instance.values))
        for step in steps
        if step.map
        for instance in instances({name: config[step.name][name] for name in step.map})
    ]


@pytest.mark.slow(minutes=1)
def test_papermill_makes_of_the_digits_just_what_our_runner_makes(project: Path, ours: Sums):
    asked = executions(project)
    scratch = project / "artefacts" / ".scratch" / "small"
    each = [
        (
            str(project / step.path),
            values,
            [str(scratch / step.name / file) for file in step.outs.values()],
        )
        for step, _, values in asked
    ]
    told = subprocess.check_output(
        [sys.executable, "-c", BY_PAPERMILL, json.dumps(each)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "DSML_EXPERIMENT": "small"},
        text=True,
        timeout=300,
    )
    found = {
        f"{step.name}.{out}[{key}]": sha256
        for (step, key, _), line in zip(asked, told.splitlines(), strict=True)
        for out, sha256 in zip(step.outs, line.split(), strict=True)
    }
    assert found == ours


@pytest.mark.slow(minutes=2)
def test_dagstermill_makes_of_the_digits_just_what_our_runner_makes(project: Path, ours: Sums):
    asked = executions(project)
    (project / "stock_jobs.py").write_text(JOBS, encoding="utf-8")
    runs = [(op_name(step.name), values) for step, _, values in asked]
    done = subprocess.run(
        [sys.executable, "stock_jobs.py", json.dumps(runs)],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(project),
            "DAGSTER_HOME": str(project / ".dagster"),
        },
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: Sums = {}
    for (step, key, _), run_id in zip(asked, done.stdout.split(), strict=True):
        folder = project / "artefacts" / "small" / step.stage / step.notebook / run_id
        manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
        for out, output in manifest.outputs.items():
            assert measure(folder / output.file).sha256 == output.sha256
            found[f"{step.name}.{out}[{key}]"] = output.sha256
    assert found == ours
