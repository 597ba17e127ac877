"""How a run chooses where its steps are executed, and what a step's needs cost locally."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import run_command
from dagster import ExecutorDefinition, execute_job, job, op, reconstructable

from dsml.contract.needs import Needs
from dsml.contract.problem import ProjectError
from dsml.contract.spec import StepSpec
from dsml.orchestrate import executors
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.executors import check_executor, config_schema, make_executor
from dsml.orchestrate.needs import NEEDS_TAG, op_tags

from .projects import Step, instance_of, write_project

TWO = ExecutorDefinition(
    "threads", config_schema("threads", 2), executor_creation_fn=partial(make_executor, Path())
)


@op(tags={NEEDS_TAG: json.dumps({"cpu": 1.5})})
def large():
    pass


@op(tags={NEEDS_TAG: json.dumps({"cpu": 100})})
def huge():
    pass


@op
def small():
    pass


@job(executor_def=TWO)
def mixed():
    large.alias("a")()
    large.alias("b")()
    huge()
    small.alias("y")()
    small.alias("z")()


def test_a_step_takes_a_place_for_each_core_that_it_needs_and_no_more_than_there_are(
    root, monkeypatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    write_project(root, {"a.b": Step()})
    with instance_of(root) as instance:
        result = execute_job(reconstructable(mixed), instance)
    assert result.success
    taken, most = 0, 0
    for event in result.all_events:
        places = 2 if event.step_key in ("a", "b", "huge") else 1
        taken += places * (event.is_step_start - event.is_step_success)
        most = max(most, taken)
    assert most == 2


def test_what_a_step_needs_is_in_its_tags_which_go_before():
    tags = {"team": "a", "dagster-k8s/config": "{}"}
    step = StepSpec("a", "b", "stages/a/b.ipynb", needs=Needs(cpu=2), tags=tags)
    assert op_tags(step) == {**tags, NEEDS_TAG: '{"cpu": 2, "memory": null, "gpu": null}'}
    assert op_tags(StepSpec("a", "b", "stages/a/b.ipynb", tags=tags)) == tags


def test_every_step_has_what_it_needs_in_its_tags_an_instance_too(root):
    declared = {"needs": {"gpu": 1}}
    mapped = {**declared, "map": {"n": [1, 2]}}
    steps = {
        "a.b": Step(declared=declared),
        "a.c": Step(parameters="n: int = 1", declared=mapped),
    }
    graph = load_definitions(write_project(root, steps)).resolve_job_def("all").graph
    plain, whole = graph.node_named("a__b"), graph.node_named("a__c")
    instance = whole.definition.node_named("run")
    assert json.loads(plain.definition.tags[NEEDS_TAG])["gpu"] == 1
    assert instance.definition.tags[NEEDS_TAG] == plain.definition.tags[NEEDS_TAG]


@pytest.mark.parametrize("name", ["dask", "ray", "k8s"])
def test_a_package_that_is_missing_is_told_with_its_extra(monkeypatch, name):
    monkeypatch.setattr(executors.importlib.util, "find_spec", lambda _: None)
    check_executor("threads")
    with pytest.raises(ProjectError) as error:
        check_executor(name)
    _, what, fix = str(error.value).splitlines()
    assert what.startswith(f"  executor: {name} needs the package ")
    assert fix == f'  install it: uv sync --extra {name}, or pip install -e ".[{name}]"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "executor", "address"),
    [("DASK_SCHEDULER_ADDRESS", "dask", "tcp://127.0.0.1:9"), ("RAY_ADDRESS", "ray", "nowhere")],
)
def test_a_cluster_that_does_not_answer_is_told_without_a_traceback(
    root, variable, executor, address
):
    write_project(root, {"a.b": Step()})
    command = (sys.executable, "-m", "dsml", "run", "--executor", executor)
    done = run_command(*command, cwd=root, check=False, **{variable: address})
    assert done.returncode == 1
    assert f"answers at {address}" in done.stderr
    assert f"{variable}=" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_chooses_the_executor_of_all_jobs(root, monkeypatch):
    environments = {"dev": {}, "prod": {"storage": "prod", "executor": "dask"}}
    write_project(root, {"a.b": Step()}, environments=environments)
    monkeypatch.setenv("DSML_ENV", "prod")
    definitions = load_definitions(root)
    for name in ("all", "__ASSET_JOB"):
        assert definitions.resolve_job_def(name).executor_def.name == "dask"


def test_an_environment_limits_what_is_materialised_without_a_job_too(root, monkeypatch):
    environments = {"dev": {}, "small": {"storage": "small", "workers": 2}}
    write_project(root, {"a.b": Step()}, environments=environments)
    monkeypatch.setenv("DSML_ENV", "small")
    definitions = load_definitions(root)
    for name in ("all", "__ASSET_JOB"):
        schema = definitions.resolve_job_def(name).executor_def.config_schema
        assert schema.config_type.fields["max_concurrent"].default_value == 2
