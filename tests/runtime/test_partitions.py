"""Experiments and partitions in Dagster, in a run, and in a notebook that is run by hand."""

from __future__ import annotations

import itertools
import json
import sys
import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml
from conftest import run_command
from dagster import AssetKey, MultiPartitionsDefinition, TimeWindowPartitionsDefinition
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsml import get_context
from dsml.contract.catalog import read_catalog
from dsml.contract.partitions import StaticPartitions, TimePartitions
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.partitions import PARTITION, definition
from dsml.store import Manifest, Store, Value

from .conftest import execute
from .projects import Step, manifests_of, write_notebook, write_project
from .ticks import daemon

# Dagster tells hours in another way where clocks are shifted by half an hour, which are refused.
HALF_HOURS = {"Australia/LHI", "Australia/Lord_Howe"}
ZONES = sorted(zoneinfo.available_timezones() - HALF_HOURS - {"localtime", "posixrules", "Factory"})
KINDS = ("hourly", "daily", "weekly", "monthly")
SINCE, UNTIL = date(2019, 1, 1), date(2026, 1, 1)


def in_dagster(partitions) -> TimeWindowPartitionsDefinition:
    both = definition(("baseline",), partitions)
    assert isinstance(both, MultiPartitionsDefinition)
    found = both.get_partitions_def_for_dimension(PARTITION)
    assert isinstance(found, TimeWindowPartitionsDefinition)
    return found


def utc(window):
    return tuple(moment.astimezone(UTC) for moment in window)


@st.composite
def cases(draw):
    """Partitions of time, and a time at which they are looked at."""
    kind, zone = draw(st.sampled_from(KINDS)), draw(st.sampled_from(ZONES))
    start = draw(st.dates(SINCE, UNTIL))
    assume(kind != "monthly" or start.day <= 28)
    end = draw(st.none() | st.dates(start, start + timedelta(days=90)))
    days = draw(st.integers(0, 90 if kind != "hourly" else 3))
    moment = datetime(start.year, start.month, start.day, tzinfo=UTC)
    now = moment + timedelta(days=days, minutes=draw(st.integers(0, 24 * 60)))
    found = TimePartitions(kind, start, zone, end)
    assume(found.position(found.key(0)) is not None)  # an end before it is refused
    return found, now


# --- the same as Dagster's ------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(cases())
def test_keys_and_windows_are_those_of_dagster(case):
    partitions, now = case
    theirs = in_dagster(partitions)
    keys = list(theirs.get_partition_keys(current_time=now))
    assert partitions.between(None, None, now) == keys
    for key in keys[:3] + keys[-3:]:
        assert utc(partitions.window(key)) == utc(theirs.time_window_for_partition_key(key))


def changes_of_the_clock(zone):
    """The days, in two years, on which the clock is changed."""
    info = zoneinfo.ZoneInfo(zone)
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(730)]
    noons = [datetime(day.year, day.month, day.day, 12, tzinfo=info) for day in days]
    pairs = itertools.pairwise(noons)
    return [after.date() for before, after in pairs if before.utcoffset() != after.utcoffset()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",  # midnight twice
        "Africa/Cairo",  # no midnight
        "Asia/Beirut",
        "America/St_Johns",  # half an hour off
        "Asia/Kathmandu",  # a quarter
        "Pacific/Kiritimati",  # the first of all
        "Etc/GMT+12",  # the last
    ],
)
def test_so_they_are_where_the_clock_is_changed(kind, zone):
    for day in changes_of_the_clock(zone) or [date(2024, 3, 31)]:
        start = (day - timedelta(days=1)).replace(day=min(day.day, 28))
        partitions = TimePartitions(kind, start, zone)
        later = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=3)
        theirs = in_dagster(partitions)
        keys = list(theirs.get_partition_keys(current_time=later))
        assert partitions.between(None, None, later) == keys
        for key in keys:
            assert utc(partitions.window(key)) == utc(theirs.time_window_for_partition_key(key))


def test_equal_partitions_are_one_object():
    daily = [TimePartitions("daily", date(2024, 1, 1)) for _ in range(2)]
    assert definition(("a", "b"), daily[0]) is definition(("a", "b"), daily[1])
    assert definition(("a", "b"), None) is definition(("a", "b"), None)
    assert definition(("a", "b"), daily[0]) != definition(("a",), daily[0])


def test_a_list_is_combined_with_the_experiments():
    found = definition(("a", "b"), StaticPartitions(("north", "south")))
    assert list(found.get_partition_keys()) == ["a|north", "a|south", "b|north", "b|south"]


