"""Python steps that declare themselves: what `step_fn` and `op_parameters` say, and mistakes."""

from __future__ import annotations

import os
from textwrap import dedent

import pytest

from dsml.contract.new_python import new_python_step
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project

FILE = "stages/train/fit.py"
NAMED_DB = "version: 1\nresources: {db: somewhere.else:database}\n"


@pytest.fixture
def step(make):
    """Write `train.fit`; returns the project, a table to read already registered in it."""
    make.step("load.raw", '{"outs": {"t": "t.parquet", "u": "u.parquet"}}').register()

    def step(text, catalog=""):
        if catalog:
            make.catalog(catalog)
        return make.file(FILE, dedent(text).lstrip("\n"))

    return step


def spec_of(made):
    return made.project.steps["train.fit"]


# --- what is read


def test_positional_parameters_are_ins_keyword_only_ones_the_config_or_resources(step):
    made = step(
        """
        op_parameters = {
            "description": "Fit.",
            "ins": {"table": "load.raw.t"},
            "outs": {"model": "model.joblib", "extra": {"file": "e.json", "optional": True}},
            "after": ["load.raw"],
            "retries": 2,
            "timeout": 60,
            "tags": {"team": "a"},
        }


        def step_fn(
            table,
            weights=None,
            *,
            n_trees: int = 100,  # trees in the forest
            mode: str | None = None,
            db,
            context,
        ):
            return {}
        """,
        NAMED_DB,
    )
    assert made.messages == ""
    spec = spec_of(made)
    assert (spec.description, dict(spec.ins)) == ("Fit.", {"table": "load.raw.t"})
    assert dict(spec.outs) == {"model": "model.joblib", "extra": "e.json"}
    assert (spec.optional, spec.after, spec.timeout) == ({"extra"}, ("load.raw",), 60)
    assert spec.retries.max == 2
    assert {
        name: (str(p.type), p.default, p.description) for name, p in spec.parameters.items()
    } == {
        "n_trees": ("int", 100, "trees in the forest"),
        "mode": ("str or None", None, ""),
    }
    assert (spec.function.line, list(spec.function.resources)) == (12, ["db"])


def test_it_is_registered_like_a_notebook(step):
    made = step('op_parameters = {"ins": {"t": "load.raw.t"}}\n\n\ndef step_fn(t): ...\n')
    assert "stages/train/fit.py\n  note: is a draft" in made.notes
    made.register()
    assert "train.fit: {path: stages/train/fit.py, ins: {t: load.raw.t}}" in made.text
    assert list(load_project(made.root).registered) == ["load.raw", "train.fit"]


def test_it_is_never_imported(step):
    made = step("raise SystemExit\nop_parameters = {}\n\n\ndef step_fn():\n    1 / 0\n")
    assert (made.messages, list(made.project.steps)) == ("", ["load.raw", "train.fit"])


@pytest.mark.parametrize(
    "text",
    [
        "def step_fn(x): ...\n",
        "import os\n",
        'TEXT = """\nop_parameters = {\n"""\n',
        "op_parameters == {}\n",
        "def helper(op_parameters={}): ...\n",
        "this is no Python\n",
    ],
)
def test_a_file_that_declares_nothing_stays_a_plain_module(step, text):
    made = step(text)
    assert (list(made.project.steps), made.messages) == (["load.raw"], "")


def test_what_is_no_file_is_not_read(make):
    (make.root / "stages" / "train" / "folder.py").mkdir(parents=True)
    os.mkfifo(make.root / "stages" / "train" / "pipe.py")
    assert (make.messages, make.project.steps) == ("", {})


def test_an_expression_that_is_nested_too_deeply_is_told(step):
    made = step(f"op_parameters = {'[' * 5000}{']' * 5000}\ndef step_fn(): ...\n")
    assert made.messages.startswith("stages/train/fit.py")
    assert "nested" in made.messages


def test_a_text_notebook_is_no_python_step(step):
    made = step('# %% tags=["op_parameters"]\nop_parameters = {}\n')
    assert spec_of(made).function is None


def test_a_comment_that_several_parameters_share_describes_none_of_them(step):
    made = step(
        "op_parameters = {}\n\n\n"
        "def step_fn(\n    *, a: int = 1, b: int = 2,  # both\n    c: int = 3,  # one\n): ...\n"
    )
    found = {name: p.description for name, p in spec_of(made).parameters.items()}
    assert found == {"a": "", "b": "", "c": "one"}


