"""The benchmarks measure what they say and tell nothing of the machine but its kind."""

from __future__ import annotations

import getpass
import itertools
import json
import platform
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from dagster import AssetKey, DagsterInstance

from benchmarks import __main__ as command
from benchmarks import (
    browser,
    check_scale,
    contenders,
    copies,
    generation,
    idle,
    loading,
    marginal,
    memory,
    profile,
    profile_run,
    projects,
    publishing,
    readme,
    report,
    saving,
    scale,
    timing,
    tracking,
    ui,
    workers,
    written,
)
from benchmarks.contenders import Job
from benchmarks.report import Limit, Result
from dsml.contract.catalog import read_catalog
from dsml.contract.register import check_project
from dsml.evidence.site.build import build
from dsml.orchestrate.history import list_runs, step_status
from dsml.store import Store
from dsml.store.runs import has_attempts, noted, read_run, run_ids

ROWS = [{"notebooks": 10, "median s": 0.5}]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in an empty folder, into which results are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_measured_project_is_valid_and_all_of_it_is_registered(tmp_path):
    root = check_scale.make_project(tmp_path / "project", 12)
    assert check_project(root).problems == []
    document = json.loads((root / "stages/stage_03/notebook_0003.ipynb").read_text("utf-8"))
    assert len(document["cells"]) == check_scale.CELLS
    assert len(check_project(root).steps) == 12


def test_both_sizes_are_measured_in_turn_at_least_five_times(monkeypatch):
    timed = []

    def spent_on(project, name):
        if name == "check":
            timed.append(project.name)
        return timing.Spent(1.0, 0.5) if project.name == "2" else timing.Spent(3.0, 2.0)

    monkeypatch.setattr(check_scale, "SIZES", (2, 3))
    monkeypatch.setattr(check_scale, "spent_on", spent_on)
    result = check_scale.measure()
    assert timed == ["2", "3"] * check_scale.ROUNDS
    assert check_scale.ROUNDS >= 5
    assert [limit.measured for limit in result.limits] == [1.0, 3.0]
    assert [limit.at_most for limit in result.limits] == [2.0, 4.4]


def test_a_command_that_fails_is_not_measured(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)dsml check: .*has a catalog\.yml"):
        check_scale.spent_on(tmp_path, "check")


def test_results_are_written_as_a_table_and_as_json(here):
    text = report.write([Result("x", "A title", ROWS, [Limit("seconds", 0.5, 2)])])
    assert "| notebooks | median s |\n| --- | --- |\n| 10 | 0.5 |" in text
    assert "seconds: 0.5, at most 2 (kept)" in text
    assert (here / "build" / "bench" / "results.md").read_text(encoding="utf-8") == f"{text}\n"
    found = json.loads((here / "build" / "bench" / "results.json").read_text(encoding="utf-8"))
    assert found["results"][0]["rows"] == ROWS
    assert found["results"][0]["kept"] is True


def test_the_machine_is_described_without_its_name_and_without_a_path():
    told = json.dumps(report.machine())
    assert platform.python_version() in told
    assert f'"cores": {report.machine()["cores"]}' in told
    assert "/" not in told
    assert platform.node() not in told
    assert f'"{getpass.getuser()}"' not in told


@pytest.mark.parametrize(("measured", "code"), [(2.0, 0), (2.1, 1)])
def test_a_limit_that_is_missed_fails_the_command(measured, code, here, monkeypatch, capsys):
    result = Result("x", "A title", ROWS, [Limit("seconds", measured, 2)])
    monkeypatch.setattr(command, "ALL", {"x": lambda: result})
    assert command.main([]) == code
    assert ("NOT KEPT" in capsys.readouterr().out) == bool(code)


def test_an_unknown_benchmark_is_wrong_usage(capsys):
    assert command.main(["nope"]) == 2
    assert capsys.readouterr().err.startswith("no benchmark 'nope'; known are: chain, parallel, ")


# --- what is measured, at its smallest ------------------------------------------------------------


