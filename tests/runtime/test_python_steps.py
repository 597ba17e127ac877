"""Python steps run: wired in the catalog or declared by themselves, in a run and by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from textwrap import dedent

import joblib
import nbformat
import pytest
from nbclient import NotebookClient

from dsml.contract.new_python import new_python_step
from dsml.contract.project import read_project
from dsml.contract.register import write_register
from dsml.orchestrate.debug import debug_notebook
from dsml.orchestrate.pipelines import asset_keys
from dsml.orchestrate.stock import get_dagstermill_op_params
from dsml.step.formats import FORMATS
from dsml.step.function import _outs_of
from dsml.store import StepRun, Store

from .conftest import execute
from .projects import Step, manifests_of, processes_of, start, write_project

FILES = {
    "a": "def step_fn(*, n: int = 3):\n    return n, n + 1\n",
    "b": "def step_fn():\n    print('I am B')\n",
    "c": """
        class Box:
            def __init__(self, value):
                self.value = value


        def step_fn(x1, x2):
            return {"x5": Box(x1 - x2), "x4": x1 + x2}


        if __name__ == "__main__":
            print("by hand:", step_fn(2, 1)["x4"])
    """,
    "d": "def step_fn(x5, boxed):\n    return 1000 + x5 + boxed.value\n",
}
STEPS = {
    "a": {"run": "stages/legacy/a.py", "outs": ["x1", "x2"]},
    "b": {"run": "stages/legacy/b.py", "after": ["a"]},
    "c": {
        "run": "stages/legacy/c.py",
        "ins": {"x1": "a.x1", "x2": "a.x2"},
        "after": ["a", "b"],
        "outs": ["x4", "x5"],
    },
    "d": {
        "run": "stages/legacy/d.py",
        "ins": {"x5": "c.x4", "boxed": "c.x5"},
        "outs": {"x6": "x6.json"},
    },
}
TWICE = {"a": {"run": "stages/legacy/a.py", "outs": ["one.json", "two.json"], "config": {"n": 7}}}


def write(root, files, stage="s"):
    """Write Python files into the folder of a stage."""
    folder = root / "stages" / stage
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text).lstrip("\n"), encoding="utf-8")


def published(ran, step, file, experiment="baseline"):
    return ran.root / "artefacts" / experiment / step.replace(".", "/") / ran.run_id / file


def by_python(root, *command, **environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- wired in the catalog


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """A project that holds only plain Python files, and one run of its first pipeline."""
    root = tmp_path_factory.mktemp("python steps") / "a project"
    write(root, FILES, "legacy")
    pipelines = {"legacy": {"steps": STEPS}, "twice": {"steps": TWICE}}
    experiments = {"baseline": {}, "wide": {"config": {"legacy.a": {"n": 10}}}}
    write_project(root, {}, pipelines=pipelines, experiments=experiments, pickles="*")
    return execute(root, job="legacy")


def test_data_passes_under_other_names(legacy):
    assert legacy.passed
    assert joblib.load(published(legacy, "legacy.c", "x4.joblib")) == 7
    assert json.loads(published(legacy, "legacy.d", "x6.json").read_text()) == 1006
    manifest = legacy.manifest("legacy.d")
    assert {name: found.path for name, found in manifest.inputs.items()} == {
        "x5": "legacy.c.x4",
        "boxed": "legacy.c.x5",
    }


def test_what_is_done_again_is_told_of_a_step_that_takes_no_parameters_any_more(root):
    write(root, {"a": FILES["a"]}, "legacy")
    write_project(root, {}, pipelines={"legacy": {"steps": {"a": STEPS["a"]}}})
    ran = by_python(root, "-m", "dsml", "run", "--json")
    write(root, {"a": "def step_fn():\n    return 3, 4\n"}, "legacy")
    done = by_python(root, "-m", "dsml", "reproduce", json.loads(ran.stdout)["run_id"])
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "dsml reproduce",
        "  legacy.a.n: there is no parameter 'n'",
        "  its step_fn has no keyword-only parameters with a default",
    ]


def test_a_step_waits_for_all_that_it_comes_after(legacy):
    def at(event, step):
        return legacy.times[event, f"legacy__{step}"]

    assert at("STEP_SUCCESS", "a") <= at("STEP_START", "b")
    assert at("STEP_SUCCESS", "b") <= at("STEP_START", "c")


def test_what_a_file_defines_is_pickled_under_the_name_of_the_file(legacy):
    pickled = published(legacy, "legacy.c", "x5.joblib").read_bytes()
    assert b"stages.legacy.c" in pickled


def test_a_step_without_outs_publishes_its_executed_notebook_alone(legacy):
    manifest = legacy.manifest("legacy.b")
    assert (manifest.outputs, manifest.inputs) == ({}, {})
    assert "I am B" in (legacy.attempt("legacy.b") / "log.txt").read_text()
    assert "by hand" not in (legacy.attempt("legacy.c") / "log.txt").read_text()


def test_the_executed_notebook_shows_the_source_and_what_it_was_given(legacy):
    file = legacy.attempt("legacy.c") / "executed.ipynb"
    notebook = nbformat.read(file, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    about, run = notebook.cells
    assert about.source.startswith("# legacy.c\n\n`stages/legacy/c.py`\n\n```python\nclass Box:")
    assert run.source.endswith("run_step('legacy.c', 'stages/legacy/c.py')")
    (shown,) = run.outputs
    assert "legacy.a.x1" in shown.data["text/plain"]
    assert "<h1" in file.with_suffix(".html").read_text()


def test_the_same_file_is_another_step_in_another_pipeline(legacy):
    ran = execute(legacy.root, job="twice")
    assert ran.passed
    assert json.loads(published(ran, "twice.a", "one.json").read_text()) == 7
    value = ran.manifest("twice.a").parameters["n"]
    assert (value.value, value.source) == (7, "default")


def test_an_experiment_and_a_run_set_parameters(legacy):
    only = {
        "job": "legacy",
        "experiment": "wide",
        "asset_selection": asset_keys([read_project(legacy.root).steps["legacy.a"]]),
    }
    wide = execute(legacy.root, **only)
    assert joblib.load(published(wide, "legacy.a", "x2.joblib", "wide")) == 11
    run = execute(legacy.root, **only, run_config={"ops": {"legacy__a": {"config": {"n": 20}}}})
    assert run.manifest("legacy.a").parameters["n"].source == "run"


@pytest.mark.slow
def test_the_command_runs_a_part_of_them_in_processes_of_their_own(legacy):
    command = start(legacy.root, "run", "legacy", "--select", "legacy.c+", "--force")
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert "legacy.d  passed" in out
    assert "legacy.a" not in out.split("Artefacts")[0]
    shown = start(legacy.root, "show", "latest", "--json").communicate(timeout=60)[0]
    assert list(json.loads(shown)["steps"]) == ["legacy.c", "legacy.d"]


def test_a_file_runs_as_a_plain_script_too(legacy):
    done = by_python(legacy.root, "stages/legacy/c.py", PYTHONPATH="")
    assert (done.stdout, done.returncode) == ("by hand: 3\n", 0)


def test_without_a_change_nothing_is_run_again(legacy):
    again = execute(legacy.root, job="legacy")
    assert again.passed
    assert again.manifest("legacy.c").cached
    assert not again.manifest("legacy.a").cached  # it reads nothing, so it may find something new


# --- declared by itself

MAKE = Step('context.save("x", [1, 2, n])', outs={"x": "x.json"}, parameters="n: int = 3")
USE = """
    op_parameters = {
        "description": "Use the numbers.",
        "ins": {"x": "a.make.x"},
        "outs": {
            "total": "total.json",
            "note": {"file": "note.txt", "optional": True},
            "raw": "raw.bin",
        },
    }


    def step_fn(x, factor=2, *, bonus: float = 0.5, label: str = "none", context):
        context.log_metric("n", len(x))
        context.outs.raw.write_bytes(bytes(x))
        return sum(x) * factor + bonus, None if label == "none" else label, None


    if __name__ == "__main__":
        from dsml import run_by_hand

        run_by_hand(step_fn)