def test_an_in_may_be_read_by_the_context_alone(step):
    made = step('op_parameters = {"ins": {"t": "load.raw.t"}}\ndef step_fn(context): ...\n')
    assert made.messages == ""


def test_an_experiment_sets_its_parameters(step):
    made = step(
        "op_parameters = {}\ndef step_fn(*, n: int = 1): ...\n",
        "version: 1\nexperiments: {a: {config: {train.fit: {n: x, m: 2}}}}\n",
    )
    assert made.messages == (
        "catalog.yml, line 2\n  experiments.a.config.train.fit.n: 'x' is no int\n"
        "  give a value of type int\n\n"
        "catalog.yml, line 2\n  experiments.a.config.train.fit.m: there is no parameter 'm'\n"
        "  known are: n"
    )


def test_one_that_has_no_parameters_says_where_they_would_be(step):
    made = step(
        "op_parameters = {}\ndef step_fn(): ...\n",
        "version: 1\nexperiments: {a: {config: {train.fit: {n: 1}}}}\n",
    )
    assert made.messages.endswith("its step_fn has no keyword-only parameters with a default")


def test_its_code_gets_the_warnings_that_a_cell_gets(step):
    made = step(
        'op_parameters = {}\n\n\ndef step_fn():\n    open("/home/me/x")\n'
        '    open("/home/me/y")  # dsml: ignore[absolute-path]\n'
    ).register()
    assert made.notes == ""
    made.file(FILE, 'op_parameters = {}\n\n\ndef step_fn():\n    open("/home/me/x")\n')
    assert "stages/train/fit.py, line 5\n  warning: '/home/me/x' is a path" in made.notes


