"""Steps joined by catalog path."""

from __future__ import annotations

from textwrap import dedent

import pytest

from dsml.contract.graph import graph_problems, order
from dsml.contract.problem import render
from dsml.contract.spec import StepSpec


def steps(**needs):
    """Steps of one stage `s`, each with the artefact `out`: `steps(b=["a"])` reads that of `a`."""
    made = [
        StepSpec(
            "s",
            name,
            f"stages/s/{name}.ipynb",
            ins={source: f"s.{source}.out" for source in sources},
            outs={"out": "out.txt"},
        )
        for name, sources in needs.items()
    ]
    return {step.name: step for step in made}


def test_steps_that_find_what_they_read_are_a_graph():
    assert graph_problems(steps(a=[], b=["a"], c=["a", "b"])) == []


def test_each_step_comes_after_all_that_it_waits_for():
    assert order(steps(c=["a", "b"], b=["a"], a=[])) == ["s.a", "s.b", "s.c"]


def test_steps_that_do_not_wait_for_each_other_keep_their_order():
    assert order(steps(z=[], a=[], m=[])) == ["s.z", "s.a", "s.m"]


def test_an_order_without_data_counts(make):
    make.step("a.late", '{"after": ["b.early"]}').step("b.early")
    assert order(make.project.steps) == ["b.early", "a.late"]


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("prepare.split.trian", "did you mean 'prepare.split.train'?"),
        ("prepare.spilt.train", "did you mean 'prepare.split.train'?"),
        ("prepare.split.zzz", "did you mean 'prepare.split.test'?"),
        ("x.y.z", "known are: prepare.split.test, prepare.split.train"),
    ],
)
def test_an_in_that_no_step_publishes_is_refused(make, source, fix):
    make.step("prepare.split", '{"outs": {"train": "a.csv", "test": "b.csv"}}')
    make.step("train.fit", f'{{\n"ins": {{\n"train": "{source}"}}}}')
    assert make.messages == (
        "stages/train/fit.ipynb, cell 1 (op_parameters), line 3\n"
        f"  ins.train: no step publishes '{source}'\n  {fix}"
    )


def test_an_in_is_refused_where_nothing_is_published_at_all(make):
    make.step("train.fit", '{"ins": {"train": "a.b.c"}}')
    assert make.messages == (
        "stages/train/fit.ipynb, cell 1 (op_parameters), line 1\n"
        "  ins.train: no step publishes 'a.b.c'\n  there is none yet"
    )


def test_an_order_after_an_unknown_step_is_refused(make):
    make.step("load.audit").step("train.fit", '{"after": [\n"load.audit",\n"load.adit"]}')
    assert make.messages == (
        "stages/train/fit.ipynb, cell 1 (op_parameters), line 3\n"
        "  after: there is no step 'load.adit'\n  did you mean 'load.audit'?"
    )


def test_nothing_is_said_about_what_an_unreadable_notebook_publishes(make):
    make.file("stages/load/data.ipynb", "{")
    make.step("train.fit", '{"ins": {"a": "load.data.a"}, "after": ["load.data"]}')
    make.catalog(
        "version: 1\nexperiments: {a: {config: {load.data: {n: 1}}}}\n"
        "pipelines: {b: {select: load}}\n"
    )
    assert make.messages.count("\n\n") == 0
    assert make.messages.startswith("stages/load/data.ipynb, line 1\n  the notebook is no JSON")


@pytest.mark.parametrize(
    ("needs", "circle", "key"),
    [
        ({"a": ["a"]}, "s.a → s.a", "a"),
        ({"a": ["b"], "b": ["a"]}, "s.a → s.b → s.a", "b"),
        ({"b": ["a"], "c": ["b"], "a": ["c"]}, "s.a → s.b → s.c → s.a", "c"),
        ({"d": [], "c": ["a", "d"], "b": ["c"], "a": ["b"]}, "s.a → s.c → s.b → s.a", "b"),
    ],
)
def test_a_circle_is_told_once_from_its_first_step_on(needs, circle, key):
    assert render(graph_problems(steps(**needs))) == (
        f"stages/s/a.ipynb\n  ins.{key}: the steps run in a circle: {circle}\n"
        "  take one of them out of the circle, for instance this ins"
    )


def test_each_of_two_circles_is_told():
    told = render(graph_problems(steps(a=["b"], b=["a"], c=["d"], d=["c"], e=["a", "c"])))
    assert [line for line in told.split("\n") if "circle:" in line] == [
        "  ins.b: the steps run in a circle: s.a → s.b → s.a",
        "  ins.d: the steps run in a circle: s.c → s.d → s.c",
    ]


def test_a_circle_has_the_line_of_the_in_that_closes_it(make):
    make.step("a.a", '{"outs": {"x": "x.txt"},\n\n"ins": {\n"y": "b.b.y"}}')
    make.step("b.b", '{"outs": {"y": "y.txt"}, "ins": {"x": "a.a.x"}}')
    assert make.messages == dedent("""\
        stages/a/a.ipynb, cell 1 (op_parameters), line 4
          ins.y: the steps run in a circle: a.a → b.b → a.a
          take one of them out of the circle, for instance this ins""")


def test_a_circle_by_order_alone_is_told(make):
    make.step("a.a", '{\n"after": ["b.b"]}').step("b.b", '{"after": ["a.a"]}')
    assert make.messages == dedent("""\
        stages/a/a.ipynb, cell 1 (op_parameters), line 2
          after: the steps run in a circle: a.a → b.b → a.a
          take one of them out of the circle, for instance this after""")