# --- in Dagster -----------------------------------------------------------------------------------

DAY = """
start, end = context.partition_window
context.save("rows", [context.partition_key, start.isoformat(), end.isoformat(), n])
"""
STEPS = {
    "load.names": Step("context.save('names', [])", outs={"names": "n.json"}),
    "load.day": Step(
        DAY,
        ins={"names": "load.names.names"},
        outs={"rows": "rows.json"},
        parameters="n: int = 1",
    ),
    "load.clean": Step(
        "context.save('rows', context.load('rows')[0])",
        ins={"rows": "load.day.rows"},
        outs={"rows": "rows.json"},
    ),
    "report.table": Step(
        "context.save('table', context.load('rows'))",
        ins={"rows": "load.clean.rows"},
        outs={"table": "table.json"},
        after=["load.day"],
    ),
}
DAYS = {"daily": "2025-10-25", "timezone": "Europe/Berlin", "end": "2025-10-28"}
PIPELINES = {
    "names": {"select": ["load.names"], "executor": "in_process"},
    "days": {"select": ["load.day", "load.clean"], "partitions": DAYS, "executor": "in_process"},
    "report": {"select": "report", "executor": "in_process"},
}
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"load.day": {"n": 5}}}}


def project(folder):
    return write_project(folder, STEPS, experiments=EXPERIMENTS, pipelines=PIPELINES)


def value(root, manifest, out):
    store = Store.open(root, read_catalog(root, []))
    return json.loads(store.path(manifest.address, manifest.outputs[out].file).read_bytes())


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The runs of each pipeline: two days of one experiment, one of the other, then the report."""
    root = project(tmp_path_factory.mktemp("partitions") / "a project")
    order = [
        ("names", "baseline"),
        ("days", "baseline|2025-10-26"),
        ("days", "baseline|2025-10-25"),
        ("names", "wide"),
        ("days", "wide|2025-10-26"),
        ("report", "baseline"),
    ]
    runs = {}
    for job, key in order:
        runs[job, key] = execute(root, job=job, experiment=key)
        assert runs[job, key].passed, runs[job, key].log
    return root, runs


def manifest_in(ran, step, job, key):
    root, runs = ran
    found = [
        Manifest.from_json(path.read_bytes())
        for path in root.glob(f"artefacts/*/*/*/{runs[job, key].run_id}/manifest.json")
    ]
    return root, next(manifest for manifest in found if manifest.step == step)


def test_a_step_is_told_its_partition_and_when_that_is(ran):
    root, manifest = manifest_in(ran, "load.day", "days", "baseline|2025-10-26")
    assert (manifest.experiment, manifest.partition) == ("baseline", "2025-10-26")
    start, end = "2025-10-26T00:00:00+02:00", "2025-10-27T00:00:00+01:00"
    assert value(root, manifest, "rows") == ["2025-10-26", start, end, 1]


def test_a_step_reads_what_was_published_for_its_own_partition(ran):
    for day in ("2025-10-25", "2025-10-26"):
        root, manifest = manifest_in(ran, "load.clean", "days", f"baseline|{day}")
        assert value(root, manifest, "rows") == day
        assert manifest.inputs["rows"].partition == day


def test_a_step_with_partitions_reads_from_one_without_any(ran):
    _, names = manifest_in(ran, "load.names", "names", "wide")
    _, day = manifest_in(ran, "load.day", "days", "wide|2025-10-26")
    assert day.inputs["names"].run_id == names.run_id
    assert day.inputs["names"].partition is None


def test_a_step_without_partitions_reads_all_there_are_in_their_order(ran):
    root, manifest = manifest_in(ran, "report.table", "report", "baseline")
    table = value(root, manifest, "table")
    assert list(table.items()) == [("2025-10-25", "2025-10-25"), ("2025-10-26", "2025-10-26")]
    parts = manifest.inputs["rows"].parts
    assert {key: part.partition for key, part in parts.items()} == {key: key for key in table}


def test_materialisations_carry_the_experiment_and_the_partition(ran):
    _, runs = ran
    events = runs["days", "wide|2025-10-26"].result.get_asset_materialization_events()
    assert {event.materialization.partition for event in events} == {"wide|2025-10-26"}


@pytest.fixture(scope="module")
def graph(ran):
    return load_definitions(ran[0]).resolve_asset_graph()


def upstream(graph, step, of, *keys):
    """The partitions of another step that some of a step's depend on."""
    asset, parent = AssetKey(step.split(".")), AssetKey(of.split("."))
    node, theirs = graph.get(asset), graph.get(parent).partitions_def
    subset = node.partitions_def.subset_with_partition_keys(list(keys))
    mapping = graph.get_partition_mapping(asset, parent)
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        subset, node.partitions_def, theirs
    )
    return set(found.partitions_subset.get_partition_keys())


