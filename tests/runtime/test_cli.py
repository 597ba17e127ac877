"""The command line, as a user types it: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys

import pytest
from conftest import run_command
from rich.console import Console

from dsml.cli.results import show_artefacts, show_metrics
from dsml.store import Manifest, Output

from .projects import Step, start, write_project

STEPS = {
    "a.first": Step(
        "context.save('x', [n])\ncontext.log_metric('accuracy', 0.75)",
        outs={"x": "x.json"},
        parameters="n: int = 3  # how many\nname: str = 'a'",
    ),
    "a.fails": Step("print('so far')\n1 / 0"),
    "b.reads": Step("context.load('x')", ins={"x": "a.first.x"}),
    "b.waits": Step("", after=["a.fails"]),
}
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"a.first": {"n": 5}}}}
PIPELINES = {"everything": {}, "good": {"select": ["a.first", "b.reads"]}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "a project"
    return write_project(folder, STEPS, experiments=EXPERIMENTS, pipelines=PIPELINES)


def dsml(root, *arguments, **options):
    return run_command(
        sys.executable, "-m", "dsml", *arguments, cwd=root, check=False, timeout=60, **options
    )


@pytest.fixture(scope="module")
def failed(root):
    """A run in which a step fails, as it is told where the output is no terminal."""
    return dsml(root, "run")


@pytest.fixture(scope="module")
def passed(root, failed):
    """A run that passes, told as JSON."""
    settings = ("--set", "a.first.name=it's = ü", "--experiment", "wide")
    return dsml(root, "run", "good", "--json", *settings)


@pytest.fixture(scope="module")
def document(passed):
    assert passed.returncode == 0, passed.stdout + passed.stderr
    return json.loads(passed.stdout)


def run_id_of(done):
    return re.search(r", run ([0-9a-f-]{36})\n", done.stdout)[1]


# --- dsml run -------------------------------------------------------------------------------------


def test_a_run_is_told_in_plain_lines_where_the_output_is_no_terminal(failed):
    lines = failed.stdout.splitlines()
    run_id = run_id_of(failed)
    assert lines[0] == f"everything: 4 steps, experiment baseline, run {run_id}"
    log = f"artefacts/baseline/a/first/{run_id}/attempts/1/log.txt"
    assert any(re.fullmatch(rf"a\.first  passed  \d+\.\d s  {log}", line) for line in lines)
    assert "a.fails  running" in lines
    assert any(line.startswith("a.fails  failed  ") for line in lines)
    assert "\x1b" not in failed.stdout


def test_a_run_that_failed_says_why_and_where_to_look_and_exits_with_1(root, failed):
    run_id = run_id_of(failed)
    assert failed.returncode == 1
    kept = root / f"artefacts/baseline/a/fails/{run_id}/attempts/1/executed.ipynb"
    told = "stages/a/fails.ipynb, cell 5, line 2\n  ZeroDivisionError: division by zero\n"
    assert f"{told}  look at the executed notebook: {kept}" in failed.stderr
    assert f"run {run_id} failed; look into it: dsml show {run_id[:8]}" in failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout


def test_a_step_that_waits_for_the_failed_one_is_said_not_to_have_run(failed):
    assert "\nnot run: b.waits\n" in failed.stderr


def test_a_step_that_does_not_depend_on_the_failed_one_runs(failed):
    assert "b.reads  passed" in failed.stdout
    assert "b.waits  running" not in failed.stdout


def test_the_end_of_a_run_is_a_table_of_artefacts_and_figures(failed):
    run_id = run_id_of(failed)
    table = [line.split() for line in failed.stdout.splitlines()]
    assert ["a.first.x", "7", "B", f"artefacts/baseline/a/first/{run_id}/x.json"] in table
    assert ["a.first", "accuracy", "0.75"] in table


def test_a_run_is_told_as_one_json_document(root, passed, document):
    assert document["status"] == "success"
    assert (document["pipeline"], document["experiment"]) == ("good", "wide")
    steps = {step["step"]: step for step in document["steps"]}
    assert set(steps) == {"a.first", "b.reads"}
    assert steps["a.first"]["status"] == "passed"
    assert 0 < steps["a.first"]["seconds"] < 60
    (artefact,) = document["artefacts"]
    assert artefact["artefact"] == "a.first.x"
    assert json.loads((root / artefact["path"]).read_text()) == [5]
    assert document["metrics"] == {"a.first": {"accuracy": 0.75}}
    assert passed.stderr == ""


def test_what_a_run_sets_wins_over_the_experiment_and_the_other_defaults_stay(root, document):
    shown = json.loads(dsml(root, "show", document["run_id"], "--json").stdout)
    (first,) = [m for m in shown["manifests"] if m["step"] == "a.first"]
    assert first["parameters"] == {
        "n": {"value": 5, "source": "experiment"},
        "name": {"value": "it's = ü", "source": "run"},
    }


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["goood"], "there is no pipeline 'goood'", "did you mean 'good'?"),
        (["-e", "wyde"], "there is no experiment 'wyde'", "did you mean 'wide'?"),
        (["--select", "a.frist"], "'a.frist' is no stage and no step", "did you mean 'a.first'?"),
        (["--set", "a.frist.n=1"], "there is no step 'a.frist'", "did you mean 'a.first'?"),
        (["--set", "a.first.nam=1"], "there is no parameter 'nam'", "did you mean 'name'?"),
        (["--set", "a.first.n=many"], "a.first.n=many", "give a value of type int"),
        (
            ["--set", "n=1"],
            "--set n=1: is no setting",
            "write it as stage.notebook.parameter=value",
        ),
        (["good", "--set", "a.first.n=1", "--select", "b"], "not part of this run", "select it"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_exit_code_1(root, arguments, what, fix):
    done = dsml(root, "run", *arguments)
    assert done.returncode == 1
    assert what in done.stderr
    assert fix in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_all_mistakes_of_a_command_are_told_at_once(root):
    done = dsml(root, "run", "goood", "-e", "wyde", "--set", "a.first.nam=1")
    assert done.returncode == 1
    for kind in ("pipeline", "experiment", "parameter"):
        assert f"there is no {kind}" in done.stderr
    assert done.stderr.count("did you mean") == 3


@pytest.mark.parametrize(
    "arguments",
    [["run", "--workers", "0"], ["run", "--unknown"], ["runn"], ["runs", "--limit", "x"]],
)
def test_wrong_usage_ends_with_exit_code_2(root, arguments):
    done = dsml(root, *arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr


# --- dsml runs, dsml show -------------------------------------------------------------------------


def test_the_runs_are_listed_the_newest_first(root, failed, document):
    rows = [line.split() for line in dsml(root, "runs").stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == [document["run_id"][:8], run_id_of(failed)[:8]]
    assert rows[0][3:6] == ["good", "wide", "success"]
    assert rows[1][3:6] == ["everything", "baseline", "failure"]


def test_the_runs_can_be_cut_down_to_an_experiment_a_status_or_a_number(root, failed, document):
    def listed(*arguments):
        return [
            run["run_id"] for run in json.loads(dsml(root, "runs", "--json", *arguments).stdout)
        ]

    assert listed("--experiment", "wide") == [document["run_id"]]
    assert listed("--status", "failure") == [run_id_of(failed)]
    assert listed("-n", "1") == [document["run_id"]]


@pytest.mark.parametrize("name", ["latest", "prefix", "id"])
def test_a_run_is_shown_by_its_id_the_beginning_of_it_or_as_the_latest(root, document, name):
    run_id = document["run_id"]
    arguments = {"latest": [], "prefix": [run_id[:8]], "id": [run_id]}[name]
    done = dsml(root, "show", *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith(f"run {run_id}\n")
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["a.first", "n", "5", "experiment"] in words
    assert ["a.first", "accuracy", "0.75"] in words


def test_a_run_that_failed_is_shown_with_its_message(root, failed):
    done = dsml(root, "show", run_id_of(failed)[:8])
    assert done.returncode == 0
    assert "ZeroDivisionError: division by zero" in done.stdout
    words = [line.split() for line in done.stdout.splitlines()]
    assert any(row[:2] == ["a.fails", "failure"] for row in words)


def test_of_attempts_of_which_one_was_killed_the_last_is_shown(root, document, tmp_path):
    copy = shutil.copytree(root, tmp_path / "a copy", symlinks=True)
    (killed,) = copy.glob(f"artefacts/wide/a/first/{document['run_id']}/attempts/1")
    last = killed.rename(killed.with_name("2"))
    record = json.loads((last / "attempt.json").read_bytes())
    (last / "attempt.json").write_text(json.dumps(record | {"number": 2}), encoding="utf-8")
    words = [line.split() for line in dsml(copy, "show", document["run_id"]).stdout.splitlines()]
    path = last.relative_to(copy) / "executed.ipynb"
    assert ["a.first", "success", "2", str(path)] in words


def test_a_run_that_is_not_there_is_told_so(root, failed):
    done = dsml(root, "show", "zzz")
    assert done.returncode == 1
    assert done.stderr.startswith("dsml show\n  there is no run 'zzz'\n  ")
    assert "dsml runs lists them" in done.stderr


def test_before_the_first_run_there_is_nothing_to_list(tmp_path):
    root = write_project(tmp_path / "a project", {"a.b": Step()}, with_databases=False)
    assert dsml(root, "runs").stdout == "there are no runs yet: dsml run\n"


@pytest.mark.slow
def test_commands_that_are_started_at_once_in_a_fresh_project_do_not_spoil_its_history(tmp_path):
    root = write_project(tmp_path / "a project", {"a.b": Step()}, with_databases=False)
    started = [start(root, "runs") for _ in range(4)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert ended == [("there are no runs yet: dsml run\n", "", 0)] * 4


# --- all commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["run", "check", "register", "runs", "show"]),
        (["run", "-h"], ["--experiment", "--set", "--select", "--workers", "--json", "Run a pipe"]),
        (["check", "-h"], ["[PATH]...", "--json", "Check catalog"]),
        (["register", "-h"], ["[PATH]...", "register"]),
        (["runs", "-h"], ["--limit", "--experiment", "--status", "--json", "List the runs"]),
        (["show", "-h"], ["[RUN]", "--json", "latest"]),
    ],
)
def test_every_command_explains_itself(root, arguments, words):
    done = dsml(root, *arguments)
    assert done.returncode == 0
    assert [word for word in words if word not in done.stdout] == []


@pytest.mark.parametrize("command", ["run", "check", "register", "runs", "show"])
def test_outside_of_a_project_a_command_says_so(root, tmp_path, command):
    done = dsml(tmp_path, command, PYTHONPATH=str(root))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        str(tmp_path),
        "  neither this folder nor one above it has a catalog.yml",
        "  go to the folder of your project",
    ]


@pytest.mark.parametrize("command", ["run", "check", "register"])
def test_a_command_works_in_every_folder_of_a_project(root, command):
    arguments = {"run": ["run", "zzz"]}.get(command, [command])
    done = dsml(root / "stages" / "a", *arguments, PYTHONPATH=str(root))
    told = {"run": "no pipeline 'zzz'", "check": "no errors", "register": "up to date"}
    assert told[command] in done.stdout + done.stderr


def test_the_key_of_an_instance_is_no_markup(new_local):
    red = Manifest(
        step="a.fit",
        run_id="run-1",
        experiment="baseline",
        partition=None,
        parameters={},
        inputs={},
        outputs={"x": Output("x.json", 1, "0")},
        code="",
        git={},
        versions={},
        started="",
        ended="",
        attempts=1,
        executed="",
        metrics={"m": 1.0},
        instance="red",
    )
    console = Console(file=io.StringIO(), width=300)
    show_artefacts(console, new_local(), [red])
    show_metrics(console, [red])
    told = console.file.getvalue()
    assert "a.fit[red].x" in told
    assert "a.fit[red]  m" in told