"""


@pytest.fixture
def mixed(root):
    """A notebook, and a Python step that reads from it."""
    write(root, {"use": USE})
    return write_project(
        root,
        {"a.make": MAKE},
        experiments={"baseline": {}, "labelled": {"config": {"s.use": {"label": "a note"}}}},
    )


def test_one_that_declares_itself_runs_between_notebooks(mixed):
    ran = execute(mixed)
    assert ran.passed
    manifest = ran.manifest("s.use")
    assert json.loads(published(ran, "s.use", "total.json").read_text()) == 12.5
    assert published(ran, "s.use", "raw.bin").read_bytes() == b"\1\2\3"
    assert (list(manifest.outputs), manifest.metrics) == (["total", "raw"], {"n": 3.0})


def test_an_optional_out_is_written_when_it_is_returned(mixed):
    ran = execute(mixed, experiment="labelled")
    assert published(ran, "s.use", "note.txt", "labelled").read_text() == "a note"


def test_by_hand_it_reads_the_newest_inputs_and_writes_to_a_scratch_folder(mixed):
    execute(mixed)
    done = by_python(mixed, "stages/s/use.py")
    assert (done.returncode, done.stderr) == (0, "")
    scratch = Store.open(mixed, read_project(mixed).catalog).scratch("s.use", "baseline")
    assert done.stdout.splitlines() == [
        "INFO metric n = 3.0",
        f"INFO total is in {scratch / 'total.json'}",
        f"INFO raw is in {scratch / 'raw.bin'}",
    ]
    assert json.loads((scratch / "total.json").read_text()) == 12.5


def test_by_hand_before_its_inputs_are_there_it_says_what_to_run(mixed):
    done = by_python(mixed, "stages/s/use.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "stages/s/use.py, line 3\n"
        "  ins.x: 'a.make.x' has not been published in experiment 'baseline'\n"
        "  run it first: dsml run --experiment baseline --select +a.make\n"
    )


BY_HAND = """
    from dsml import run_by_hand


    def step_fn(*, n: int = 1):
        print("n is", n)


    run_by_hand(step_fn, *STEP)
