"""Runs side by side: which columns, which runs, how it looks as table, page and picture."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser

import matplotlib.image
import pytest
from click.testing import CliRunner
from rich.console import Console

import dsml.cli.compare
import dsml.cli.runs  # noqa: F401 - they add their commands
from dsml.cli import cli
from dsml.cli.comparison_table import show
from dsml.contract.problem import ProjectError
from dsml.evidence.comparison import Column, Row, as_json, compare
from dsml.evidence.comparison_plot import plot
from dsml.evidence.comparison_view import grid_of, page
from dsml.evidence.conditions import meeting, read_condition
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.launch import open_instance

from .projects import Step, write_project

STARTED = datetime(2026, 3, 1, 12, 0, 0).timestamp()  # noqa: DTZ001 - shown in local time


@dataclass(frozen=True)
class Run:
    run_id: str
    experiment: str = "baseline"
    status: str = "SUCCESS"
    ended: float | None = STARTED + 12.5
    pipeline: str = "training"
    partition: str | None = None
    started: float | None = STARTED


def row(run_id, parameters=(), metrics=(), facts=(), **of_run):
    given = (("parameter", parameters), ("fact", facts), ("metric", metrics))
    values = {
        Column(kind, *label.rsplit(".", 1)): value
        for kind, named in given
        for label, value in dict(named).items()
    }
    return Row(Run(run_id * 8, **of_run), values)


NEW = row("a", {"train.fit.n": 9, "train.fit.kind": "rbf"}, {"test.all.accuracy": 0.75})
OLD = row("b", {"train.fit.n": 3, "train.fit.kind": "rbf"}, {"test.all.accuracy": 0.5})
BEST = row(
    "c", {"train.fit.n": 9, "train.fit.kind": "rbf"}, {"test.all.accuracy": 0.875}, experiment="w"
)


def ids(comparison):
    return "".join(row.run.run_id[0] for row in comparison.rows)


def labels(columns):
    return [column.label for column in columns]


def shown(comparison, width=200):
    stream = io.StringIO()
    show(Console(file=stream, width=width), grid_of(comparison))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


# --- which columns --------------------------------------------------------------------------------


def test_parameters_come_before_facts_and_these_before_metrics_those_of_a_step_together():
    first = row("a", {"a.b.p": 1}, {"a.b.m": 1, "c.d.m": 1}, {"c.d.f": 1})
    second = row("b", {"a.b.p": 2, "c.d.q": 1}, {"a.b.late": 1})
    expected = ["a.b.p", "c.d.q", "c.d.f", "a.b.m", "a.b.late", "c.d.m"]
    assert labels(compare([first, second]).columns) == expected


def test_what_is_the_same_in_all_runs_is_told_apart():
    found = compare([NEW, OLD])
    assert labels(found.same) == ["train.fit.kind"]
    assert labels(found.different) == ["train.fit.n", "test.all.accuracy"]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ("1", 1), (None, "None")])
def test_values_of_two_types_are_two_values(one, other):
    assert not compare([row("a", {"a.b.p": one}), row("b", {"a.b.p": other})]).same


def test_what_one_run_does_not_have_is_different():
    found = compare([row("a", {"a.b.p": None}), row("b")])
    assert labels(found.different) == ["a.b.p"]


def test_of_one_run_nothing_is_left_out():
    assert not compare([NEW]).same


def test_only_the_metrics_that_are_asked_for_are_compared():
    each = {"a.b[1].loss": 1, "a.b[2].loss": 2, "a.b[1].rows": 3, "c.d.loss": 4}
    rows = [row("a", {"a.b.p": 1}, each)]
    in_full, of_step, by_name = (
        labels(compare(rows, metrics=[name]).columns)
        for name in ("a.b[2].loss", "a.b.loss", "loss")
    )
    assert in_full == ["a.b.p", "a.b[2].loss"]
    assert of_step == ["a.b.p", "a.b[1].loss", "a.b[2].loss"]
    assert by_name == ["a.b.p", "a.b[1].loss", "a.b[2].loss", "c.d.loss"]


@pytest.mark.parametrize("option", ["metrics", "sort"])
def test_an_unknown_metric_is_answered_with_the_nearest(option):
    given = {"metrics": ["acuracy"], "sort": "acuracy"}[option]
    with pytest.raises(ProjectError) as refused:
        compare([NEW], **{option: given})
    name = option.removesuffix("s")
    assert str(refused.value) == (
        f"dsml compare\n  --{name} acuracy: none of these runs has such a metric\n"
        "  did you mean 'accuracy'?"
    )


# --- in which order -------------------------------------------------------------------------------


def test_runs_are_sorted_by_a_metric_and_those_without_it_come_last():
    without, broken = row("d"), row("e", {}, {"test.all.accuracy": "nan"})
    rows = [without, NEW, broken, OLD, BEST]
    assert ids(compare(rows)) == "daebc"
    assert ids(compare(rows, sort="accuracy")) == "cabde"
    assert ids(compare(rows, sort="test.all.accuracy", ascending=True)) == "bacde"


def test_a_name_of_several_metrics_is_nothing_to_sort_by():
    with pytest.raises(ProjectError) as refused:
        compare([row("a", {}, {"a.b[1].loss": 1, "a.b[2].loss": 2})], sort="loss")
    assert str(refused.value) == (
        "dsml compare\n  --sort loss: that is the name of several metrics\n"
        "  write one of a.b[1].loss, a.b[2].loss"
    )


# --- as a table -----------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_run_and_marks_what_is_not_as_in_the_first():
    assert shown(compare([NEW, OLD, BEST])) == [
        "                                                   train.fit  test.all",
        "run       started              experiment  took    n          accuracy",
        "aaaaaaaa  2026-03-01 12:00:00  baseline    12.5 s  9              0.75",
        "bbbbbbbb  2026-03-01 12:00:00  baseline    12.5 s  3 *             0.5",
        "cccccccc  2026-03-01 12:00:00  w           12.5 s  9             0.875",
        "* not as in the first run",
        "",
        "The same in all of them",
        "pipeline        training",
        "status          success",
        "train.fit.kind  rbf",
    ]


def test_on_a_narrow_terminal_each_value_has_a_line():
    more = {"test.all.accuracy": 0.5, "test.all.loss": 1.25, "test.per_class.f1": 1e-7}
    assert shown(compare([NEW, row("b", {"train.fit.n": 3}, more)]), width=70)[:8] == [
        "                run       aaaaaaaa             bbbbbbbb",
        "                started   2026-03-01 12:00:00  2026-03-01 12:00:00",
        "                took      12.5 s               12.5 s",
        "train.fit       n         9                    3 *",
        "train.fit       kind      rbf                  *",
        "test.all        accuracy  0.75                 0.5",
        "test.all        loss                           1.25",
        "test.per_class  f1                             1e-07",
    ]


def test_a_table_that_fits_in_no_way_is_not_cut():
    lines = shown(compare([NEW, OLD, BEST]), width=30)
    assert lines[3] == "bbbbbbbb  2026-03-01 12:00:00  baseline    12.5 s  3 *             0.5"


def test_a_long_value_is_cut_and_one_of_several_lines_is_put_on_one():
    long = row("b", {"a.b.p": "x" * 50, "a.b.q": "one\n two"}, started=None, status="FAILURE")
    lines = shown(compare([row("a"), long]))
    assert (
        lines[2].split()
        == ["aaaaaaaa", "2026-03-01", "12:00:00", "success", "12.5", "s", "*", "*"][:6]
    )
    assert lines[3].split("  ")[0] == "bbbbbbbb"
    assert f"{'x' * 39}… *  one two *" in lines[3]


def test_lists_numbers_and_markup_are_shown_as_they_are():
    odd = row("a", {"a.b.p": [100, "x"], "a.b.q": "[red]", "a.b.r": 0.1 + 0.2, "a.b.s": None})
    assert shown(compare([odd]))[2].split("  ")[-4:] == ["100, x", "[red]", "0.3", "None"]


# --- as a page, as a picture, as JSON -------------------------------------------------------------


class Cells(HTMLParser):
    """The texts of a page's cells, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)

    def handle_starttag(self, tag, _):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip()