# --- mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nop_parameters = {}\n",
            (
                "stages/train/fit.py, line 1\n"
                "  op_parameters are declared, and there is no function step_fn\n"
                "  add def step_fn(...); "
                'in a text notebook, tag the cell: # %% tags=["op_parameters"]'
            ),
        ),
        (
            "op_parameters = {}\nasync def step_fn(): ...\n",
            (
                "stages/train/fit.py, line 2\n  step_fn is asynchronous\n"
                "  write def step_fn(...), and asyncio.run(...) in it"
            ),
        ),
        (
            "op_parameters = {}\ndef step_fn():\n    for i in range(3):\n        yield i\n",
            (
                "stages/train/fit.py, line 2\n  step_fn is a generator\n"
                "  return the outs: one value, a tuple in their order, or a dict by name"
            ),
        ),
        (
            "op_parameters = {}\nfrom somewhere import step_fn\n",
            (
                "stages/train/fit.py, line 2\n  step_fn is no function of this file\n"
                "  write def step_fn(...) here"
            ),
        ),
        (
            "op_parameters = {}\ndef step_fn(\n    *args,\n    **kw,\n): ...\n",
            (
                "stages/train/fit.py, line 3\n"
                "  step_fn: it is unclear what '*args' is to be given\n"
                "  name each in and each parameter\n\n"
                "stages/train/fit.py, line 4\n  step_fn: it is unclear what '**kw' is to be given\n"
                "  name each in and each parameter"
            ),
        ),
        (
            'op_parameters = {"ins": {"t": "load.raw.t"}}\ndef step_fn(t, /): ...\n',
            (
                "stages/train/fit.py, line 2\n"
                "  step_fn: 't' is positional-only, and ins are given by name\n  take out the /"
            ),
        ),
        (
            'op_parameters = {\n    "ins": {}}\n\ndef step_fn(\n    table,\n): ...\n',
            (
                "stages/train/fit.py, line 2\n"
                "  ins: step_fn takes 'table' (stages/train/fit.py, line 5), "
                "and there is no such in\n"
                "  add table, or give the parameter a default"
            ),
        ),
        (
            'op_parameters = {"ins": {"tabel": "load.raw.t"}}\ndef step_fn(table=1): ...\n',
            (
                "stages/train/fit.py, line 1\n"
                "  ins.tabel: step_fn (stages/train/fit.py, line 2) has no positional parameter"
                " 'tabel'\n  did you mean 'table'?"
            ),
        ),
        (
            'op_parameters = {"ins": {"t": "load.raw.t"}}\ndef step_fn(): ...\n',
            (
                "stages/train/fit.py, line 1\n"
                "  ins.t: step_fn (stages/train/fit.py, line 2) has no positional parameter 't'\n"
                "  write it: def step_fn(t, ...)"
            ),
        ),
        (
            'op_parameters = {"ins": {"n": "load.raw.t"}}\ndef step_fn(*, n=1): ...\n',
            (
                "stages/train/fit.py, line 1\n"
                "  ins.n: step_fn (stages/train/fit.py, line 2) has no positional parameter 'n'\n"
                "  put it before the *: def step_fn(n, *, ...)"
            ),
        ),
        (
            'op_parameters = {"ins": {"context": "load.raw.t"}}\ndef step_fn(context): ...\n',
            (
                "stages/train/fit.py, line 1\n  ins.context: step_fn (stages/train/fit.py, line 2) "
                "has no positional parameter 'context'\n"
                "  name the in otherwise: 'context' is given the context"
            ),
        ),
        (
            "op_parameters = {}\ndef step_fn(*, n=len([]),\n    m: Model = None): ...\n",
            (
                "stages/train/fit.py, line 2\n  n: `len([])` is no literal\n"
                "  give a literal default, and compute from it in the function\n\n"
                "stages/train/fit.py, line 3\n"
                "  m: the type `Model` is not known here; known are: bool, dict, float, int, list,"
                " str\n"
                "  use int, float, str, bool, list, dict, date, Secret, Optional[...] or "
                "Literal[...]"
            ),
        ),
        (
            'op_parameters = {\n    "config_schema": {"n": 1}}\ndef step_fn(): ...\n',
            (
                "stages/train/fit.py, line 2\n"
                "  config_schema: the parameters of a Python step are those of step_fn\n"
                "  make them keyword-only parameters: def step_fn(..., *, n: int = 1)"
            ),
        ),
        (
            'op_parameters = {"inns": {}, "map": {"n": [1]}}\ndef step_fn(): ...\n',
            (
                "stages/train/fit.py, line 1\n  inns: op_parameters has no such key\n"
                "  did you mean 'ins'?\n\n"
                "stages/train/fit.py, line 1\n  map.n: there is no parameter 'n'\n"
                "  make it a keyword-only parameter: def step_fn(..., *, n: int = 1)"
            ),
        ),
        (
            "op_parameters = {'outs': OUTS}\ndef step_fn(): ...\n",
            (
                "stages/train/fit.py, line 1\n  outs: `OUTS` is no literal\n"
                "  write the value out; the cell is read without being run"
            ),
        ),
        (
            "op_parameters = {}\n\ndef step_fn(:\n",
            (
                "stages/train/fit.py, line 3\n  is no Python: invalid syntax\n"
                "  mend the line: the file is read without being run"
            ),
        ),
        (
            "op_parameters = {}\n%matplotlib inline\ndef step_fn(): ...\n",
            (
                "stages/train/fit.py, line 2\n  is no Python: invalid syntax\n"
                "  mend the line: the file is read without being run"
            ),
        ),
        (
            "op_parameters = {}\n\n\ndef step_fn(*, db): ...\n",
            (
                "stages/train/fit.py, line 4\n  step_fn: there is no resource 'db'\n"
                "  name it in catalog.yml, resources: {db: module:function}; "
                "with a default it is a parameter"
            ),
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_line(step, text, message):
    assert step(text).messages == message


def test_bytes_that_are_no_text_are_told(make):
    make.file(FILE, b"op_parameters = {}  # \xff\ndef step_fn(): ...\n")
    assert make.messages == "stages/train/fit.py\n  is no UTF-8 text\n  save it as UTF-8"


def test_a_notebook_of_the_same_name_is_told(step):
    made = step("op_parameters = {}\ndef step_fn(): ...\n").step("train.fit")
    assert made.messages == (
        "stages/train/fit.py\n  'train.fit' is the name of stages/train/fit.ipynb too\n"
        "  rename one of the two"
    )


def test_it_lies_in_the_folder_of_its_stage(make):
    make.file("stages/fit.py", "op_parameters = {}\ndef step_fn(): ...\n")
    assert make.messages == (
        "stages/fit.py\n  a step lies in the folder of its stage\n"
        "  move it to stages/<stage>/fit.py"
    )


def test_a_mistake_in_a_draft_stops_nobody(step):
    made = step("op_parameters = {}\ndef step_fn(*args): ...\n")
    assert list(load_project(made.root).registered) == ["load.raw"]
    assert "it is unclear what '*args' is to be given" in made.refused()


def test_a_plain_file_cannot_be_registered(step):
    step("def step_fn(): ...\n")
    done = step("def step_fn(): ...\n").run("register", FILE)
    assert (done.returncode, done.stderr) == (
        1,
        (
            "stages/train/fit.py\n"
            "  declares no step: it has neither op_parameters nor a tagged cell\n"
            "  add op_parameters = {...} beside its step_fn; what the catalog wires is registered\n"
        ),
    )


# --- resources

RESOURCES = "version: 1\nresources: {db: shop.resources:database}\n"
DECLARED = "op_parameters = {}\n\n\ndef step_fn(*, db): ...\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shop/resources.py", "def database(): ...\n"),
        ("shop/resources.py", "def database(context, retries=3): ...\n"),
        ("shop/resources.py", "class database: ...\n"),
        ("shop/resources.py", "from shop.real import database\n"),
        ("shop/resources.py", "try:\n    import x as database\nexcept ImportError: ...\n"),
        ("shop/resources.py", "from shop.real import *\n"),
        ("shop/resources.py", "def __getattr__(name): ...\n"),
        ("shop/resources/__init__.py", "database = dict\n"),
        ("other/resources.py", ""),  # shop may be installed
    ],
)
def test_a_resource_that_the_project_defines_is_found(step, path, text):
    made = step(DECLARED, RESOURCES).file(path, text)
    assert made.messages == ""