"""


@pytest.mark.parametrize(
    ("named", "steps", "said"),
    [
        ("()", ["one"], "n is 5\n"),
        ('("w.two",)', ["one", "two"], "n is 5\n"),
        (
            "()",
            ["one", "two"],
            (
                "stages/s/f.py\n"
                "  w.one, w.two run this file, so it is unclear which of them is meant\n"
                '  write run_by_hand(step_fn, step="w.one")\n'
            ),
        ),
        (
            '("w.tow",)',
            ["one", "two"],
            "stages/s/f.py\n  'w.tow' is no step that runs this file\n  did you mean 'w.two'?\n",
        ),
        (
            "()",
            [],
            (
                "stages/s/f.py\n  no step runs this file\n"
                "  give it op_parameters, or wire it in catalog.yml: pipelines.<name>.steps\n"
            ),
        ),
    ],
)
def test_by_hand_a_file_that_is_wired_has_the_step_s_own_values(root, named, steps, said):
    write(root, {"f": dedent(BY_HAND).replace("*STEP", f"*{named}")})
    wired = {name: {"run": "stages/s/f.py", "config": {"n": 5}} for name in steps}
    write_project(root, {}, pipelines={"w": {"steps": wired} if wired else {}})
    done = by_python(root, "stages/s/f.py")
    assert done.stdout + done.stderr == said


@pytest.mark.slow
def test_a_fresh_one_of_every_format_runs_as_it_is(root):
    write_project(root, {"a.make": MAKE})
    outs = [f"o{i}=file{suffix}" for i, suffix in enumerate([*FORMATS, ".xlsx"])]
    new_python_step(root, "s/many", ["x=a.make.x"], outs)
    new_python_step(root, "s/one", [f"big=s.many.o{len(FORMATS)}"], ["p=p.csv"])
    new_python_step(root, "s/none")
    ran = execute(root)
    assert ran.passed
    assert len(ran.manifest("s.many").outputs) == len(FORMATS) + 1
    assert by_python(root, "stages/s/one.py").returncode == 0
    checked = by_python(root, "-m", "ruff", "check", "--line-length=100", "stages")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_one_may_be_mapped_and_what_it_makes_is_read_as_a_mapping_of_objects(root):
    write(
        root,
        {
            "each": """
                op_parameters = {"outs": {"square": "square.json"}, "map": {"n": [2, 3]}}


                def step_fn(*, n: int = 1):
                    return n * n
            """,
            "all": """
                op_parameters = {"ins": {"squares": "s.each.square"}, "outs": {"sum": "sum.json"}}


                def step_fn(squares):
                    return squares
            """,
        },
    )
    ran = execute(write_project(root, {}))
    assert ran.passed
    assert json.loads(published(ran, "s.all", "sum.json").read_text()) == {"2": 4, "3": 9}


def test_dagstermill_makes_no_op_of_it(mixed):
    with pytest.raises(Exception, match="dagstermill runs no Python steps"):
        get_dagstermill_op_params(mixed / "stages" / "s" / "use.py")


# --- what it returns


@pytest.mark.parametrize(
    ("returned", "names", "outs"),
    [
        (None, [], {}),
        (5, [], {}),
        ((1, 2), ["a"], {"a": (1, 2)}),
        ({"a": 1}, ["a"], {"a": {"a": 1}}),
        (None, ["a"], {}),
        ((1, 2), ["a", "b"], {"a": 1, "b": 2}),
        ((1, None), ["a", "b"], {"a": 1}),
        ({"b": 2}, ["a", "b"], {"b": 2}),
        (None, ["a", "b"], {}),
    ],
)
def test_what_is_returned_are_the_outs(returned, names, outs):
    assert _outs_of(returned, names) == outs


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((1, 2, 3), "step_fn returned 3 values for 2 outs: aa, bb"),
        ({"aaa": 1}, "step_fn returned 'aaa', and the step has no such out; did you mean 'aa'?"),
        (
            [1, 2],
            (
                "step_fn returned list: for several outs return a tuple in the order aa, bb, "
                "or a dict by name"
            ),
        ),
    ],
)
def test_what_are_no_outs_is_refused(returned, message):
    with pytest.raises(TypeError) as caught:
        _outs_of(returned, ["aa", "bb"])
    assert str(caught.value) == message


# --- failures


def failure_of(root, text, **catalog):
    """The first two lines of the message with which `s.f` fails."""
    write(root, {"f": text})
    ran = execute(write_project(root, {}, **catalog))
    assert not ran.passed
    return "\n".join(ran.failure("s.f").split("\n")[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            """
            import json


            def inner(text):
                return json.loads(text)


            def step_fn():
                try:
                    inner("{")
                except ValueError as error:
                    raise RuntimeError("see\\nFile /s/f.py:99") from error


            op_parameters = {}
            """,
            "stages/s/f.py, line 12\n  RuntimeError: see",
        ),
        (
            "import json\n\nop_parameters = {}\n\n\ndef step_fn():\n    json.loads('{')\n",
            (
                "stages/s/f.py, line 7\n"
                "  JSONDecodeError: Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)"
            ),
        ),
        (
            "op_parameters = {}\n\n\ndef step_fn():\n    assert 1 > 2\n",
            "stages/s/f.py, line 5\n  AssertionError",
        ),
        (
            "import no_such_module\n\nop_parameters = {}\n\n\ndef step_fn(): ...\n",
            "stages/s/f.py, line 1\n  ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            (
                'op_parameters = {"outs": {"a": "a.json", "b": "b.json"}}\n\n\n'
                "def step_fn():\n    return 1, 2, 3\n"
            ),
            "stages/s/f.py, line 4\n  TypeError: step_fn returned 3 values for 2 outs: a, b",
        ),
        (
            'op_parameters = {"outs": {"a": "a.json"}}\n\n\ndef step_fn(): ...\n',
            "stages/s/f.py, line 1\n  outs.a: the step ended without writing 'a.json'",
        ),
    ],
)
def test_a_failure_names_the_file_and_the_line(root, text, message):
    assert failure_of(root, text) == message


def test_a_failure_says_where_to_look(root):
    write(root, {"f": "op_parameters = {}\n\n\ndef step_fn():\n    1 / 0\n"})
    ran = execute(write_project(root, {}))
    file = ran.attempt("s.f") / "executed.ipynb"
    assert ran.failure("s.f") == (
        "stages/s/f.py, line 5\n  ZeroDivisionError: division by zero\n"
        f"  look at the executed notebook: {file}"
    )
    cell = nbformat.read(file, as_version=nbformat.NO_CONVERT).cells[1]
    assert [output.output_type for output in cell.outputs] == ["display_data", "error"]


def test_what_a_step_without_outs_returns_is_not_kept_and_it_says_so(root):
    write(root, {"f": "op_parameters = {}\n\n\ndef step_fn():\n    return 5\n"})
    ran = execute(write_project(root, {}))
    assert ran.passed
    assert "step_fn returned something, and the step has no outs: it is not kept" in ran.log


def test_at_the_deadline_it_is_ended_with_its_children(root):
    write(
        root,
        {
            "f": """
                import subprocess
                import time

                op_parameters = {"timeout": 2}


                def step_fn():
                    child = subprocess.Popen(["sleep", "60"])
                    print("child", child.pid, flush=True)
                    time.sleep(60)
            """
        },
    )
    started = time.monotonic()
    ran = execute(write_project(root, {}))
    assert time.monotonic() - started < 15
    assert ran.failure("s.f").startswith("stages/s/f.py\n  the deadline of 2 s has passed\n")
    assert "child" in (ran.attempt("s.f") / "log.txt").read_text()
    assert processes_of(root) == []


@pytest.mark.slow
def test_a_failed_one_is_gone_through_by_hand(legacy):
    """The copy reads what the attempt has read, and runs the file as it is by then."""
    file = legacy.root / "stages" / "legacy" / "d.py"
    good = file.read_text()
    file.write_text("def step_fn(x5, boxed):\n    raise ValueError(x5)\n")
    ran = execute(legacy.root, job="legacy")
    assert "stages/legacy/d.py, line 2\n  ValueError: 7\n" in ran.failure("legacy.d")
    project = read_project(legacy.root)
    store = Store.open(legacy.root, project.catalog)
    (attempt,) = store.attempts(StepRun("legacy.d", "baseline", ran.run_id))
    copy, _ = debug_notebook(project, attempt)
    assert copy.name.startswith("legacy.d.")
    assert copy.name.endswith(".debug.ipynb")
    file.write_text(good)
    notebook = nbformat.read(copy, as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(legacy.root)}
    client = NotebookClient(notebook, resources={"metadata": {"path": str(copy.parent)}})
    client.execute(env=environment)
    copy.unlink()
    scratch = store.scratch("legacy.d", "baseline")
    assert json.loads((scratch / "x6.json").read_text()) == 1006


# --- resources

SHOP = """
    import contextlib
    from pathlib import Path

    LOG = Path(__file__).with_name("log.txt")


    def note(text):
        with LOG.open("a") as stream:
            stream.write(f"{text}\\n")


    def database():
        note("open database")
        try:
            yield "rows"
        except ValueError as error:
            note(f"rolled back {error}")  # and swallowed
        finally:
            note("close database")


    @contextlib.contextmanager
    def lock(context):
        note(f"lock {context.step}")
        yield "key"
        note("unlock")


    class Client:
        def __enter__(self):
            note("enter client")
            return self

        def __exit__(self, *error):
            note("leave client")


    def plain():
        return {"a": 1}


    def broken():
        raise OSError("no route")


    def fake():
        return "fake rows"
