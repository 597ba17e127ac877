"""One attempt at a notebook, on real kernels: what it gets, what is kept, how it can go wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import nbformat
import pytest

from dsml.contract.catalog import read_catalog
from dsml.store import Attempt, StepRun, Store

from .conftest import execute
from .projects import Step, write_project

# --- what a notebook gets -------------------------------------------------------------------------

LOOK = """
import os, sys
context.save("seen", {
    "step": context.step,
    "run": context.run_id,
    "experiment": context.experiment,
    "partition": context.partition_key,
    "retry": context.retry_number,
    "config": dict(context.config),
    "sources": dict(context.setting.sources),
    "variables": [n, rate, name, flag, nothing, items],
    "folder": os.getcwd(),
    "heavy": [m for m in ("dagster", "papermill", "sqlalchemy") if m in sys.modules],
    "helper": __import__("helper").VALUE,
})
context.log.info("a line of the log")
context.log_metric("accuracy", 0.75)
context.log_metric("broken", float("nan"))
context.log_param("rows", 7)
context.log_text("note", "all is well")
print("a line that was printed")
"""
PARAMETERS = """n: int = 3  # how many
rate: float = 0.5
name: str = "ü 'quoted' \\"twice\\""
flag: bool = True
nothing: int | None = None
items: list = [1, "two", {"three": None}]"""
GIVEN = {"rate": 2.5, "items": ["it's", {"a": [None, False]}], "nothing": 4}


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A step that writes down what it sees: the experiment sets `name` and `rate`, the run more."""
    look = Step(LOOK, outs={"seen": "seen.json"}, parameters=PARAMETERS)
    root = write_project(
        tmp_path_factory.mktemp("looked") / "a project",
        {"a.look": look},
        experiments={"wide": {"config": {"a.look": {"name": "from the experiment", "rate": 1.5}}}},
    )
    (root / "helper.py").write_text("VALUE = 'imported from the root of the project'")
    source = root / "stages" / "a" / "look.ipynb"
    before = source.read_bytes()
    config = {"ops": {"a__look": {"config": GIVEN}}}
    ran = execute(root, experiment="wide", run_config=config)
    assert ran.passed
    assert source.read_bytes() == before
    return ran


@pytest.fixture(scope="module")
def seen(looked):
    return json.loads(
        (looked.attempt("a.look", "wide").parents[1] / "seen.json").read_text(encoding="utf-8")
    )


def test_the_context_tells_step_run_and_experiment(looked, seen):
    told = (seen["step"], seen["run"], seen["experiment"], seen["partition"], seen["retry"])
    assert told == ("a.look", looked.run_id, "wide", None, 0)


def test_the_run_wins_over_the_experiment_and_the_experiment_over_the_default(seen):
    assert seen["config"] == {
        "n": 3,
        "rate": 2.5,
        "name": "from the experiment",
        "flag": True,
        "nothing": 4,
        "items": ["it's", {"a": [None, False]}],
    }
    assert seen["sources"] == {
        "n": "default",
        "rate": "run",
        "name": "experiment",
        "flag": "default",
        "nothing": "run",
        "items": "run",
    }


def test_the_variables_of_the_notebook_are_its_parameters(seen):
    assert seen["variables"] == list(seen["config"].values())


def test_the_manifest_records_every_parameter_and_its_source(looked, seen):
    recorded = looked.manifest("a.look").parameters
    assert {name: value.value for name, value in recorded.items()} == seen["config"]
    assert {name: value.source for name, value in recorded.items()} == seen["sources"]


def test_a_cell_below_the_parameters_holds_what_was_given_and_nothing_else(looked):
    executed = nbformat.read(looked.attempt("a.look", "wide") / "executed.ipynb", as_version=4)
    tags = [cell.metadata.get("tags", []) for cell in executed.cells]
    assert tags[:5] == [[], ["op_parameters"], ["parameters"], ["injected-parameters"], []]
    variables = {}
    exec(executed.cells[3].source, variables)
    variables.pop("__builtins__")
    assert variables == GIVEN | {"name": "from the experiment"}


def test_the_folder_of_the_notebook_is_its_working_directory(looked, seen):
    assert Path(seen["folder"]) == looked.root / "stages" / "a"


def test_a_notebook_imports_the_modules_of_the_project(seen):
    assert seen["helper"] == "imported from the root of the project"