@pytest.mark.parametrize(
    ("path", "text", "what", "fix"),
    [
        (
            "shop/resource.py",
            "",
            "there is no module 'shop.resources'",
            "write the function database in shop/resources.py",
        ),
        (
            "shop/resources.py",
            "def databse(): ...\n",
            "shop/resources.py defines no 'database'",
            "did you mean 'databse'?",
        ),
        (
            "shop/resources.py",
            "def database(url, *, user, context): ...\n",
            "database in shop/resources.py takes url, user",
            "it is called with nothing but context: give them defaults",
        ),
        (
            "shop/resources.py",
            "def database(:\n",
            "shop/resources.py cannot be read: invalid syntax (<unknown>, line 1)",
            "mend the file",
        ),
    ],
)
def test_a_resource_that_cannot_be_made_is_told(step, path, text, what, fix):
    made = step(DECLARED, RESOURCES).file(path, text)
    assert made.messages == f"catalog.yml, line 2\n  resources.db: {what}\n  {fix}"


@pytest.mark.parametrize(
    ("takes", "cache", "cached"),
    [("", "", True), ("*, db", "", False), ("*, db", '"cache": True', True)],
)
def test_a_step_that_takes_a_resource_is_run_though_nothing_has_changed(step, takes, cache, cached):
    made = step(
        f'op_parameters = {{"ins": {{"t": "load.raw.t"}}, {cache}}}\n\n\n'
        f"def step_fn(t, {takes}): ...\n",
        RESOURCES,
    )
    assert spec_of(made).is_cached == cached


def test_a_resource_of_some_environments_is_missing_in_the_others(step):
    made = step(
        DECLARED,
        "version: 1\nenvironments: {dev: {}, test: {storage: t, resources: {db: some.fakes:db}}}\n",
    )
    assert made.messages == (
        "stages/train/fit.py, line 4\n  step_fn: there is no resource 'db' in the environment dev\n"
        "  name it in catalog.yml, resources: {db: module:function}; with a default it is a "
        "parameter"
    )


def test_a_resource_is_known_where_every_environment_names_it(step):
    made = step(
        DECLARED,
        "version: 1\nenvironments: {dev: {resources: {db: a.b:c}}, "
        "x: {storage: x, resources: {db: d.e:f}}}\n",
    )
    assert made.messages == ""


# --- what dagstermill cannot do

STOCK = 'version: 1\npipelines: {stock: {select: "*", engine: dagstermill}}\n'


def test_dagstermill_runs_no_python_steps(step):
    made = step("op_parameters = {}\ndef step_fn(): ...\n", STOCK).register()
    assert made.messages == (
        "stages/train/fit.py\n  dagstermill runs no Python steps\n"
        "  make a notebook of it, or use the engine pipes"
    )


