"""Python steps that are wired in `catalog.yml`: what may stand there, and mistakes."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from dsml.contract.graph import order
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.contract.request import resolve_request

A = "def step_fn(*, n: int = 3):\n    return n, n + 1\n"
B = "def step_fn():\n    print('b')\n"
C = "def step_fn(x1, x2):\n    return x1 + x2, x1 - x2\n"
D = "def step_fn(x5):\n    return 1000 + x5\n"

STEPS = """
a: {run: stages/legacy/a.py, outs: [x1, x2]}
b: {run: stages/legacy/b.py, outs: }
c: {run: stages/legacy/c.py, ins: {x1: a.x1, x2: a.x2}, after: [b], outs: [x4, x5]}
d: {run: stages/legacy/d.py, ins: {x5: c.x4}, outs: {x6: x6.json}}
"""


def catalog(steps, more="", register=""):
    """A catalog whose first pipeline wires steps; their first line is its fifth."""
    wired = indent(dedent(steps).strip(), "      ")
    top = f"version: 1\npipelines:\n  legacy:\n    steps:\n{wired}\n{indent(more, '  ')}{register}"
    return f'{top}\npickles: "*"\n'


@pytest.fixture
def wire(make):
    """Write the files a, b, c and d, and a catalog that wires them."""
    for name, text in {"a": A, "b": B, "c": C, "d": D}.items():
        make.file(f"stages/legacy/{name}.py", text)

    def wire(steps=STEPS, more="", register=""):
        return make.catalog(catalog(steps, more, register))

    return wire


# --- what is read


def test_data_comes_under_other_names_and_order_by_the_names_of_steps(wire):
    made = wire()
    assert (made.messages, made.notes) == ("", "")
    steps = load_project(made.root).registered
    assert list(steps) == ["legacy.a", "legacy.b", "legacy.c", "legacy.d"]
    c = steps["legacy.c"]
    assert dict(c.ins) == {"x1": "legacy.a.x1", "x2": "legacy.a.x2"}
    assert c.after == ("legacy.b",)
    assert dict(steps["legacy.d"].ins) == {"x5": "legacy.c.x4"}
    assert dict(steps["legacy.b"].outs) == {}
    assert order(steps) == ["legacy.a", "legacy.b", "legacy.c", "legacy.d"]


def test_an_out_in_a_list_is_a_file_of_any_object_or_has_the_name_of_a_file(wire):
    made = wire(
        "a: {run: stages/legacy/a.py, outs: [x1, table.parquet]}\n"
        "b: {run: stages/legacy/a.py, outs: {big: {file: b.csv, optional: true}}}"
    )
    steps = made.project.steps
    assert dict(steps["legacy.a"].outs) == {"x1": "x1.joblib", "table": "table.parquet"}
    assert (dict(steps["legacy.b"].outs), steps["legacy.b"].optional) == ({"big": "b.csv"}, {"big"})


def test_all_that_op_parameters_may_say_may_be_said_here(wire):
    made = wire(
        """
        a:
          run: stages/legacy/a.py
          description: Makes two numbers.
          outs: [x1, x2]
          map: {n: [1, 2]}
          retries: {max: 2, delay: 1}
          timeout: 60
          cache: false
          pool: licence
          needs: {cpu: 2}
          tags: {team: a}
        """
    )
    a = made.project.steps["legacy.a"]
    assert made.messages == ""
    assert (a.description, a.map, a.retries.delay) == ("Makes two numbers.", {"n": (1, 2)}, 1)
    assert (a.timeout, a.cache, a.pool, a.tags) == (60, False, "licence", {"team": "a"})
    assert a.needs.cpu == 2
    assert str(a.where("retries")) == "catalog.yml, line 10"


def test_a_path_of_three_parts_and_a_step_of_two_are_those_of_others(wire):
    made = wire(
        "c: {run: stages/legacy/c.py, ins: {x1: load.raw.x, x2: load.raw.x}, after: [load.raw]}"
    )
    made.step("load.raw", '{"outs": {"x": "x.json"}}').register()
    assert made.messages == ""
    c = made.project.steps["legacy.c"]
    assert (c.ins["x1"], c.after) == ("load.raw.x", ("load.raw",))


def test_a_list_that_a_step_of_the_pipeline_publishes_is_mapped_over(wire):
    made = wire(
        """
        sizes: {run: stages/legacy/b.py, outs: sizes.json}
        a: {run: stages/legacy/a.py, map: {n: sizes.sizes}}
        """
    )
    assert made.messages == ""
    assert made.project.steps["legacy.a"].sources == ["legacy.sizes.sizes"]


def test_the_values_that_are_set_here_stand_between_the_function_and_an_experiment(wire):
    made = wire(
        "a: {run: stages/legacy/a.py, config: {n: 5}}\nplain: {run: stages/legacy/a.py}",
        register="experiments: {wide: {config: {legacy.a: {n: 9}}}}\n",
    )
    assert made.messages == ""
    steps = made.project.steps
    assert steps["legacy.a"].parameters["n"].resolve() == (5, "default")
    assert steps["legacy.a"].parameters["n"].resolve(("experiment", {"n": 9}))[0] == 9
    assert steps["legacy.plain"].parameters["n"].default == 3


def test_a_file_may_be_used_twice_and_in_two_pipelines(wire):
    made = wire(
        "a: {run: stages/legacy/a.py, outs: [x, y]}\nagain: {run: stages/legacy/a.py}",
        more="other:\n  steps:\n    a: {run: stages/legacy/a.py, outs: [x, y]}\n",
    )
    assert made.messages == ""
    assert list(made.project.registered) == ["legacy.a", "legacy.again", "other.a"]


# --- which pipeline runs what


def steps_of(made, pipeline=None, *selection):
    return resolve_request(load_project(made.root), pipeline=pipeline, selection=selection).steps


OTHERS = """\
all: {}
named: {select: [train, legacy.a]}
both:
  select: train
  steps: {b: {run: stages/legacy/b.py}}