def test_the_time_of_a_process_that_outlives_its_command_is_counted(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"
    spent = timing.Command([sys.executable, "-S", "-c", leave], tmp_path).spend()
    assert spent.cpu > 0.5


def test_what_is_measured_has_nothing_of_the_users_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("DSML_ENV", "prod")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = timing.Command([], tmp_path, {"DAGSTER_HOME": "x"}).environment
    assert "DSML_ENV" not in environment
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["DAGSTER_HOME"] == "x"


def test_rivals_take_turns_after_a_round_that_is_not_counted():
    done = []
    tasks = {name: lambda name=name: done.append(name) or len(done) for name in "ab"}
    assert timing.in_turn(tasks, 2) == {"a": [3, 5], "b": [4, 6]}
    assert done == ["a", "b"] * 3


def test_the_marginal_cost_is_the_slope_between_few_and_many():
    few, many = [timing.Spent(2, 3)], [timing.Spent(4, 7)]
    assert timing.slopes(few, many, 4) == [timing.Spent(0.5, 1.0)]


@pytest.mark.slow
def test_a_notebook_more_is_measured_for_us_and_for_papermill():
    chosen = (contenders.OURS, contenders.PAPERMILL)
    result = marginal.chain(1, 1, 2, chosen)
    assert [row["run by"] for row in result.rows] == ["ours", "papermill alone"]
    assert [limit.at_most for limit in result.limits] == [1.15, 1.15]


def test_a_pipeline_of_ploomber_is_written_as_ploomber_reads_it(tmp_path):
    command = contenders.PLOOMBER_ALONE.command(tmp_path, Job(2))
    written = json.loads((tmp_path / "pipeline.yaml").read_text(encoding="utf-8"))
    assert [task.get("upstream") for task in written["tasks"]] == [None, ["s00"]]
    assert all((tmp_path / task["source"]).exists() for task in written["tasks"])
    assert command.env["PLOOMBER_STATS_ENABLED"] == "false"


@pytest.mark.slow
def test_workers_are_measured_on_independent_notebooks():
    result = workers.workers(1, 1, {"do nothing": "pass"})
    assert [row["that"] for row in result.rows] == ["do nothing"]
    assert [limit.at_least for limit in result.limits] == [1.8]


@pytest.mark.slow
def test_a_map_is_measured_beside_ops_of_dagstermill():
    result = workers.mapped(1, 1, 0)
    assert [row["run by"] for row in result.rows] == [
        "ours, a map",
        "ours, a map, executor multiprocess",
        "dagstermill, multiprocess, 1 ops",
    ]
    assert result.kept


@pytest.mark.slow
def test_definitions_are_loaded_beside_assets_that_are_written_by_hand():
    result = loading.measure(1, (1, 2))
    assert [row["notebooks or assets"] for row in result.rows] == [1, 2]
    assert all(row["hand-written, s"] > 0 for row in result.rows)


@pytest.mark.slow
def test_a_run_with_nothing_to_do_is_measured_beside_an_empty_job():
    result = idle.measure(1, 2)
    assert len(result.rows) == 5
    assert result.rows[0]["command"] == "dsml run, 1 unchanged"


@pytest.mark.slow
def test_a_run_is_measured_with_mlflow_and_without():
    (row,) = tracking.measure(1, (1,)).rows
    assert row["notebooks"] == 1
    assert row["tracked, CPU s"] > row["CPU s"]


@pytest.mark.slow
def test_generation_is_measured_with_hooks_and_without():
    with_hooks, without = generation.measure(1).rows
    assert with_hooks["CPU s"] > without["CPU s"]


@pytest.mark.slow
@pytest.mark.skipif(not memory.can_measure(), reason="Linux alone tells the memory so")
def test_memory_is_told_of_the_kernel_and_of_the_processes_around_it():
    rows = memory.measure(1, ("ours",)).rows
    assert [row["process"] for row in rows if row["run by"] == "ours"] == [
        "kernel",
        "process that kernels are forked from",
        "run process",
    ]
    assert all(0 < row["its own alone, MB"] <= row["PSS, MB"] for row in rows)


@pytest.mark.slow
def test_a_large_notebook_is_run_with_saves_and_without():
    result = saving.measure(1, 2, 0.1, 0)
    assert [row["run by"] for row in result.rows][:2] == ["ours", "ours, saved at the end only"]
    assert [limit.at_most for limit in result.limits] == [1.1, 1.1]


def test_a_table_is_saved_published_and_read_beside_one_that_is_copied():
    result = publishing.measure(1, 10**6)
    assert [row["MB"] for row in result.rows] == [1] * 7
    assert [limit.at_most for limit in result.limits] == [1.3, 1.3]


@pytest.mark.slow
def test_the_ui_is_waited_for():
    rows = ui.measure(1).rows
    assert [row["started"] for row in rows] == [
        "make dagit, default project",
        "dagster dev, no definitions",
    ]


@pytest.mark.slow
def test_a_profile_tells_where_the_time_of_a_notebook_goes():
    run, notebook = profile.measure(1, 3)
    assert set(profile_run.NOTEBOOK) < set(notebook)
    for part in ("kernel forked", "kernel ready", "cells", "HTML of it"):
        assert notebook[part] > 0, part
    assert run["Dagster imported"] > 0
    assert min(run.values()) >= 0


# --- scale ----------------------------------------------------------------------------------------


def test_what_shows_the_same_may_take_no_longer_and_what_shows_all_in_proportion(tmp_path):
    sizes = {1: tmp_path / "1", 10: tmp_path / "10", 100: tmp_path / "100"}
    uses = [
        scale.Use("as before", lambda _: 2.0, 3),
        scale.Use("slower", lambda root: 1.0 + int(root.name) / 100, 3),
        scale.Use("in proportion", lambda root: 1.0 + int(root.name) / 100, 3, shows_all=True),
        scale.Use("squared", lambda root: 1.0 + int(root.name) ** 2 / 100, 3, shows_all=True),
    ]
    result = scale.compared("x", "X", sizes, uses, 1)
    told = {row["what"]: row["times the expected"] for row in result.rows}
    assert told == {"as before": 1, "slower": 1.98, "in proportion": 1, "squared": 8.49}
    assert [limit.what for limit in result.limits if not limit.kept] == [
        "slower, times the expected",
        "squared, s at the largest",
        "squared, times the expected",
    ]


@pytest.mark.slow
def test_a_run_that_is_written_down_again_is_a_run_to_the_store_the_site_and_dagster(tmp_path):
    root = projects.write_project(tmp_path / "project", {"a.b": projects.Step("print(1)")})
    env = {"PYTHONPATH": str(root), "DAGSTER_HOME": str(root / ".dagster")}
    timing.Command([sys.executable, "-m", "dsml", "run"], root, env).spend()
    added = copies.multiply(root, 3)
    store = Store.open(root, read_catalog(root, []))
    (original,) = set(run_ids(store)) - set(added)
    runs = [read_run(store, run_id) for run_id in (*added, original)]
    begun = [datetime.fromisoformat(run.started) for run in runs]
    assert [b - a for a, b in itertools.pairwise(begun)] == [timedelta(minutes=1)] * 3
    with DagsterInstance.from_config(env["DAGSTER_HOME"]) as instance:
        listed = list_runs(instance, 9)
        (event,) = instance.fetch_materializations(AssetKey(["a", "b"]), limit=1).records
        assert step_status(instance, added[-1], ["a.b"]) == {"a.b": "success"}
    assert [run.run_id for run in listed] == [*reversed(added), original]
    assert [run.started for run in reversed(listed[:3])] == pytest.approx(
        [listed[3].started - 60 * n for n in (3, 2, 1)]
    )
    assert event.run_id == added[-1]
    told = []
    assert build(store, "x", tmp_path / "site", told.append).written == 4
    assert told == []


@pytest.mark.slow
def test_what_is_written_down_as_published_a_run_finds_unchanged(tmp_path):
    steps = {**scale._chains(11), **scale._MAPPED}
    root = projects.write_project(tmp_path / "project", steps)
    written.publish_all(root, {"make.values": [1, 2, 3]})
    env = {"PYTHONPATH": str(root), "DAGSTER_HOME": str(root / ".dagster")}
    timing.Command([sys.executable, "-m", "dsml", "run"], root, env).spend()
    store = Store.open(root, read_catalog(root, []))
    runs = {run.run_id: run for run_id in run_ids(store) if (run := read_run(store, run_id))}
    assert [run.status for run in runs.values()] == ["passed", "passed"]
    (run_id,) = [run_id for run_id in runs if not has_attempts(store, run_id)]
    assert len(noted(store, run_id)) == 11 + 1 + 3 + 1


def test_a_page_is_loaded_when_its_last_question_is_answered():
    def told(method, number, timestamp, url=""):
        about = {"requestId": str(number), "timestamp": timestamp, "request": {"url": url}}
        return {
            "message": json.dumps({"message": {"method": f"Network.{method}", "params": about}})
        }

    page = [
        told("requestWillBeSent", 1, 10.0, "http://x/"),
        told("requestWillBeSent", 2, 11.0, "http://x/graphql?op=A"),
        told("requestWillBeSent", 3, 11.5, "http://x/never-finished.js"),
    ]
    answers = [page, [], [told("loadingFinished", 2, 12.5), told("loadingFinished", 1, 13.0)]]
    log = iter(answers)
    driver = SimpleNamespace(get_log=lambda _: next(log, []), current_url="http://x/")
    assert browser._Questions(driver).seconds() == 2.5


def test_the_page_on_scale_has_every_use_with_its_bound():
    text = readme.SCALE.read_text(encoding="utf-8")
    for name, uses in scale.USES.items():
        told = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
        rows = [line.split(" | ") for line in told.splitlines() if line.startswith("| ")][2:]
        assert [(row[0][2:], float(row[-2])) for row in rows] == [
            (use.what, use.at_most) for use in uses
        ]


# --- the README -----------------------------------------------------------------------------------


def test_the_readme_names_every_benchmark_and_holds_results_and_a_profile():
    text = readme.README.read_text(encoding="utf-8")
    for name in command.ALL:
        assert f"| `{name}` |" in text, name
        page = readme.SCALE.read_text(encoding="utf-8") if name in scale.USES else text
        result = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
        assert "\nMeasured on 20" in result, name
    told = text.partition("<!-- profile -->")[2].partition("<!-- end of profile -->")[0]
    for part in profile_run.NOTEBOOK:
        assert f"| {part} |" in told, part
    here = [name for name in command.ALL if name not in scale.USES]
    assert here == sorted(here, key=lambda name: text.index(f"\n<!-- {name} -->\n"))


def test_results_go_between_the_markers_and_nowhere_else(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n", encoding="utf-8")
    readme.put("x", "new", file)
    expected = "a\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nb\n"
    assert file.read_text(encoding="utf-8") == expected
    with pytest.raises(ValueError, match="no markers of 'y'"):
        readme.put("y", "new", file)


def test_a_result_is_written_where_it_is_shown_and_no_other_is_touched(here, monkeypatch):
    shown, by_scale = here / "README.md", here / "scale.md"
    shown.write_text(
        "<!-- check -->\nold\n<!-- end of check -->\n<!-- ui -->\nkept\n<!-- end of ui -->\n",
        encoding="utf-8",
    )
    by_scale.write_text("<!-- steps -->\nold\n<!-- end of steps -->\n", encoding="utf-8")
    monkeypatch.setattr(readme, "README", shown)
    monkeypatch.setattr(readme, "SCALE", by_scale)
    report.write([Result("check", "X", ROWS), Result("steps", "Y", ROWS)])
    readme.write_results()
    text, page = (file.read_text(encoding="utf-8") for file in (shown, by_scale))
    assert [line for line in text.splitlines() if line.startswith("### ")] == ["### X"]
    assert "\nkept\n" in text
    for each in (text, page):
        assert "\n| " in each
        assert "Measured on 20" in each
        assert "old" not in each
    assert "### Y" not in page


def test_results_of_other_benchmarks_are_kept(here):
    report.write([Result("x", "X", ROWS), Result("y", "Y", ROWS)])
    report.write([Result("x", "X again", ROWS)])
    found = json.loads((here / "build" / "bench" / "results.json").read_text(encoding="utf-8"))
    assert [entry["title"] for entry in found["results"]] == ["X again", "Y"]


@pytest.mark.parametrize(("measured", "kept"), [(1.7, False), (1.8, True)])
def test_a_bound_from_below_is_one_too(measured, kept):
    limit = Limit("times faster", measured, at_least=1.8)
    assert limit.kept is kept
    assert "at least 1.8" in str(limit)