def test_dagstermill_runs_no_text_notebooks(step):
    made = step('# %% tags=["op_parameters"]\nop_parameters = {}\n', STOCK).register()
    assert made.messages == (
        "stages/train/fit.py\n  dagstermill runs no text notebooks\n"
        "  make a notebook of it: jupytext --to ipynb stages/train/fit.py, or use the engine pipes"
    )


def test_what_else_dagstermill_lacks_is_told_where_it_is_asked_for(make):
    make.catalog(STOCK).step(
        "train.fit",
        '{"map": {"n": [1, 2]},\n "timeout": 5,\n "outs": {"m": {"file": "m.json", "optional": '
        'True}},\n "checks": {"m": {"columns": {"a": {}}}}}',
        "n: int = 1",
    )
    make.register()
    assert [message.split("\n", 2)[:2] for message in make.messages.split("\n\n")] == [
        [
            "stages/train/fit.ipynb, cell 1 (op_parameters), line 1",
            "  map: dagstermill maps no notebooks",
        ],
        [
            "stages/train/fit.ipynb, cell 1 (op_parameters), line 2",
            "  timeout: dagstermill has no deadlines",
        ],
        [
            "stages/train/fit.ipynb, cell 1 (op_parameters), line 3",
            "  outs.m: to dagstermill no out is optional",
        ],
        [
            "stages/train/fit.ipynb, cell 1 (op_parameters), line 4",
            "  checks: dagstermill checks no outs",
        ],
    ]


def test_a_draft_may_ask_dagstermill_for_anything(make):
    make.catalog(STOCK).step("train.fit", '{"timeout": 5}')
    assert make.messages == ""


# --- dsml new --python


def test_a_new_one_is_checked_and_registered(step):
    made = step("x = 1\n")
    spec = new_python_step(
        made.root, "train/tree", ["table=load.raw.t"], ["model=m.joblib", "z=z.zip"]
    )
    assert (spec.path, list(spec.outs)) == ("stages/train/tree.py", ["model", "z"])
    assert (made.root / spec.path).read_text() == dedent(
        '''\
        """Tree.

        What this step does, and why.
        """

        op_parameters = {
            "description": "Tree.",
            "ins": {"table": "load.raw.t"},
            "outs": {"model": "m.joblib", "z": "z.zip"},
        }


        def step_fn(table, context):
            # What an experiment may change goes behind a *, with type, default and description:
            # def step_fn(
            #     *,
            #     n_rows: int = 1000,  # how many rows to read
            # ):
            # Each value below is a placeholder for what the step makes.
            context.outs.z.write_bytes(b"")  # write the file to this path yourself
            return {}, None


        if __name__ == "__main__":  # by hand: with the newest inputs; outs go to a scratch folder
            from dsml import run_by_hand

            run_by_hand(step_fn)
        '''
    )
    assert "train.tree" in load_project(made.root).registered


@pytest.mark.parametrize(
    ("ins", "outs", "said"),
    [
        (["t=load.raw.x"], [], "ins.t: no step publishes 'load.raw.x'"),
        (["context=load.raw.t"], [], "name the in otherwise: 'context' is given the context"),
        (["pd=load.raw.t"], ["o=o.csv"], "--in pd: the file imports something of that name"),
        ([], ["o=manifest.json"], "'manifest.json' is a name of the store's own"),
        (["1t=load.raw.t"], ["2o=x.zip"], "ins.1t: the name is no identifier"),
    ],
)
def test_a_new_one_that_cannot_be_is_refused(step, ins, outs, said):
    made = step("x = 1\n")
    before = made.text
    with pytest.raises(ProjectError) as caught:
        new_python_step(made.root, "train/tree", ins, outs)
    assert said in str(caught.value)
    assert (made.text, (made.root / "stages/train/tree.py").exists()) == (before, False)


def test_the_command_makes_one(step):
    done = step("x = 1\n").run("new", "train/tree", "--python", "--out", "m=m.json")
    assert (done.returncode, done.stdout) == (
        0,
        (
            "stages/train/tree.py is the step train.tree; it is checked and registered\n"
            "run it: dsml run --select train.tree\n"
        ),
    )


def test_it_is_either_a_script_with_cells_or_a_function(step):
    done = step("x = 1\n").run("new", "train/tree", "--python", "--text")
    assert done.returncode == 2
    assert "--text and --python contradict each other" in done.stderr