HOSTILE = "<script>alert(1)</script> & \"'"


def test_the_page_shows_every_value_and_escapes_it():
    named = row("b", {f"{HOSTILE}.{HOSTILE}": HOSTILE}, {}, {}, experiment=HOSTILE)
    found = Cells(page(compare([NEW, named]), HOSTILE))
    assert "script" not in found.tags
    assert HOSTILE in found.cells
    assert f"{HOSTILE}{HOSTILE}" in found.cells
    assert f"{HOSTILE} *" in found.cells


def test_the_page_needs_nothing_from_outside_and_says_what_is_the_same():
    text = page(compare([NEW, OLD]), "digits")
    found = Cells(text)
    assert not {"link", "img", "iframe"} & set(found.tags)
    assert "://" not in text
    assert "<title>digits: 2 runs compared</title>" in text
    same = found.cells.index("train.fit.kind")
    assert found.cells[same + 1] == "rbf"
    assert "The same in all runs" not in page(compare([NEW]), "digits")


def test_the_picture_has_a_panel_for_each_metric(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    plot(compare([NEW, OLD, BEST]), one)
    more = row("d", {}, {"test.all.accuracy": 1, "a.b[1].loss": 1, "a.b[2].loss": "nan"})
    plot(compare([NEW, more]), two)
    assert one.read_bytes().startswith(b"\x89PNG")
    height, width, _ = matplotlib.image.imread(one).shape
    assert matplotlib.image.imread(two).shape[:2] == (height, 2 * width)
    assert matplotlib.image.imread(one)[..., :3].min() < 0.5  # something is drawn


@pytest.mark.parametrize(("metrics", "panels"), [([], 1), (["accuracy", "rows"], 2)])
def test_metrics_that_are_the_same_in_all_runs_are_drawn_if_they_are_asked_for(
    metrics, panels, tmp_path
):
    rows = [row(run, {}, {"a.b.accuracy": n, "a.b.rows": 7}) for n, run in enumerate("ab")]
    plot(compare(rows, metrics=metrics), tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png").shape[1] == 600 * panels


def test_equal_runs_make_equal_pictures(tmp_path):
    for name in ("one.png", "two.png"):
        plot(compare([NEW, OLD]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "--plot: the runs have logged no metrics\n  log one: context.log_metric(...)"),
        (
            {f"a.b.m{n}": n for n in range(30)},
            "--plot: 30 metrics are too many for one picture\n  choose some with --metric",
        ),
    ],
)
def test_no_picture_is_made_of_no_metrics_or_too_many(metrics, message, tmp_path):
    with pytest.raises(ProjectError) as refused:
        plot(compare([row("a", {}, metrics)]), tmp_path / "a.png")
    assert str(refused.value) == f"dsml compare\n  {message}"


def test_the_json_has_everything():
    document = as_json(compare([row("a", {"a.b.p": 1}, {"a.b.m": "nan"}, {"a.b.f": None}), NEW]))
    assert json.loads(json.dumps(document)) == document
    assert document["runs"][0] == {
        "run_id": "aaaaaaaa",
        "pipeline": "training",
        "experiment": "baseline",
        "partition": None,
        "status": "SUCCESS",
        "started": STARTED,
        "ended": STARTED + 12.5,
        "parameters": {"a.b.p": 1},
        "facts": {"a.b.f": None},
        "metrics": {"a.b.m": "nan"},
    }
    assert (document["same"], len(document["different"])) == ([], 6)


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("accuracy>0.6", "ac"),
        ("test.all.accuracy >= 0.75", "ac"),
        ("accuracy < 0.75", "b"),
        ("accuracy<=0.75", "ab"),
        ("train.fit.n = 9", "ac"),
        ("n=9.0", "ac"),
        ("n != 9", "b"),
        ("kind = rbf", "abc"),
        ('kind="rbf"', "abc"),
        ("kind > 3", ""),
        ("kind = a = b", ""),
    ],
)
def test_a_condition_chooses_runs_by_what_they_have(condition, expected):
    met = meeting([NEW, OLD, BEST], [read_condition(condition, "dsml runs")], "dsml runs")
    assert "".join(row.run.run_id[0] for row in met) == expected