def test_dagster_knows_which_partitions_depend_on_which(graph):
    days = [f"wide|2025-10-{day}" for day in range(25, 29)]
    assert upstream(graph, "load.clean", "load.day.rows", days[1]) == {days[1]}
    assert upstream(graph, "load.day", "load.names.names", *days) == {"wide"}
    assert upstream(graph, "report.table", "load.clean.rows", "wide") == set(days)
    assert upstream(graph, "report.table", "load.day", "wide") == set(days)


def test_steps_that_dagsters_syntax_selects_have_no_partitions(root):
    pipelines = PIPELINES | {"more": {"select": ['key:"load/day*"']}}
    write_project(root, STEPS, pipelines=pipelines)
    with pytest.raises(ProjectError) as refused:
        load_definitions(root)
    assert str(refused.value).split("\n", 1)[1] == (
        "  pipelines.more.select: load.day has partitions in another pipeline\n"
        "  select steps without partitions"
    )


@pytest.mark.parametrize(
    ("partitions", "key", "window"),
    [
        ({"static": ["north", "south-west"]}, "south-west", None),
        (
            {"hourly": "2024-10-27", "end": "2024-10-27", "timezone": "Europe/Berlin"},
            "2024-10-27-0200+0100",  # the second of two hours that the clock shows alike
            ["2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"],
        ),
    ],
)
def test_names_of_a_list_and_the_hour_that_comes_twice_are_run(root, partitions, key, window):
    work = """
told = context.partition_window
context.save("told", told and [moment.isoformat() for moment in told])
"""
    steps = {"a.b": Step(work, outs={"told": "told.json"})}
    write_project(root, steps, pipelines={"all": {"partitions": partitions}})
    ran = execute(root, experiment=f"baseline|{key}")
    assert ran.passed, ran.log
    manifest = ran.manifest("a.b")
    assert manifest.partition == key
    assert value(root, manifest, "told") == window
    store = Store.open(root, read_catalog(root, []))
    assert store.newest("a.b", "baseline", key) == manifest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A Dagster home of the test's own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))


# --- the Launchpad --------------------------------------------------------------------------------