def test_the_kernel_imports_no_dagster(seen):
    assert seen["heavy"] == []


def test_what_is_printed_and_logged_is_in_the_log_of_the_step(looked):
    assert "a line that was printed" in looked.log
    assert "a line of the log" in looked.log
    kept = (looked.attempt("a.look", "wide") / "log.txt").read_text()
    assert "a line that was printed" in kept


def test_one_line_a_cell_says_where_the_step_is(looked):
    lines = re.findall(r"cell (\d+)/(\d+), \d+\.\d s", looked.log)
    assert lines == [("2", "5"), ("3", "5"), ("4", "5"), ("5", "5")]


def test_what_was_logged_is_in_the_manifest_and_beside_the_notebook(looked):
    manifest = looked.manifest("a.look")
    assert manifest.metrics == {"accuracy": 0.75, "broken": "nan"}
    assert manifest.logged == {"rows": 7}
    kept = looked.attempt("a.look", "wide") / "logged" / "note.txt"
    assert kept.read_text() == "all is well"


def test_the_manifest_records_code_times_and_the_executed_notebook(looked):
    manifest = looked.manifest("a.look")
    assert re.fullmatch("[0-9a-f]{64}", manifest.code)
    assert manifest.started < manifest.ended
    assert manifest.attempts == 1
    assert (looked.attempt("a.look", "wide").parents[1] / manifest.executed).is_file()
    assert {"python", "platform"} <= manifest.versions.keys()


def test_an_attempt_that_passed_is_kept_with_its_record(looked):
    folder = looked.attempt("a.look", "wide")
    names = {path.name for path in folder.iterdir()}
    assert names == {"attempt.json", "executed.ipynb", "executed.html", "log.txt", "logged"}
    record = Attempt.from_json((folder / "attempt.json").read_bytes())
    assert (record.status, record.error, record.number) == ("passed", "", 1)
    assert "a line that was printed" in (folder / "executed.html").read_text()


# --- how it can go wrong --------------------------------------------------------------------------

# Step, its cells, and the message without the line that names the executed notebook.
WRONG = {
    "raises": (
        ["x = 1", "\n\nprint('before')\ndef f():\n    raise ValueError('bad\\nthing')\nf()"],
        "cell 6, line 6\n  ValueError: bad\n  thing",
    ),
    "syntax": ("x = 1\ny = = 2", "cell 5, line 2\n  SyntaxError: invalid syntax"),
    "silent": ("raise KeyboardInterrupt", "cell 5, line 1\n  KeyboardInterrupt"),
    "exits": ("import sys\nsys.exit(3)", "cell 5\n  SystemExit: 3"),
    "leaves": ("import os\nos._exit(3)", "cell 5\n  the kernel died with exit code 3"),
    "killed": (
        # a kernel sends what is printed every 0.2 s
        "import os, time\nprint('last words')\ntime.sleep(1)\nos.kill(os.getpid(), 9)",
        "cell 5\n  the kernel died of signal SIGKILL; was the memory used up?",
    ),
    "segfaults": (
        "import ctypes\nctypes.string_at(0)",
        "cell 5\n  the kernel died of signal SIGSEGV",
    ),
    "asks": ("input('name? ')", "cell 5, line 1\n  StdinNotImplementedError"),
    "misspells": ("context.config.n", "AttributeError: the step has no parameter 'n'; there are"),
}
EVIDENCE = {"attempt.json", "executed.ipynb", "executed.html", "log.txt"}