def test_of_the_instances_of_a_step_one_is_enough():
    each = row("a", {}, {"a.b[1].loss": 1, "a.b[2].loss": 2})
    assert read_condition("a.b.loss > 1", "dsml runs").holds(each)
    assert not read_condition("a.b[1].loss > 1", "dsml runs").holds(each)


@pytest.mark.parametrize("value", ["true", "True"])
def test_true_and_none_may_be_written_as_in_python_and_as_in_json(value):
    assert read_condition(f"p={value}", "dsml runs").holds(row("a", {"a.b.p": True}))


@pytest.mark.parametrize("text", ["accuracy", "> 3", "accuracy > high", ""])
def test_what_is_no_condition_is_told(text):
    with pytest.raises(ProjectError) as refused:
        read_condition(text, "dsml runs")
    assert str(refused.value) == (
        f"dsml runs\n  --where {text}: is no condition\n"
        "  write NAME = VALUE, or !=; with a number <, <=, > and >= as well; in quotes"
    )


def test_a_name_that_no_run_has_is_answered_with_the_nearest():
    with pytest.raises(ProjectError) as refused:
        list(meeting([NEW, OLD], [read_condition("acuracy>0", "dsml runs")], "dsml runs"))
    assert str(refused.value) == (
        "dsml runs\n  --where: none of the runs has a parameter, fact or metric 'acuracy'\n"
        "  did you mean 'accuracy'?"
    )