"""


@pytest.fixture
def several(wire):
    """Pipelines that select, that wire, and that do both."""
    return wire(more=OTHERS).step("train.fit").register()


@pytest.mark.parametrize(
    ("pipeline", "selection", "steps"),
    [
        ("legacy", (), ("legacy.a", "legacy.b", "legacy.c", "legacy.d")),
        ("legacy", ("*",), ("legacy.a", "legacy.b", "legacy.c", "legacy.d")),
        ("legacy", ("+legacy.c",), ("legacy.a", "legacy.b", "legacy.c")),
        ("legacy", ("legacy.c+",), ("legacy.c", "legacy.d")),
        ("all", (), ("train.fit",)),
        ("named", (), ("train.fit", "legacy.a")),
        ("both", (), ("train.fit", "both.b")),
        ("both", ("both",), ("both.b",)),
    ],
)
def test_a_pipeline_runs_its_own_steps_and_what_it_selects(several, pipeline, selection, steps):
    assert steps_of(several, pipeline, *selection) == steps


def test_the_register_is_without_them(several):
    assert several.text.endswith("register:\n  train.fit: {path: stages/train/fit.ipynb}\n")
    several.register()
    assert (several.messages, several.notes) == ("", "")


def test_a_parameter_of_one_can_be_set(several):
    request = resolve_request(
        load_project(several.root), pipeline="legacy", settings=["legacy.a.n=7"]
    )
    assert request.values == {"legacy.a": {"n": 7}}


def test_a_step_that_needs_a_draft_is_told(wire):
    made = wire("d: {run: stages/legacy/d.py, ins: {x5: load.raw.x}}")
    made.step("load.raw", '{"outs": {"x": "x.json"}}')
    assert made.messages == (
        "catalog.yml, line 5\n  pipelines.legacy.steps.d: it needs 'load.raw', which is a draft\n"
        "  run: dsml register stages/load/raw.ipynb"
    )


# --- mistakes

P = "catalog.yml, line 5\n  pipelines.legacy.steps.a"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("a: {}", f"{P}: run is missing\n  name the file: run: stages/<stage>/<name>.py"),
        (
            "a: {run: stages/legacy/aa.py}",
            (
                f"{P}.run: there is no file 'stages/legacy/aa.py'\n"
                "  did you mean 'stages/legacy/a.py'?"
            ),
        ),
        *(
            (
                f"a: {{run: {path}}}",
                (
                    f"{P}.run: '{path}' is no Python file of a stage\n"
                    "  write it as stages/<stage>/<name>.py"
                ),
            )
            for path in (
                "legacy/a.py",
                "/stages/legacy/a.py",
                "stages/../a.py",
                "stages/a.py",
                "stages/legacy/a.ipynb",
                "stages/legacy/sub/a.py",
                "stages\\legacy\\a.py",
            )
        ),
        (
            "a: {run: 5}",
            f"{P}.run: 5 is no text\n  put it in quotes",
        ),
        (
            "a: {run: stages/legacy/empty.py}",
            (
                f"{P}.run: 'stages/legacy/empty.py' has no function step_fn\n"
                "  write def step_fn(...) in it"
            ),
        ),
        (
            "a: {run: stages/other/text.py}",
            (
                f"{P}.run: 'stages/other/text.py' is a text notebook, and no Python step\n"
                "  register it, dsml register stages/other/text.py, and name it in the pipeline's "
                "select"
            ),
        ),
        (
            "a: {run: stages/legacy/a.py, inns: {}}",
            f"{P}.inns: no such key\n  did you mean 'ins'?",
        ),
        (
            "a: {run: stages/legacy/a.py, config_schema: {}}",
            f"{P}.config_schema: no such key\n  did you mean 'config'?",
        ),
        (
            "a-b: {run: stages/legacy/a.py}",
            (
                "catalog.yml, line 5\n  pipelines.legacy.steps.a-b: the name is no identifier\n"
                "  name it 'a_b'"
            ),
        ),
        (
            "a: stages/legacy/a.py",
            (
                f"{P}: 'stages/legacy/a.py' is no mapping\n  write it as {{key: value}}\n\n"
                f"{P}: run is missing\n  name the file: run: stages/<stage>/<name>.py"
            ),
        ),
        (
            "a:\n  run: stages/legacy/a.py\n  config:\n    n: x\n    m: 1",
            (
                "catalog.yml, line 8\n  pipelines.legacy.steps.a.config.n: 'x' is no int\n"
                "  give a value of type int\n\n"
                "catalog.yml, line 9\n"
                "  pipelines.legacy.steps.a.config.m: there is no parameter 'm'\n"
                "  known are: n"
            ),
        ),
        (
            "a: {run: stages/legacy/b.py, config: {n: 1}}",
            (
                f"{P}.config.n: there is no parameter 'n'\n"
                "  make it a keyword-only parameter: def step_fn(..., *, n: int = 1)"
            ),
        ),
        (
            "a: {run: stages/legacy/b.py, map: {m: [1]}}",
            (
                f"{P}.map.m: there is no parameter 'm'\n"
                "  make it a keyword-only parameter: def step_fn(..., *, n: int = 1)"
            ),
        ),
        (
            "a: {run: stages/legacy/a.py, map: {n: [2024-01-01]}}",
            (
                f"{P}.map: {{'n': [datetime.date(2024, 1, 1)]}} is nothing that JSON can hold\n"
                "  put it in quotes, so that it is text, or write plain numbers, lists and mappings"
            ),
        ),
        (
            "a: {run: stages/legacy/a.py, timeout: soon, retries: often, cache: 3}",
            (
                f"{P}.retries: 'often' is no number of retries\n"
                '  write a number, or {"max": 2, "delay": 5, "backoff": "exponential"}\n\n'
                f"{P}.timeout: 'soon' is no number of seconds, such as 600\n"
                "  write a number above 0\n\n"
                f"{P}.cache: 3 is neither true nor false\n  write true or false"
            ),
        ),
        (
            "a: {run: stages/legacy/a.py, outs: [x, x, 5, y.a, y.b]}",
            (
                f"{P}.outs: 'x' stands twice in the list\n"
                "  give each out a name of its own: outs: {name: file}\n\n"
                f"{P}.outs: 5 is no name of an out\n"
                "  write outs: [name, other.parquet], or outs: {name: file}\n\n"
                f"{P}.outs: 'y' stands twice in the list\n"
                "  give each out a name of its own: outs: {name: file}"
            ),
        ),
        (
            "a: {run: stages/legacy/a.py, outs: [1x, {a: b}]}",
            (
                f"{P}.outs: {{'a': 'b'}} is no name of an out\n"
                "  write outs: [name, other.parquet], or outs: {name: file}\n\n"
                f"{P}.outs.1x: the name is no identifier\n  name it '_1x'"
            ),
        ),
        (
            "a: {run: stages/legacy/d.py, ins: {x5: a}}",
            (
                f"{P}.ins.x5: 'a' is no catalog path of an artefact\n"
                "  write it as 'stage.notebook.artefact'\n\n"
                f"{P}.ins: step_fn takes 'x5' (stages/legacy/d.py, line 1), "
                "and there is no such in\n"
                "  add x5, or give the parameter a default"
            ),
        ),
        (
            "a: {run: stages/legacy/d.py, ins: {x5: e.x5}}",
            ("catalog.yml, line 5\n  ins.x5: no step publishes 'legacy.e.x5'\n  there is none yet"),
        ),
        (
            "a: {run: stages/legacy/a.py, after: [bb]}",
            (
                "catalog.yml, line 5\n  after: there is no step 'legacy.bb'\n"
                "  did you mean 'legacy.a'?"
            ),
        ),
        (
            "a: {run: stages/legacy/b.py, after: b}\nb: {run: stages/legacy/b.py, after: [a]}",
            (
                "catalog.yml, line 5\n"
                "  after: the steps run in a circle: legacy.a → legacy.b → legacy.a\n"
                "  take one of them out of the circle, for instance this after"
            ),
        ),
        (
            "a: {run: stages/legacy/b.py}\nA: {run: stages/legacy/b.py}",
            (
                "catalog.yml, line 6\n"
                "  'legacy.A' and 'legacy.a' are the same name to Dagster or to a disk\n"
                "  rename one of the two"
            ),
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_line(wire, steps, message):
    made = wire(steps)
    made.file("stages/legacy/empty.py", "x = 1\n")
    made.file("stages/other/text.py", '# %% tags=["op_parameters"]\nop_parameters = {}\n')
    assert made.messages == message


def test_what_is_wrong_with_a_file_is_told_once_however_often_it_is_used(wire):
    made = wire("a: {run: stages/legacy/x.py}\nb: {run: stages/legacy/x.py}")
    made.file("stages/legacy/x.py", "def step_fn(*args, db): ...\n")
    assert made.messages == (
        "stages/legacy/x.py, line 1\n  step_fn: it is unclear what '*args' is to be given\n"
        "  name each in and each parameter"
    )
    made.file("stages/legacy/x.py", "def step_fn(*, db): ...\n")
    assert made.messages.count("there is no resource 'db'") == 1
    with pytest.raises(ProjectError):
        load_project(made.root)


def test_of_a_step_that_cannot_be_read_nothing_more_is_said(wire):
    made = wire(
        "a: {run: stages/legacy/x.py, outs: [x]}\nd: {run: stages/legacy/d.py, ins: {x5: a.x}}"
    )
    made.file("stages/legacy/x.py", "def step_fn(:\n")
    assert made.messages == (
        "stages/legacy/x.py, line 1\n  is no Python: invalid syntax\n"
        "  mend the line: the file is read without being run"
    )


def test_a_notebook_that_has_the_name_of_a_step_is_told(wire):
    made = wire("fit: {run: stages/legacy/b.py}").step("legacy.fit")
    assert made.messages == (
        "catalog.yml, line 4\n"
        "  pipelines.legacy.steps: 'legacy' is a stage as well, and would mean the steps of both\n"
        "  rename the pipeline, or the folder stages/legacy\n\n"
        "catalog.yml, line 5\n  'legacy.fit' is the name of stages/legacy/fit.ipynb too\n"
        "  rename one of the two"
    )


def test_a_step_that_was_registered_before_it_was_wired_leaves_the_register(wire):
    made = wire(register="register:\n  legacy.b: {path: stages/legacy/b.ipynb}\n")
    assert made.messages == (
        "catalog.yml, line 10\n  register.legacy.b: there is no notebook 'stages/legacy/b.ipynb'\n"
        "  restore the file, or run: dsml register"
    )
    made.register()
    assert made.messages == ""


def test_dagstermill_does_not_run_them(wire):
    made = wire("b: {run: stages/legacy/b.py}\n", more="").catalog(
        "version: 1\npipelines:\n  legacy:\n    engine: dagstermill\n"
        "    steps: {b: {run: stages/legacy/b.py}}\n"
    )
    assert made.messages == (
        "catalog.yml, line 5\n  dagstermill runs no Python steps\n"
        "  make a notebook of it, or use the engine pipes"
    )