@pytest.fixture(scope="module")
def went_wrong(tmp_path_factory):
    """A run whose steps go wrong in all sorts of ways, and a few that don't."""
    steps = {f"f.{name}": Step(work) for name, (work, _) in WRONG.items()}
    steps["g.waits"] = Step("", after=["f.raises"])
    steps["g.passes"] = Step(
        "context.save('x', 1)\ncontext.outs.x.with_name('other').write_text('')",
        outs={"x": "x.json"},
    )
    steps["g.reads"] = Step("context.load('x')", ins={"x": "g.passes.x"})
    steps["f.forgets"] = Step(
        "context.save('here', '')", outs={"here": "h.txt", "x": "x.json", "y": "y.csv"}
    )
    root = write_project(tmp_path_factory.mktemp("wrong") / "a project", steps)
    return execute(root)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_step_that_goes_wrong_names_the_cell_and_the_line(went_wrong, name):
    told = went_wrong.failure(f"f.{name}")
    assert told.startswith(f"stages/f/{name}.ipynb, cell ")
    assert WRONG[name][1] in told
    kept = went_wrong.attempt(f"f.{name}") / "executed.ipynb"
    assert told.endswith(f"\n  look at the executed notebook: {kept}")
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_the_evidence_of_a_step_that_went_wrong_is_kept(went_wrong, name):
    folder = went_wrong.attempt(f"f.{name}")
    assert {path.name for path in folder.iterdir()} == EVIDENCE
    record = Attempt.from_json((folder / "attempt.json").read_bytes())
    assert (record.status, record.error) == ("failed", went_wrong.failure(f"f.{name}"))
    assert nbformat.read(folder / "executed.ipynb", as_version=4).cells[3].execution_count == 2


@pytest.mark.slow
def test_what_a_kernel_printed_before_it_died_is_kept(went_wrong):
    for name, words in (("killed", "last words"), ("raises", "before")):
        folder = went_wrong.attempt(f"f.{name}")
        assert words in (folder / "executed.ipynb").read_text()
        assert words in (folder / "log.txt").read_text()


@pytest.mark.slow
def test_every_out_that_is_missing_is_told_with_the_line_that_declares_it(went_wrong):
    assert went_wrong.failure("f.forgets").splitlines() == [
        "stages/f/forgets.ipynb, cell 2 (op_parameters), line 4",
        "  outs.x: the step ended without writing 'x.json'",
        '  write it with context.save("x", ...), or to the path context.outs.x',
        "",
        "stages/f/forgets.ipynb, cell 2 (op_parameters), line 4",
        "  outs.y: the step ended without writing 'y.csv'",
        '  write it with context.save("y", ...), or to the path context.outs.y',
    ]
    assert {path.name for path in went_wrong.attempt("f.forgets").iterdir()} == EVIDENCE


@pytest.mark.slow
def test_a_step_that_went_wrong_publishes_nothing(went_wrong):
    published = {path.parents[1].name for path in went_wrong.root.rglob("manifest.json")}
    assert published == {"passes", "reads"}
    assert not list(went_wrong.root.rglob("h.txt"))


@pytest.mark.slow
def test_only_the_steps_that_depend_on_a_failed_one_are_left_out(went_wrong):
    assert not went_wrong.passed
    ended = {event.step_key for event in went_wrong.result.all_events if event.is_step_success}
    assert ended == {"g__passes", "g__reads"}
    started = {event.step_key for event in went_wrong.result.all_events if event.is_step_start}
    assert "g__waits" not in started


@pytest.mark.slow
def test_a_file_that_is_no_out_is_not_kept_and_the_log_says_so(went_wrong):
    assert "'other' was written but is no out of the step: it is not kept" in went_wrong.log
    assert not list(went_wrong.root.rglob("other"))


@pytest.mark.slow
def test_no_staging_is_left_of_a_run_in_which_steps_went_wrong(went_wrong):
    assert not list(went_wrong.root.glob("artefacts/.staging"))


def test_an_input_that_nobody_has_published_is_told_before_a_kernel_is_started(root):
    write_project(
        root,
        {
            "a.make": Step("context.save('x', 1)", outs={"x": "x.json"}),
            "a.use": Step("", ins={"x": "a.make.x"}),
        },
        pipelines={"half": {"select": "a.use"}},
    )
    ran = execute(root, job="half")
    assert ran.failure("a.use").splitlines() == [
        "stages/a/use.ipynb, cell 2 (op_parameters), line 3",
        "  ins.x: 'a.make.x' has not been published in experiment 'baseline'",
        "  no pipeline runs a.make: add it to pipelines.half.select in catalog.yml",
    ]
    assert not list(root.glob("artefacts/**/executed.ipynb"))


# --- the kernel -----------------------------------------------------------------------------------


def test_exit_hooks_of_the_notebook_run_before_its_outs_are_checked(run_step):
    work = "import atexit\natexit.register(lambda: context.save('x', 'written at the end'))"
    ran = run_step(work, outs={"x": "x.json"})
    assert ran.passed
    assert list(ran.root.rglob("x.json"))