# --- on the command line, of real runs ------------------------------------------------------------

FIT = Step(
    "context.log_metric('accuracy', n / 10)\ncontext.log_param('rows', 7)\n"
    "for loss in (3, 2, 1):\n    context.log_metric('loss', loss)",
    parameters="n: int = 3\nkind: str = 'rbf'",
)
EACH = Step(
    "context.log_metric('twice', 2 * k)",
    parameters="k: int = 1\nrate: float = 0.5",
    declared={"map": {"k": [10, 20]}},
)
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"a.fit": {"n": 9}}}}
# oldest first: experiment, n of a.fit where the run sets it
RUNS = [("baseline", None), ("baseline", 5), ("wide", None)]


def open_home(root, patch):
    """The project's instance; the environment is as before when `patch` is undone."""
    patch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    return open_instance(root)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project after three runs; its folder, and the ids of the runs, the oldest first."""
    root = write_project(
        tmp_path_factory.mktemp("compare") / "a project",
        {"a.fit": FIT, "b.each": EACH},
        experiments=EXPERIMENTS,
        pipelines={"all": {}, "other": {"select": "a"}},
    )
    definitions, made = load_definitions(root), []
    with pytest.MonkeyPatch.context() as patch, open_home(root, patch) as instance:
        for experiment, n in RUNS:
            config = {} if n is None else {"ops": {"a__fit": {"config": {"n": n}}}}
            result = definitions.resolve_job_def("all").execute_in_process(
                partition_key=experiment, instance=instance, run_config=config
            )
            made.append(result.run_id)
    return root, made


@pytest.fixture
def invoke(project, monkeypatch):
    return invoking(project[0], monkeypatch)


def invoking(root, monkeypatch):
    """Run a command in a project; its lines, and the error that a user would be told."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the project
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))

    def run(*arguments):
        done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        if isinstance(done.exception, ProjectError):
            return [], str(done.exception)
        assert done.exit_code in (0, 2), done.output
        return done.output.splitlines(), done.stderr

    return run


def values(lines):
    """The runs of a table: id → what stands behind the time at which it was started."""
    return {line[:8]: line.split("  ", 2)[2].split() for line in lines if line[10:14].isdigit()}


def test_without_a_run_the_newest_are_compared(project, invoke):
    lines, _ = invoke("compare")
    first, second, wide = (run[:8] for run in project[1])
    assert list(values(lines)) == [wide, second, first]
    assert lines[1].split() == ["run", "started", "experiment", "took", "n", "accuracy"]
    assert values(lines)[wide][0] == "wide"
    assert values(lines)[wide][-2:] == ["9", "0.9"]
    assert values(lines)[second][-3:] == ["5", "*", "0.5"]
    assert values(lines)[first][-3:] == ["3", "*", "0.3"]


def test_a_mapped_step_has_its_values_as_a_list_and_its_metrics_by_instance(invoke):
    lines, _ = invoke("compare")
    same = dict(line.split("  ", 1) for line in lines[lines.index("The same in all of them") + 1 :])
    assert {name: value.strip() for name, value in same.items()} == {
        "pipeline": "all",
        "status": "success",
        "a.fit.kind": "rbf",
        "b.each.k": "10, 20",
        "b.each.rate": "0.5",
        "a.fit.rows": "7",
        "a.fit.loss": "1",
        "b.each[10].twice": "20",
        "b.each[20].twice": "40",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--limit", 1], [2, 1]),
        (["-e", "baseline"], [1, 0]),
        (["--pipeline", "all", "--sort", "accuracy", "--ascending"], [0, 1, 2]),
        (["--sort", "a.fit.accuracy"], [2, 1, 0]),
        (["--where", "n > 3"], [2, 1]),
        (["--where", "n > 3", "--where", "a.fit.accuracy < 0.9"], [1]),
        (["--where", "n < 9", "--limit", 1], [1]),
    ],
)
def test_options_choose_and_sort_the_runs(arguments, expected, project, invoke):
    lines, _ = invoke("compare", *arguments)
    assert list(values(lines)) == [project[1][number][:8] for number in expected]


