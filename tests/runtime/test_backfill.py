"""Many runs at once: each experiment, a range of partitions, from the command line and the UI."""

from __future__ import annotations

import json
import re
import signal
import sys
from functools import partial

import pytest
from conftest import run_command
from dagster import AssetKey, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BulkActionStatus

from dsml.contract.project import load_project
from dsml.orchestrate.backfills import start_backfill
from dsml.orchestrate.history import list_runs
from dsml.store import StepRun
from dsml.store.missing import is_missing, newest_of

from .projects import Step, instance_of, kill_group, start, wait_until, write_project
from .test_store import publish
from .ticks import daemon

DAY = """
if context.partition_key == "2025-10-02" and context.experiment == "wide":
    raise ValueError("a bad day")
context.save("rows", context.partition_key)
"""
STEPS = {
    "load.names": Step("if n > 1:\n    raise ValueError('too many')", parameters="n: int = 1"),
    "load.day": Step(DAY, outs={"rows": "rows.json"}),
}
EXPERIMENTS = {"baseline": {}, "wide": {}, "odd": {"config": {"load.names": {"n": 2}}}}
DAYS = {"daily": "2025-10-01", "end": "2025-10-03"}
PIPELINES = {
    "names": {"select": ["load.names"], "executor": "in_process"},
    "days": {"select": ["load.day"], "partitions": DAYS, "executor": "in_process"},
}


def project(folder, **pipelines):
    return write_project(folder, STEPS, experiments=EXPERIMENTS, pipelines=PIPELINES | pipelines)


def dsml(root, *arguments):
    command = (sys.executable, "-m", "dsml", *arguments)
    return run_command(*command, cwd=root, check=False, timeout=120)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return project(tmp_path_factory.mktemp("backfill") / "a project")


# --- dsml backfill --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_days(root):
    """A backfill of the last two of three days."""
    return dsml(root, "backfill", "days", "--from", "2025-10-02")


