"""A run as it is asked for: every name is checked before anything starts."""

from __future__ import annotations

import pytest

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.contract.request import resolve_request

CATALOG = """\
version: 1
experiments: {baseline: {}, wide: {}}
pipelines:
  training: {select: "*"}
  fitting: {select: train}
"""


@pytest.fixture
def project(make):
    """Two steps one after the other; the later one has a parameter of each kind."""
    make.catalog(CATALOG)
    make.step("load.data", '{"outs": {"a": "a.csv"}}')
    make.step(
        "train.fit",
        '{"ins": {"a": "load.data.a"}}',
        "n_trees: int = 10\nname: str = 'x'\nkind: Literal['a', 'b'] = 'a'",
    )
    return load_project(make.register().root)


@pytest.fixture
def refused(project):
    """The message with which a request is refused."""

    def refused(**asked):
        with pytest.raises(ProjectError) as caught:
            resolve_request(project, **asked)
        return str(caught.value)

    return refused


def test_what_is_not_said_is_the_first_pipeline_and_the_first_experiment(project):
    request = resolve_request(project)
    assert (request.pipeline, request.experiment) == ("training", "baseline")
    assert request.steps == ("load.data", "train.fit")
    assert (request.values, request.other, request.workers) == ({}, (), None)


def test_a_pipeline_is_the_steps_that_it_selects(project):
    assert resolve_request(project, pipeline="fitting", experiment="wide").steps == ("train.fit",)


@pytest.mark.parametrize(
    ("selection", "steps"),
    [
        (["train"], ("train.fit",)),
        (["load,train"], ("load.data", "train.fit")),
        (["train", "load"], ("load.data", "train.fit")),
        (["+train.fit"], ("load.data", "train.fit")),
    ],
)
def test_a_selection_is_run_in_the_order_of_the_graph(project, selection, steps):
    assert resolve_request(project, selection=selection).steps == steps


def test_a_selection_cuts_the_pipeline_down_and_never_widens_it(project):
    assert resolve_request(project, pipeline="fitting", selection=["*"]).steps == ("train.fit",)


def test_a_selection_in_dagsters_own_syntax_is_handed_on(project):
    request = resolve_request(project, selection=['group:"train"', "load"])
    assert (request.steps, request.other) == (("load.data",), ('group:"train"',))


def test_settings_are_read_as_the_type_of_the_parameter(project):
    settings = ["train.fit.n_trees=5", "train.fit.name=5", "train.fit.kind=b"]
    assert resolve_request(project, settings=settings).values == {
        "train.fit": {"n_trees": 5, "name": "5", "kind": "b"}
    }


def test_the_last_of_two_equal_settings_counts(project):
    settings = ["train.fit.n_trees=5", "train.fit.n_trees=6"]
    assert resolve_request(project, settings=settings).values == {"train.fit": {"n_trees": 6}}


def test_a_value_may_hold_equals_signs_and_be_empty(project):
    assert resolve_request(project, settings=["train.fit.name=a=b"]).values == {
        "train.fit": {"name": "a=b"}
    }
    assert resolve_request(project, settings=["train.fit.name="]).values == {
        "train.fit": {"name": ""}
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"experiment": "wde"},
            "catalog.yml\n  there is no experiment 'wde'\n  did you mean 'wide'?",
        ),
        (
            {"experiment": "zzz"},
            "catalog.yml\n  there is no experiment 'zzz'\n  known are: baseline, wide",
        ),
        (
            {"pipeline": "trainin"},
            "catalog.yml\n  there is no pipeline 'trainin'\n  did you mean 'training'?",
        ),
        (
            {"selection": ["train.ft"]},
            "dsml run\n  --select: 'train.ft' is no stage and no step\n  did you mean 'train.fit'?",
        ),
        (
            {"selection": ["+laod"]},
            "dsml run\n  --select: '+laod' is no stage and no step\n  did you mean 'load'?",
        ),
        (
            {"settings": ["train.fti.n_trees=1"]},
            (
                "dsml run\n  --set train.fti.n_trees=1: there is no step 'train.fti'\n"
                "  did you mean 'train.fit'?"
            ),
        ),
        (
            {"settings": ["train.fit.n_tree=1"]},
            (
                "dsml run\n  --set train.fit.n_tree=1: there is no parameter 'n_tree'\n"
                "  did you mean 'n_trees'?"
            ),
        ),
        (
            {"settings": ["load.data.n=1"]},
            (
                "dsml run\n  --set load.data.n=1: there is no parameter 'n'\n"
                "  the notebook has no parameters cell"
            ),
        ),
        (
            {"settings": ["train.fit.n_trees=many"]},
            (
                "dsml run\n  --set train.fit.n_trees=many: 'many' is no int\n"
                "  give a value of type int"
            ),
        ),
        (
            {"settings": ["train.fit.kind=c"]},
            (
                "dsml run\n  --set train.fit.kind=c: 'c' is no one of 'a', 'b'\n"
                "  give a value of type one of 'a', 'b'"
            ),
        ),
        (
            {"settings": ["train.fit.n_trees"]},
            (
                "dsml run\n  --set train.fit.n_trees: is no setting\n"
                "  write it as stage.notebook.parameter=value"
            ),
        ),
        (
            {"settings": ["n_trees=1"]},
            (
                "dsml run\n  --set n_trees=1: is no setting\n"
                "  write it as stage.notebook.parameter=value"
            ),
        ),
        (
            {"settings": ["train.fit.n_trees=1"], "selection": ["load"]},
            "dsml run\n  --set train.fit: the step is not part of this run\n  select it",
        ),
        (
            {"pipeline": "fitting", "selection": ["load"]},
            (
                "dsml run\n  no step is selected\n"
                "  the pipeline 'training' has it: dsml run training --select load"
            ),
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(refused, asked, message):
    assert refused(**asked) == message


def test_all_that_is_wrong_with_a_request_is_told_at_once(refused):
    message = refused(
        pipeline="trainig",
        experiment="wid",
        settings=["train.fit.n_tree=1", "x=1"],
        selection=["laod"],
    )
    assert [part.split("\n")[1] for part in message.split("\n\n")] == [
        "  there is no pipeline 'trainig'",
        "  there is no experiment 'wid'",
        "  --set train.fit.n_tree=1: there is no parameter 'n_tree'",
        "  --set x=1: is no setting",
        "  --select: 'laod' is no stage and no step",
    ]


def test_a_draft_is_no_step_of_a_run(make):
    make.step("load.data")
    with pytest.raises(ProjectError) as caught:
        resolve_request(load_project(make.root))
    assert str(caught.value) == (
        "catalog.yml\n  no step is selected\n  register a notebook: dsml register"
    )


def test_a_step_that_no_pipeline_selects_is_told_where_to_add_it(make):
    make.catalog("version: 1\npipelines:\n  training: {select: load}\n")
    make.step("load.data").step("train.fit").register()
    with pytest.raises(ProjectError) as caught:
        resolve_request(load_project(make.root), selection=["train.fit"])
    assert str(caught.value) == (
        "dsml run\n  no step is selected\n"
        "  add 'train.fit' to pipelines.training.select in catalog.yml"
    )
