"""`dsml summary`: a run on one page, with its metrics beside those of an earlier one."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

import dsml.cli.summary  # noqa: F401 - adds the command
from dsml.cli import cli
from dsml.contract.problem import ProjectError
from dsml.evidence.summary import Summary, markdown, read_summaries
from dsml.evidence.trace import open_store, trace_of

from .projects import write_project
from .sites import Done, Runs, run_id_of

JOB = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "77", "GITHUB_REF_NAME": "main"}
OF_JOB = {"system": "github", "run_id": "77", "ref": "main"}
GOOD = {"fit.model": Done(metrics={"accuracy": [0.5, 0.75]}, outs={"model.txt": b"m"})}


@pytest.fixture
def project(root, monkeypatch):
    """A project without steps, in whose folder the command is given."""
    write_project(root, {}, with_databases=False)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the project
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def runs(project):
    return Runs(open_store(project))


def summary(*arguments, **environment):
    done = CliRunner().invoke(cli, ["summary", *map(str, arguments)], env=environment)
    if isinstance(done.exception, ProjectError):
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return done.output


def page(runs, run_id, *earlier):
    return markdown(trace_of(runs.store, run_id), earlier)


def test_it_says_how_a_run_ended_with_its_graph_and_metrics(runs):
    planned = {"fit.model": [], "fit.last": ["fit.model"]}
    runs.add(1, {**GOOD, "fit.last": Done(seconds=90)}, planned=planned, ci=OF_JOB)
    lines = summary().splitlines()
    assert lines[0] == "## training on wide: passed"
    assert lines[2] == f"Run {run_id_of(1)[:8]} · 1 min 35 s · main `00000000`"
    graph = lines[lines.index("```mermaid") + 1 : lines.index("```")]
    assert graph[0] == "flowchart LR"
    assert "  s0 --> s1" in graph
    assert lines[-3:] == ["| Metric | This run |", "|---|---:|", "| fit.model.accuracy | 0.75 |"]


def test_links_stand_beside_the_run(runs):
    runs.add(1, GOOD)
    assert "[The site](https://example.org/a)" in summary(
        "--link", "The site=https://example.org/a"
    )


def test_a_link_without_an_address_is_wrong_usage(project):
    done = CliRunner().invoke(cli, ["summary", "--link", "site"])
    assert done.exit_code == 2
    assert "--link site: write NAME=URL" in done.output


def test_a_failure_is_told_whole_and_cannot_end_its_frame(runs):
    error = "stages/fit/model.ipynb, cell 3\n  ValueError: ```\n# no heading\n  mend it"
    run_id = runs.add(1, {"fit.model": Done(error=error)})
    lines = page(runs, run_id).splitlines()
    assert lines[0] == "## training on wide: failed"
    start = lines.index("**fit.model attempt 1**: failed") + 2
    assert lines[start : start + 6] == ["````text", *error.splitlines(), "````"]


def test_metrics_stand_beside_those_of_an_earlier_run_of_the_same_kind(runs):
    done = Done(metrics={"accuracy": 0.75, "loss": 2.0, "rows": 5, "fresh": 1.5, "best": 0.5})
    run_id = runs.add(1, {"fit.model": done, "fit.map[a]": Done(metrics={"x": 1.0})})
    metrics = {"accuracy": 0.5, "loss": 2.0, "rows": 7, "old": 1.0, "best": "NaN"}
    metrics = {f"fit.model.{name}": value for name, value in metrics.items()}
    earlier = Summary("1", "training", "wide", ref="main", commit="ab" * 20, metrics=metrics)
    text = page(runs, run_id, Summary("0", "training", "wide"), earlier, Summary("2", "other", "x"))
    assert text.split("```\n")[-1].splitlines() == [
        "",
        "| Metric | main `abababab` | This run | Change |",
        "|---|---:|---:|---:|",
        "| fit.model.accuracy | 0.5 | 0.75 | +0.25 |",
        "| fit.model.loss | 2 | 2 | = |",
        "| fit.model.rows | 7 | 5 | -2 |",
        "| fit.model.fresh |  | 1.5 | new |",
        "| fit.model.best | NaN | 0.5 | changed |",
        "| fit.model.old | 1 |  | gone |",
        r"| fit.map\[a\].x |  | 1 | new |",
    ]


def test_what_was_written_as_json_is_compared_with(runs, project):
    runs.add(1, {"fit.model": Done(metrics={"accuracy": 0.5})})
    file = project / "before.json"
    file.write_text(summary("--format", "json"))
    runs.add(2, GOOD)
    assert "| fit.model.accuracy | 0.5 | 0.75 | +0.25 |" in summary("--against", file)
    (before,) = read_summaries(file)
    assert (before.outcome, before.metrics) == ("passed", {"fit.model.accuracy": 0.5})


def test_without_an_earlier_run_the_page_says_that_there_is_none(runs, project):
    runs.add(1, GOOD)
    said = "There is no earlier run of this kind to compare with."
    assert summary("--against", project / "none.json").endswith(f"\n{said}\n")
    assert said not in summary()


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": [{"pipeline": 1}]}', '{"runs": [3]}'])
def test_a_file_that_is_no_summary_is_told(text, runs, project):
    runs.add(1, GOOD)
    file = project / "before.json"
    file.write_text(text)
    assert summary("--against", file) == (
        f"{file}\n  is nothing that dsml summary has written\n"
        f"  write it anew: dsml summary --format json > {file}"
    )


def test_in_a_job_of_ci_the_runs_of_that_job_are_told_and_no_others(runs):
    runs.add(3, GOOD, experiment="second", ci=OF_JOB)
    runs.add(2, GOOD, experiment="first", ci=OF_JOB)
    runs.add(4, GOOD, experiment="of another job", ci={**OF_JOB, "run_id": "78"})
    runs.add(5, GOOD, experiment="of another system", ci={**OF_JOB, "system": "gitlab"})
    runs.add(6, GOOD, experiment="of a person")
    told = json.loads(summary("--format", "json", **JOB))
    assert [run["experiment"] for run in told["runs"]] == ["first", "second"]
    headings = [line for line in summary(**JOB).splitlines() if line.startswith("## ")]
    assert headings == ["## training on first: passed", "## training on second: passed"]


def test_a_job_that_started_no_run_says_so_though_there_are_others(runs):
    runs.add(1, GOOD)
    assert summary(**JOB) == "No run was started.\n"


def test_all_that_a_run_has_left_is_written_as_a_tree(runs, project):
    runs.add(1, GOOD)
    summary("--expand", project / "left")
    folder = project / "left" / run_id_of(1)[:8]
    assert (folder / "graph.mmd").read_text().startswith("flowchart LR")
    assert (folder / "steps" / "fit.model" / "attempts" / "1" / "log.txt").exists()
    assert f"{folder}' is not empty" in summary("--expand", project / "left")


def test_an_unknown_run_is_told_with_the_nearest(runs):
    runs.add(1, GOOD)
    said = summary("f" * 8)
    assert said.startswith("dsml summary\n  no run 'ffffffff' has left anything")


def test_names_are_text_and_nothing_that_markdown_knows(runs):
    done = {"fit.model": Done(metrics={"a|b <c> [d](e)": 1.0})}
    text = page(runs, runs.add(1, done, experiment="x_y_z"))
    assert text.startswith("## training on x\\_y\\_z: passed\n")
    assert r"| fit.model.a\|b \<c\> \[d\](e) | 1 |" in text


def test_a_graph_that_mermaid_would_refuse_is_left_out(runs):
    steps = {f"fit.step_{n}": [] if n == 0 else ["fit.step_0"] for n in range(502)}
    text = page(runs, runs.add(1, {"fit.step_0": Done()}, planned=steps))
    assert "The graph has more steps than can be drawn here" in text
    assert "```mermaid" not in text


def test_of_very_many_metrics_and_failures_the_first_are_shown(runs):
    metrics = {f"m{n:02}": float(n) for n in range(63)}
    done = Done(metrics=metrics, error="again", earlier=("again",) * 11)
    text = page(runs, runs.add(1, {"fit.model": done}))
    assert text.count("| fit.model.m") == 60
    assert "And 3 metrics more; the site has them all." in text
    assert text.count("````text") + text.count("```text") == 10
    assert "And 2 attempts more." in text