CONFIG = """query Config($job: String!, $key: String!, $assets: [AssetKeyInput!]!) {
  pipelineOrError(params: {
    pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: "dag"
  }) {
    ... on Pipeline {
      partition(partitionName: $key, selectedAssetKeys: $assets) {
        runConfigOrError { ... on PartitionRunConfig { yaml } }
        tagsOrError { ... on PartitionTags { results { key value } } }
      }
    }
  }
}"""
LAUNCH = """mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""


def launchpad(ui, job, key, *assets):
    """What the Launchpad fills in when a partition is chosen: configuration and tags."""
    chosen = [{"path": asset.split(".")} for asset in assets]
    found = ui.ask(CONFIG, job=job, key=key, assets=chosen)["pipelineOrError"]["partition"]
    return found["runConfigOrError"]["yaml"], found["tagsOrError"]["results"], chosen


def test_the_launchpad_shows_the_values_of_the_experiment_that_is_chosen(ran, home):
    with daemon(ran[0]) as ui:
        text, tags, _ = launchpad(ui, "days", "wide|2025-10-26", "load.day", "load.day.rows")
        assert yaml.safe_load(text) == {"ops": {"load__day": {"config": {"n": 5}}}}
        assert {"key": "dagster/partition", "value": "wide|2025-10-26"} in tags
        text, *_ = launchpad(ui, "days", "baseline|2025-10-26", "load.day", "load.day.rows")
        assert yaml.safe_load(text) == {}
        text, *_ = launchpad(ui, "names", "wide", "load.names", "load.names.names")
        assert yaml.safe_load(text) == {}


def test_values_of_steps_that_are_not_selected_do_no_harm(root, home):
    project(root)
    with daemon(root) as ui:
        text, tags, chosen = launchpad(
            ui, "days", "wide|2025-10-26", "load.clean", "load.clean.rows"
        )
        assert "load__day" in text
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "dag",
            "pipelineName": "days",
            "assetSelection": chosen,
        }
        params = {
            "selector": selector,
            "runConfigData": text,
            "executionMetadata": {"tags": tags},
        }
        assert ui.ask(LAUNCH, params=params)["launchPipelineExecution"]["__typename"] == (
            "LaunchRunSuccess"
        )


@pytest.mark.parametrize(("given_n", "source"), [(5, "experiment"), (6, "run")])
def test_a_value_that_repeats_the_experiments_is_the_experiments(ran, given_n, source):
    config = {"ops": {"load__day": {"config": {"n": given_n}}}}
    again = execute(ran[0], job="days", experiment="wide|2025-10-27", run_config=config)
    assert again.passed, again.log
    found = manifests_of(ran[0])["load.day"]
    assert found.run_id == again.run_id
    assert found.parameters["n"] == Value(given_n, source)


# --- by hand --------------------------------------------------------------------------------------


def by_hand(root, monkeypatch, step, partition=None):
    """The context of a notebook that somebody runs."""
    monkeypatch.chdir(root / "stages" / step.split(".")[0])
    if partition is not None:
        monkeypatch.setenv("DSML_PARTITION", partition)
    declared = load_project(root).steps[step].op_parameters
    return get_context(declared, step=step)


def test_a_notebook_by_hand_is_of_the_newest_partition(root, monkeypatch):
    partitions = {"daily": "2024-01-01", "timezone": "Pacific/Auckland"}
    pipelines = {"days": {"select": "*", "partitions": partitions}}
    write_project(root, {"a.b": Step()}, pipelines=pipelines)
    context = by_hand(root, monkeypatch, "a.b")
    yesterday = datetime.now(zoneinfo.ZoneInfo("Pacific/Auckland")).date() - timedelta(days=1)
    assert context.partition_key == yesterday.isoformat()
    assert context.partition_window[0].date() == yesterday


def test_a_notebook_by_hand_is_of_the_partition_that_the_environment_names(ran, monkeypatch):
    context = by_hand(ran[0], monkeypatch, "load.clean", "2025-10-25")
    assert (context.partition_key, context.load("rows")[0]) == ("2025-10-25", "2025-10-25")
    start, end = context.partition_window
    assert end - start == timedelta(days=1)


def test_a_notebook_by_hand_reads_all_partitions_where_it_has_none(ran, monkeypatch):
    context = by_hand(ran[0], monkeypatch, "report.table")
    assert context.partition_key is None
    assert context.partition_window is None
    assert {"2025-10-25", "2025-10-26"} <= set(context.ins.rows)
    assert all(path.is_file() for path in context.ins.rows.values())


def test_a_draft_has_the_partitions_that_it_will_have(root, monkeypatch):
    write_project(root, {}, pipelines={"days": {"select": "*", "partitions": DAYS}})
    write_notebook(root, "load.draft", Step())
    assert by_hand(root, monkeypatch, "load.draft").partition_key == "2025-10-28"


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (
            "2025-10-29",
            (
                "DSML_PARTITION\n  load.day has no partition '2025-10-29'\n"
                "  they go from '2025-10-25' to '2025-10-28'"
            ),
        ),
        (
            "2025-10-27",
            (
                "stages/load/clean.ipynb, cell 2 (op_parameters), line 3\n"
                "  ins.rows: 'load.day.rows' has not been published in experiment 'baseline', "
                "partition '2025-10-27'\n"
                "  run it first: dsml run days --experiment baseline --partition 2025-10-27 "
                "--select +load.day"
            ),
        ),
    ],
)
def test_what_a_notebook_by_hand_lacks_is_told(root, monkeypatch, partition, told):
    project(root)
    step = "load.day" if partition == "2025-10-29" else "load.clean"
    with pytest.raises(ProjectError) as refused:
        by_hand(root, monkeypatch, step, partition)
    assert str(refused.value) == told


def test_partitions_that_were_never_published_are_backfilled_first(root, monkeypatch):
    project(root)
    with pytest.raises(ProjectError) as refused:
        by_hand(root, monkeypatch, "report.table")
    assert str(refused.value).endswith(
        "  ins.rows: 'load.clean.rows' has not been published in experiment 'baseline'\n"
        "  run it first: dsml backfill days --experiment baseline"
    )


@pytest.mark.slow
def test_dagstermills_engine_knows_partitions_too(root):
    days = PIPELINES["days"] | {"engine": "dagstermill"}
    write_project(root, STEPS, experiments=EXPERIMENTS, pipelines=PIPELINES | {"days": days})
    assert execute(root, job="names", experiment="wide").passed
    run_command(
        *(sys.executable, "-m", "dsml", "run", "days", "-e", "wide", "-p", "2025-10-26"), cwd=root
    )
    found = manifests_of(root)["load.clean"]
    assert (found.experiment, found.partition) == ("wide", "2025-10-26")
    assert value(root, found, "rows") == "2025-10-26"
