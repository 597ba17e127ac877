"""Where a step is executed: what it needs of a machine, and the executors that a catalog names."""

from __future__ import annotations

import pytest

from dsml.contract.catalog import Pipeline
from dsml.contract.executors import executor_name
from dsml.contract.needs import Needs
from dsml.contract.problem import ProjectError
from dsml.contract.request import resolve_request

from .conftest import step_cells

GIB = 2**30
TWO = """
version: 1
environments:
  dev: {}
  prod: {storage: s3://bucket/x, executor: dask}
pipelines:
  all: {executor: multiprocess}
  stock: {engine: dagstermill}
"""


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ('{"cpu": 2, "memory": "4 GB", "gpu": 1}', Needs(2, 4 * 10**9, 1)),
        ('{"cpu": 0.5}', Needs(0.5)),
        ('{"memory": "4Gi"}', Needs(memory=4 * GIB)),
        ("{}", Needs()),
    ],
)
def test_a_step_says_what_it_needs(spec_of, declared, found):
    spec, messages = spec_of(step_cells(f'{{"needs": {declared}}}'))
    assert messages == ""
    assert spec.needs == found


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ('{"cpu": 0}', "needs.cpu: 0 is no number of cores, such as 2"),
        ('{"cpu": "2"}', "needs.cpu: '2' is no number of cores, such as 2"),
        ('{"memory": "much"}', "needs.memory: 'much' is no size"),
        ('{"memory": 4}', "needs.memory: 4 is no text"),
        ('{"memory": "0 GB"}', "needs.memory: '0 GB' is no size"),
        ('{"gpu": 0.5}', "needs.gpu: 0.5 is no number of graphics processors"),
        ('{"gpus": 1}', "needs.gpus: no such key"),
        ("2", "needs: 2 is no mapping"),
    ],
)
def test_what_nobody_can_need_is_told_with_its_line(spec_of, declared, told):
    made = step_cells(f'{{\n    "needs": {declared},\n}}')
    _, messages = spec_of(made)
    where, what, _ = messages.splitlines()
    assert (where.rpartition(", ")[2], what.strip()) == ("line 2", told)


@pytest.mark.parametrize(
    ("environment", "pipeline", "executor"),
    [
        ("dev", "all", "multiprocess"),
        ("prod", "all", "dask"),
        ("dev", "stock", "multiprocess"),
        ("prod", "stock", "multiprocess"),
    ],
)
def test_an_environment_chooses_the_executor_before_its_pipelines(
    make, monkeypatch, environment, pipeline, executor
):
    catalog = make.catalog(TWO).project.catalog
    monkeypatch.setenv("DSML_ENV", environment)
    assert executor_name(catalog, catalog.pipelines[pipeline]) == executor


def test_what_is_run_outside_of_all_pipelines_is_run_in_threads(make, monkeypatch):
    monkeypatch.delenv("DSML_ENV", raising=False)
    assert executor_name(make.catalog(TWO).project.catalog, Pipeline("all")) == "threads"


def test_an_environment_is_given_no_executor_that_there_is_not(make):
    make.catalog("version: 1\nenvironments:\n  dev: {executor: dusk}\n")
    assert make.messages.splitlines() == [
        "catalog.yml, line 3",
        "  environments.dev.executor: there is no executor 'dusk'",
        "  did you mean 'dask'?",
    ]


def test_dagstermill_runs_on_no_other_machine(make):
    make.catalog("version: 1\npipelines:\n  all: {engine: dagstermill, executor: ray}\n")
    assert make.messages.splitlines() == [
        "catalog.yml, line 3",
        "  pipelines.all.executor: dagstermill runs on this machine only, and not on ray",
        "  write executor: multiprocess, or use the engine pipes",
    ]
    project = make.catalog(TWO).step("a.b").register().project
    with pytest.raises(ProjectError) as error:
        resolve_request(project, pipeline="stock", executor="threads")
    assert str(error.value).splitlines() == [
        "dsml run",
        "  --executor threads: the engine dagstermill runs no steps so",
        "  choose multiprocess or in_process",
    ]