def test_runs_that_are_named_are_compared_in_their_order(project, invoke):
    first, _, wide = project[1]
    lines, _ = invoke("compare", first[:10], "latest", first)
    assert list(values(lines)) == [first[:8], wide[:8]]


def test_json_page_and_picture_are_written(project, invoke, tmp_path):
    html, png = tmp_path / "a page.html", tmp_path / "a plot.png"
    lines, _ = invoke("compare", "--metric", "accuracy", "--html", html, "--plot", png, "--json")
    document = json.loads("\n".join(lines))
    assert [run["run_id"] for run in document["runs"]] == project[1][::-1]
    assert [run["metrics"] for run in document["runs"]] == [
        {"a.fit.accuracy": 0.9},
        {"a.fit.accuracy": 0.5},
        {"a.fit.accuracy": 0.3},
    ]
    assert project[1][0][:8] in Cells(html.read_text(encoding="utf-8")).cells
    assert png.read_bytes().startswith(b"\x89PNG")


def test_one_run_tells_how_many_points_a_curve_has(invoke):
    lines, _ = invoke("show", "latest")
    assert ["a.fit", "loss", "1", "3"] in [line.split() for line in lines]
    assert ["a.fit", "accuracy", "0.9"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "dsml compare\n  there is no run 'nonsense'"),
        (["--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["--pipeline", "other"], "there are no such runs\n  dsml runs lists them"),
        (["--where", "accuracy > 5"], "there are no such runs"),
        (["--html", "none/x.html"], "'none/x.html' cannot be written: No such file or directory"),
        (["--plot", "none/x.png"], "'none/x.png' cannot be written: No such file or directory"),
        (["--where", "acuracy > 5"], "did you mean 'accuracy'?"),
    ],
)
def test_what_is_not_there_is_told(arguments, message, invoke):
    lines, error = invoke("compare", *arguments)
    assert lines == []
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latest", "--limit", 3], "RUN goes without --pipeline, --experiment and --limit"),
        (["--ascending"], "--ascending goes with --sort"),
        (["--plot", "a.jpg"], "--plot takes a file that ends with .png"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(arguments, message, invoke):
    _, error = invoke("compare", *arguments)
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [2, 1, 0]),
        (["--where", "accuracy >= 0.5"], [2, 1]),
        (["--where", "accuracy >= 0.5", "-n", 1], [2]),
        (["--where", "accuracy < 0.5", "-n", 1], [0]),
        (["--where", "b.each.twice = 40", "-e", "baseline"], [1, 0]),
    ],
)
def test_the_list_of_runs_can_be_limited_by_what_they_published(
    arguments, expected, project, invoke
):
    lines, _ = invoke("runs", "--json", *arguments)
    found = [run["run_id"] for run in json.loads("\n".join(lines))]
    assert found == [project[1][number] for number in expected]


def test_a_condition_that_no_run_can_meet_is_told(invoke):
    assert invoke("runs", "--where", "accuracy > 5")[0] == ["there are no such runs"]
    assert "did you mean 'accuracy'?" in invoke("runs", "--where", "acuracy > 5")[1]


def test_steps_that_a_pipeline_wires_are_compared_too(tmp_path, monkeypatch):
    root = tmp_path / "a project"
    file = root / "stages" / "s" / "fit.py"
    file.parent.mkdir(parents=True)
    file.write_text("def step_fn(*, n: int = 3):\n    return n\n", encoding="utf-8")
    steps = {"fit": {"run": "stages/s/fit.py", "outs": ["x"]}}
    write_project(root, {}, pipelines={"wired": {"steps": steps}})
    with pytest.MonkeyPatch.context() as patch, open_home(root, patch) as instance:
        job = load_definitions(root).resolve_job_def("wired")
        run_id = job.execute_in_process(partition_key="baseline", instance=instance).run_id
    invoke = invoking(root, monkeypatch)
    (run,) = json.loads("\n".join(invoke("compare", "--json")[0]))["runs"]
    assert (run["run_id"], run["parameters"]) == (run_id, {"wired.fit.n": 3})
    (listed,) = json.loads("\n".join(invoke("runs", "--where", "n = 3", "--json")[0]))
    assert listed["run_id"] == run_id