@pytest.fixture(scope="module")
def the_rest(root, two_days):
    """A backfill of what is missing after it, told as JSON."""
    done = dsml(root, "backfill", "days", "--missing-only", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wide(root):
    """A backfill in which one run of three fails."""
    return dsml(root, "backfill", "days", "-e", "wide")


def table_of(done):
    """The last table: experiment, partition, status of each run."""
    lines = done.stdout.splitlines()
    head = max(i for i, line in enumerate(lines) if line.startswith("experiment  partition"))
    rows = [re.split(r"  +", line.strip()) for line in lines[head + 1 :] if line.strip()]
    return [(row[0], row[1], row[3]) for row in rows[:-1]], rows[-1][0]


def test_a_backfill_runs_each_partition_of_its_range_in_order(two_days):
    assert two_days.returncode == 0, two_days.stdout + two_days.stderr
    assert table_of(two_days) == (
        [("baseline", "2025-10-02", "passed"), ("baseline", "2025-10-03", "passed")],
        "2 runs: 2 passed",
    )


def test_a_backfill_leaves_out_what_is_published_already_if_it_is_told_to(the_rest):
    days = [{"experiment": "baseline", "partition": f"2025-10-0{day}"} for day in (1, 2, 3)]
    assert (the_rest["selected"], the_rest["published"]) == (days[:1], days[1:])
    (run,) = the_rest["runs"]
    assert (run["partition"], run["status"]) == ("2025-10-01", "success")


def test_a_backfill_of_which_nothing_is_missing_runs_nothing(root, the_rest):
    done = dsml(root, "backfill", "days", "--missing-only")
    assert (done.returncode, done.stdout) == (0, "0 to be run, 3 published already\n")


def test_a_dry_run_of_a_backfill_lists_what_would_be_run(root, the_rest, wide):
    done = dsml(root, "backfill", "days", "-e", "all", "--missing-only", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "wide 2025-10-02",
        "odd 2025-10-01",
        "odd 2025-10-02",
        "odd 2025-10-03",
        "4 would be run, 5 published already",
    ]


def test_a_run_that_fails_keeps_no_other_of_a_backfill_from_being_run(wide):
    assert wide.returncode == 1
    assert table_of(wide) == (
        [
            ("wide", "2025-10-01", "passed"),
            ("wide", "2025-10-02", "failed"),
            ("wide", "2025-10-03", "passed"),
        ],
        "3 runs: 2 passed, 1 failed",
    )
    assert "ValueError: a bad day" in wide.stderr


def test_the_ui_shows_the_runs_of_a_backfill_together(root, two_days, the_rest, wide):
    with instance_of(root) as instance:
        ended = {b.backfill_id: b for b in instance.get_backfills()}
        runs = {
            name: [run.tags["dagster/partition"] for run in instance.get_runs(filters)]
            for name, filters in ((name, RunsFilter.for_backfill(name)) for name in ended)
        }
    rest = ended[the_rest["backfill"]]
    assert (rest.job_name, rest.status) == ("days", BulkActionStatus.COMPLETED_SUCCESS)
    assert runs[rest.backfill_id] == rest.partition_names == ["baseline|2025-10-01"]
    (failed,) = (b for b in ended.values() if b.status == BulkActionStatus.COMPLETED_FAILED)
    assert sorted(runs[failed.backfill_id]) == [f"wide|2025-10-0{day}" for day in (1, 2, 3)]


@pytest.mark.slow
def test_a_pipeline_without_partitions_is_backfilled_over_its_experiments(root):
    done = dsml(root, "backfill", "names", "--json")
    assert done.returncode == 1
    runs = json.loads(done.stdout)["runs"]
    assert [(run["experiment"], run["partition"], run["status"]) for run in runs] == [
        ("baseline", None, "success"),
        ("wide", None, "success"),
        ("odd", None, "failure"),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["dyas"],
            "dsml backfill\n  there is no pipeline 'dyas'\n  did you mean 'days'?\n",
        ),
        (
            ["days", "-e", "wyde"],
            "dsml backfill\n  there is no experiment 'wyde'\n  did you mean 'wide'?\n",
        ),
        (
            ["days", "--from", "2025-10-00"],
            (
                "dsml backfill\n  --from 2025-10-00: there is no such partition of 'days'\n"
                "  they go from '2025-10-01' to '2025-10-03'\n"
            ),
        ),
        (
            ["days", "--from", "2025-10-03", "--to", "2025-10-02"],
            "dsml backfill\n  --from 2025-10-03 comes after --to 2025-10-02\n  swap the two\n",
        ),
        (
            ["names", "--to", "2025-10-03"],
            (
                "dsml backfill\n  --to 2025-10-03: the pipeline 'names' has no partitions\n"
                "  leave it out, or give it some in catalog.yml: partitions: {daily: DATE}\n"
            ),
        ),
    ],
)
def test_a_backfill_that_cannot_be_made_is_refused(root, arguments, told):
    done = dsml(root, "backfill", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


@pytest.mark.slow
def test_control_c_ends_the_run_that_is_under_way_and_starts_no_other(tmp_path):
    sleep = Step("print('asleep', flush=True)\nimport time\ntime.sleep(60)")
    days = {"days": {"partitions": DAYS}}
    root = write_project(tmp_path / "a project", {"a.sleep": sleep}, pipelines=days)
    process = start(root, "backfill", "days")
    try:
        wait_until(lambda: any("asleep" in f.read_text() for f in root.glob("**/log.txt")))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        kill_group(process)
    assert process.returncode == 1
    assert out.splitlines()[-1] == "3 runs: 1 cancelled, 2 not run"
    assert "was cancelled; look into it: dsml show" in err
    assert "Traceback" not in out + err
    with instance_of(root) as instance:
        (backfill,) = instance.get_backfills()
        (run,) = instance.get_runs()
    assert backfill.status == BulkActionStatus.CANCELED
    assert run.status == DagsterRunStatus.CANCELED


# --- what is missing ------------------------------------------------------------------------------

BRANCH = {
    "a.choose": Step(outs={"odd": {"file": "odd.bin", "optional": True}, "all": "all.bin"}),
    "a.odd": Step(ins={"odd": "a.choose.odd"}),
    "a.after": Step(after=["a.odd"]),
    "a.all": Step(ins={"all": "a.choose.all"}),
}


@pytest.mark.parametrize(
    ("published", "missing"),
    [
        ({}, True),
        ({"a.choose": ("odd", "all"), "a.odd": (), "a.after": (), "a.all": ()}, False),
        ({"a.choose": ("odd", "all"), "a.odd": (), "a.after": ()}, True),
        ({"a.choose": ("odd", "all"), "a.all": ()}, True),
        ({"a.choose": ("all",), "a.all": ()}, False),  # the others were skipped
        ({"a.choose": ("all",)}, True),
    ],
)
@pytest.mark.parametrize("partition", [None, "2025-10-01"])
def test_what_was_skipped_is_not_missing(tmp_path, store, published, missing, partition):
    project = load_project(write_project(tmp_path / "a project", BRANCH))
    steps = [project.registered[name] for name in BRANCH]
    for name, outs in published.items():
        address = StepRun(name, "baseline", "run-1", partition)
        publish(store, address, **dict.fromkeys(outs, b"x"))
    newest = newest_of(store, steps, "baseline", each=partition is not None)
    assert is_missing(steps, newest, partition) == missing


def test_each_partition_has_a_newest_manifest(store):
    for run, day in (("run-1", "2025-10-01"), ("run-2", "2025-10-01"), ("run-3", "2025-10-02")):
        publish(store, StepRun("a.b", "baseline", run, day), ended=f"2025-10-04T00:00:0{run[-1]}")
    publish(store, StepRun("a.b", "baseline", "run-4"))
    publish(store, StepRun("a.b", "wide", "run-5", "2025-10-03"))
    newest = store.newest_each("a.b", "baseline")
    assert {key: m.run_id for key, m in newest.items()} == {
        "2025-10-01": "run-2",
        "2025-10-02": "run-3",
    }


# --- dsml run, runs, show -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def each(root):
    """A run of a pipeline for each experiment, of which one fails."""
    return dsml(root, "run", "names", "--experiment", "all")


def test_a_pipeline_is_run_for_each_experiment_in_turn(each):
    assert each.returncode == 1
    assert "too many" in each.stderr
    lines = [line.split() for line in each.stdout.splitlines()]
    assert [line[:1] + line[2:3] for line in lines[-5:-2]] == [
        ["baseline", "passed"],
        ["wide", "passed"],
        ["odd", "failed"],
    ]
    assert each.stdout.endswith("\n3 runs: 2 passed, 1 failed\n")


@pytest.mark.slow
def test_a_run_for_each_experiment_is_told_as_a_list(root):
    done = dsml(root, "run", "names", "--experiment", "all", "--set", "load.names.n=1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(done.stdout)
    assert [run["experiment"] for run in runs] == list(EXPERIMENTS)


@pytest.fixture(scope="module")
def one_day(root):
    done = dsml(root, "run", "days", "-e", "odd", "--partition", "2025-10-01", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_partition_is_run_by_its_key(root, one_day):
    assert (one_day["experiment"], one_day["partition"]) == ("odd", "2025-10-01")
    (artefact,) = one_day["artefacts"]
    assert json.loads((root / artefact["path"]).read_text()) == "2025-10-01"


def test_runs_are_cut_down_to_a_pipeline_an_experiment_or_a_partition(root, one_day, each):
    with instance_of(root) as instance:
        listed = partial(list_runs, instance, 100)
        (found,) = listed(experiment="odd", partition="2025-10-01")
        assert (found.run_id, found.partition) == (one_day["run_id"], "2025-10-01")
        odd = listed(experiment="odd")
        assert {run.pipeline for run in odd} == {"names", "days"}
        assert [run.created for run in odd] == sorted((r.created for r in odd), reverse=True)
        assert list_runs(instance, 1, experiment="odd") == odd[:1]
        assert "odd" in {run.experiment for run in listed(partition="2025-10-01")}
        assert {run.pipeline for run in listed(pipeline="names")} == {"names"}


def test_runs_are_listed_with_their_partitions(root, one_day):
    head, row = dsml(root, "runs", "-e", "odd", "-p", "2025-10-01").stdout.splitlines()
    assert head.split()[2:6] == ["pipeline", "experiment", "partition", "status"]
    assert row.split()[3:7] == ["days", "odd", "2025-10-01", "success"]


def test_a_run_of_a_partition_is_shown_with_what_it_left(root, one_day):
    shown = dsml(root, "show", one_day["run_id"]).stdout
    assert "days, experiment odd, partition 2025-10-01, success" in shown
    assert "load.day.rows" in shown
    assert f"{one_day['run_id']}/attempts/1/executed.ipynb" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["days", "--partition", "2025-10-04"],
            (
                "dsml run\n  --partition 2025-10-04: there is no such partition of 'days'\n"
                "  they go from '2025-10-01' to '2025-10-03'\n"
            ),
        ),
        (
            ["days", "-p", "today", "-e", "wyde"],
            (
                "catalog.yml\n  there is no experiment 'wyde'\n  did you mean 'wide'?\n\n"
                "dsml run\n  --partition today: there is no such partition of 'days'\n"
                "  they go from '2025-10-01' to '2025-10-03'\n"
            ),
        ),
        (
            ["names", "-p", "2025-10-01"],
            (
                "dsml run\n  --partition 2025-10-01: the pipeline 'names' has no partitions\n"
                "  leave it out, or give it some in catalog.yml: partitions: {daily: DATE}\n"
            ),
        ),
    ],
)
def test_a_run_of_a_partition_that_there_is_not_is_refused(root, arguments, told):
    done = dsml(root, "run", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


# --- the daemon and the UI ------------------------------------------------------------------------

LAUNCH = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
  }
}"""
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "dag"}


@pytest.fixture
def ui(tmp_path, monkeypatch):
    """The daemon and the UI's server of a project of this test's own."""
    root = project(tmp_path / "a project")
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    with daemon(root) as found:
        yield found


def ask_for(ui, pipeline, keys, *assets):
    """Ask for a backfill of a pipeline as the UI does; its id."""
    params = {
        "selector": {
            "partitionSetName": f"{pipeline}_partition_set",
            "repositorySelector": LOCATION,
        },
        "assetSelection": [{"path": asset.split(".")} for asset in assets],
        "partitionNames": keys,
    }
    asked = ui.ask(LAUNCH, params=params)["launchPartitionBackfill"]
    assert asked["__typename"] == "LaunchBackfillSuccess"
    return asked["backfillId"]


def test_the_uis_backfill_over_experiments_runs_each_with_its_values(ui):
    backfill = ask_for(ui, "names", ["baseline", "odd"], "load.names")
    ui.look_at_backfills()
    runs = ui.run_queued()
    assert [run.tags["dagster/partition"] for run in runs] == ["baseline", "odd"]
    assert [run.status for run in runs] == [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    ui.look_at_backfills()
    assert ui.instance.get_backfill(backfill).status == BulkActionStatus.COMPLETED_FAILED


def test_the_uis_backfill_over_dates_runs_those_that_are_missing(ui):
    rows, day = AssetKey(["load", "day", "rows"]), "baseline|2025-10-0"

    def there():
        return sorted(ui.instance.get_materialized_partitions(rows))

    ask_for(ui, "days", [f"{day}2"], "load.day", "load.day.rows")
    ui.look_at_backfills()
    ui.run_queued()
    assert there() == [f"{day}2"]
    missing = [f"{day}{n}" for n in (1, 2, 3) if f"{day}{n}" not in there()]
    backfill = ask_for(ui, "days", missing, "load.day", "load.day.rows")
    ui.look_at_backfills()
    runs = ui.run_queued()
    assert [run.tags["dagster/partition"] for run in runs] == missing
    assert {run.status for run in runs} == {DagsterRunStatus.SUCCESS}
    assert there() == [f"{day}{n}" for n in (1, 2, 3)]
    ui.look_at_backfills()
    assert ui.instance.get_backfill(backfill).status == BulkActionStatus.COMPLETED_SUCCESS


def test_the_daemon_starts_no_run_of_a_backfill_from_the_command_line(ui):
    started = start_backfill(ui.instance, "days", ["baseline|2025-10-01", "baseline|2025-10-02"])
    shown = ui.instance.get_backfill(started.backfill_id)
    assert shown.status == BulkActionStatus.REQUESTED
    ui.look_at_backfills()
    assert ui.runs == []
    started.end(passed=False, cancelled=True)
    ended = ui.instance.get_backfill(started.backfill_id)
    assert ended.status == BulkActionStatus.CANCELED
    assert ended.backfill_end_timestamp is not None