"""
NAMED = {
    name: f"shop.resources:{factory}"
    for name, factory in {
        "db": "database",
        "lock": "lock",
        "client": "Client",
        "plain": "plain",
        "broken": "broken",
    }.items()
}


@pytest.fixture
def shop(root):
    """Run one step that takes resources; returns the run, and what the resources have noted."""

    def run(text):
        package = root / "shop"
        package.mkdir(parents=True)
        (package / "resources.py").write_text(dedent(SHOP))
        write(root, {"f": text})
        environments = {
            "dev": {},
            "test": {"storage": "build/test", "resources": {"db": "shop.resources:fake"}},
        }
        write_project(root, {}, resources=NAMED, environments=environments)
        ran = execute(root)
        log = package / "log.txt"
        return ran, log.read_text().splitlines() if log.exists() else []

    return run


TAKING = """
    op_parameters = {"outs": {"got": "got.json"}}


    def step_fn(*, n: int = 1, db, lock, client, plain):
        return [n, db, lock, type(client).__name__, plain]
"""


def test_resources_are_opened_by_name_and_closed_in_turn(shop):
    ran, noted = shop(TAKING)
    got = json.loads(published(ran, "s.f", "got.json").read_text())
    assert got == [1, "rows", "key", "Client", {"a": 1}]
    assert noted == [
        "open database",
        "lock s.f",
        "enter client",
        "leave client",
        "unlock",
        "close database",
    ]


def test_a_resource_is_closed_after_a_failure_and_cannot_hide_it(shop):
    ran, noted = shop(
        "op_parameters = {}\n\n\ndef step_fn(*, db, client):\n    raise ValueError('bad row')\n"
    )
    assert ran.failure("s.f").startswith("stages/s/f.py, line 5\n  ValueError: bad row\n")
    assert noted == [
        "open database",
        "enter client",
        "leave client",
        "rolled back bad row",
        "close database",
    ]


def test_a_resource_that_cannot_be_made_is_named(shop):
    ran, noted = shop("op_parameters = {}\n\n\ndef step_fn(*, db, broken): ...\n")
    assert ran.failure("s.f").startswith(
        "stages/s/f.py, line 4\n"
        "  ResourceError: 'broken' (shop.resources:broken): OSError: no route\n"
    )
    assert noted == ["open database", "close database"]


def test_an_environment_replaces_a_resource(shop, monkeypatch):
    monkeypatch.setenv("DSML_ENV", "test")
    ran, noted = shop(TAKING)
    (got,) = (ran.root / "build" / "test").glob("*/s/f/*/got.json")
    assert json.loads(got.read_text())[1] == "fake rows"
    assert "open database" not in noted


def test_a_test_calls_the_function_itself_with_whatever_it_likes(root):
    write(root, {"f": TAKING})
    namespace = {}
    exec((root / "stages" / "s" / "f.py").read_text(), namespace)
    given = {"db": "mine", "lock": None, "client": None, "plain": 2}
    assert namespace["step_fn"](**given) == [1, "mine", None, "NoneType", 2]


# --- the register


def test_a_step_that_is_registered_and_then_wired_is_wired(root):
    write(root, {"f": "op_parameters = {}\n\n\ndef step_fn(): ...\n"})
    write_project(root, {}, pipelines={"w": {"steps": {"f": {"run": "stages/s/f.py"}}}})
    write_register(root)
    assert list(read_project(root).registered) == ["s.f", "w.f"]
    assert execute(root, job="w").passed
    assert list(manifests_of(root)) == ["w.f"]