def test_processes_that_a_notebook_leaves_behind_end_with_its_kernel(run_step):
    work = "import subprocess\nprint('pid', subprocess.Popen(['sleep', '60']).pid)"
    ran = run_step(work)
    assert ran.passed
    pid = int(re.search(r"pid (\d+)", ran.log)[1])
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_a_notebook_that_prints_very_much_does_not_flood_the_log(run_step):
    ran = run_step("print(('y' * 99 + '\\n') * 5000)\nprint('the end')")
    assert ran.passed
    assert len(ran.log) < 300_000
    assert "the rest is in log.txt" in ran.log
    kept = (ran.attempt("a.b") / "log.txt").read_text()
    assert kept.count("y" * 99) == 5000
    assert "the end" in kept


def test_colours_and_signs_of_all_kinds_pass_through(run_step):
    text = "\x1b[31mrot\x1b[0m ü 数 🎉"
    ran = run_step(f"print({text!r})\ncontext.save('x', {text!r})", outs={"x": "ü.txt"})
    assert ran.passed, ran.log
    (file,) = ran.root.rglob("ü.txt")
    assert file.read_text(encoding="utf-8") == text
    assert "数 🎉" in (ran.attempt("a.b") / "executed.ipynb").read_text(encoding="utf-8")


def test_a_rich_output_is_in_the_executed_notebook(run_step):
    ran = run_step("import pandas as pd\npd.DataFrame({'column': [1]})")
    assert "<th>column</th>" in (ran.attempt("a.b") / "executed.html").read_text()


def test_outputs_that_were_committed_are_not_taken_for_those_of_the_run(root):
    write_project(root, {"a.b": Step(["", "print('now')"])})
    file = root / "stages" / "a" / "b.ipynb"
    document = json.loads(file.read_text())
    old = {"output_type": "stream", "name": "stdout", "text": ["of last year"]}
    document["cells"][-1]["outputs"] = [old]
    file.write_text(json.dumps(document))
    ran = execute(root)
    assert "of last year" not in (ran.attempt("a.b") / "executed.ipynb").read_text()
    assert "of last year" in file.read_text()


def test_variables_of_the_environment_reach_the_notebook(run_step, monkeypatch):
    monkeypatch.setenv("SOME_SETTING", "from outside")
    ran = run_step("import os\nprint(os.environ['SOME_SETTING'])")
    assert "from outside" in ran.log
    assert "from outside" not in (ran.attempt("a.b") / "attempt.json").read_text()


def test_only_the_given_parameters_are_written_into_the_executed_notebook(run_step, monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "s3cr3t")
    ran = run_step("import os\nassert os.environ['SOME_SECRET']")
    assert ran.passed
    files = [path for path in (ran.root / "artefacts").rglob("*") if path.is_file()]
    assert files
    assert all(b"s3cr3t" not in path.read_bytes() for path in files)
    tags = [c.metadata.get("tags") for c in read(ran, "a.b").cells]
    assert ["injected-parameters"] not in tags


def read(ran, step):
    return nbformat.read(ran.attempt(step) / "executed.ipynb", as_version=4)


# --- storage that is no folder --------------------------------------------------------------------


def test_a_run_with_its_storage_in_memory_works_from_end_to_end(root):
    make = Step(
        "context.save('x', [1, 2])\ncontext.log_text('note', 'kept')",
        outs={"x": "x.json"},
    )
    use = Step(
        "context.save('y', [*context.load('x'), 3])", ins={"x": "a.make.x"}, outs={"y": "y.json"}
    )
    write_project(
        root,
        {"a.make": make, "a.use": use},
        storage=f"memory://run-{os.getpid()}",
        pipelines={"all": {"executor": "in_process"}},
    )
    ran = execute(root)
    assert ran.passed
    store = Store.open(root, read_catalog(root, []))
    address = StepRun("a.use", "baseline", ran.run_id)
    manifest = store.manifest(address)
    assert json.loads(store.path(address, "y.json").read_bytes()) == [1, 2, 3]
    assert manifest.inputs["x"].path == "a.make.x"
    assert manifest.inputs["x"].run_id == ran.run_id
    assert store.path(address, manifest.executed).exists()
    again = execute(root, job="all")
    assert store.newest("a.use", "baseline").run_id == again.run_id
    assert not list(root.glob(".dagster/work/dev/.staging"))
    assert not (root / "artefacts").exists()
