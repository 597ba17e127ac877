"""Partitions beside the experiments: their keys, their windows, and every way to get them wrong."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dsml.contract.partitions import StaticPartitions, TimePartitions, join_key, split_key
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.contract.request import resolve_backfill, resolve_request, resolve_requests

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)  # a Wednesday


def timed(kind, start="2024-05-01", **more):
    return TimePartitions(kind, date.fromisoformat(start), **more)


def keys(partitions, now=NOW):
    return partitions.between(None, None, now)


# --- keys and windows -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "start", "expected"),
    [
        ("hourly", "2024-05-15", ["2024-05-15-0000", "2024-05-15-0100", "2024-05-15-1100"]),
        ("daily", "2024-05-12", ["2024-05-12", "2024-05-13", "2024-05-14"]),
        ("weekly", "2024-04-24", ["2024-04-24", "2024-05-01", "2024-05-08"]),
        ("monthly", "2024-02-15", ["2024-02-15", "2024-03-15", "2024-04-15"]),
    ],
)
def test_the_keys_are_the_beginnings_of_what_is_over(kind, start, expected):
    found = keys(timed(kind, start))
    assert [*found[:2], found[-1]] == expected


def test_weeks_begin_on_the_weekday_of_the_first_one():
    starts = [timed("weekly", "2024-05-03").window(key)[0] for key in ("2024-05-03", "2024-05-10")]
    assert [start.strftime("%A") for start in starts] == ["Friday", "Friday"]


def test_what_is_not_over_is_no_partition_yet():
    days = timed("daily")
    assert days.has("2024-05-14", NOW)
    assert not days.has("2024-05-15", NOW)
    assert days.has("2024-05-15", datetime(2024, 5, 16, tzinfo=UTC))


def test_the_newest_is_the_default():
    assert timed("daily").default(NOW) == "2024-05-14"
    assert timed("daily", "2024-05-15").default(NOW) is None


def test_days_are_those_of_the_time_zone():
    days = timed("daily", timezone="Asia/Tokyo")
    assert days.default(datetime(2024, 5, 15, 14, 59, tzinfo=UTC)) == "2024-05-14"
    assert days.default(datetime(2024, 5, 15, 15, tzinfo=UTC)) == "2024-05-15"


def test_an_end_is_the_last_day_that_counts():
    assert keys(timed("daily", end=date(2024, 5, 3))) == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert keys(timed("weekly", end=date(2024, 5, 13))) == ["2024-05-01"]
    assert len(keys(timed("hourly", end=date(2024, 5, 1)))) == 24


def test_some_are_cut_out_by_their_keys():
    assert timed("daily").between("2024-05-12", "2024-05-13", NOW) == ["2024-05-12", "2024-05-13"]
    assert timed("daily").between("2024-05-13", None, NOW) == ["2024-05-13", "2024-05-14"]
    assert timed("daily").between(None, "2024-05-01", NOW) == ["2024-05-01"]


def test_a_day_on_which_the_clock_is_changed_is_an_hour_shorter_or_longer():
    days = timed("daily", "2024-01-01", timezone="Europe/Berlin")

    def hours(key):
        start, end = days.window(key)
        return (end.astimezone(UTC) - start.astimezone(UTC)) / timedelta(hours=1)

    assert [hours(key) for key in ("2024-03-31", "2024-04-01", "2024-10-27")] == [23, 24, 25]


def test_an_hour_that_the_clock_leaves_out_is_no_partition():
    hours = timed("hourly", "2024-03-31", timezone="Europe/Berlin")
    assert keys(hours)[1:4] == ["2024-03-31-0100", "2024-03-31-0300", "2024-03-31-0400"]
    assert hours.position("2024-03-31-0200") is None


def test_an_hour_that_the_clock_shows_twice_is_two_partitions():
    hours = timed("hourly", "2024-10-27", timezone="Europe/Berlin")
    later = datetime(2024, 10, 28, tzinfo=BERLIN)
    twice = keys(hours, later)[2:5]
    assert twice == ["2024-10-27-0200", "2024-10-27-0200+0100", "2024-10-27-0300"]
    assert len(keys(hours, later)) == 25
    assert hours.window(twice[0])[1] == hours.window(twice[1])[0]
    assert hours.window(twice[1])[1] - hours.window(twice[1])[0] == timedelta(hours=1)


def test_a_day_begins_at_one_where_there_is_no_midnight():
    days = timed("daily", "2018-11-01", timezone="America/Sao_Paulo")
    start, _ = days.window("2018-11-04")
    assert start.isoformat() == "2018-11-04T01:00:00-02:00"


@pytest.mark.parametrize("kind", ["hourly", "daily", "weekly", "monthly"])
def test_every_key_is_the_name_of_a_folder_on_windows_too(kind):
    found = keys(timed(kind, "2024-01-01", timezone="America/New_York"))
    assert [key for key in found if not re.fullmatch(r"[\w+-]+", key)] == []


@pytest.mark.parametrize(
    "key",
    ["", "x", "2024-5-14", "20240514", "2024-05-32", "2024-05-14-0000", "9999-12-31", "2024-04-30"],
)
def test_what_is_no_key_is_none(key):
    assert timed("daily").position(key) is None
    assert timed("daily").window(key) is None


def test_names_of_a_list_are_partitions_in_their_order():
    regions = StaticPartitions(("north", "south"))
    assert keys(regions) == ["north", "south"]
    assert regions.between("south", None, NOW) == ["south"]
    assert regions.default(NOW) == "north"
    assert regions.window("south") is None
    assert (regions.has("south", NOW), regions.has("west", NOW)) == (True, False)


@pytest.mark.parametrize(
    ("partitions", "key", "advice"),
    [
        (StaticPartitions(("north", "south")), "sout", "did you mean 'south'?"),
        (timed("weekly"), "2024-05-09", "did you mean '2024-05-08'?"),
        (timed("hourly"), "2024-05-02-0130", "did you mean '2024-05-02-0100'?"),
        (timed("daily"), "2024-04-30", "they go from '2024-05-01' to '2024-05-14'"),
        (timed("daily"), "2024-05-15", "they go from '2024-05-01' to '2024-05-14'"),
        (timed("daily"), "yesterday", "they go from '2024-05-01' to '2024-05-14'"),
        (
            timed("daily", "2024-05-15", timezone="Europe/Berlin"),
            "2024-05-15",
            "there is none yet: the first, '2024-05-15', is over at 2024-05-16 00:00+02:00",
        ),
    ],
)
def test_a_key_that_there_is_not_is_answered_with_those_that_there_are(partitions, key, advice):
    assert partitions.advice(key, NOW) == advice


@pytest.mark.parametrize("partition", [None, "2024-05-01", "a-b"])
def test_dagsters_key_is_experiment_and_partition(partition):
    key = join_key("wide", partition)
    assert key == ("wide" if partition is None else f"wide|{partition}")
    assert split_key(key) == ("wide", partition)


# --- reading --------------------------------------------------------------------------------------


def catalog(partitions):
    return f"version: 1\npipelines:\n  p: {{select: load, partitions: {partitions}}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{daily: 2024-01-01}", timed("daily", "2024-01-01")),
        ("{daily: '2024-01-01'}", timed("daily", "2024-01-01")),
        (
            "{hourly: 2024-01-01, timezone: Europe/Berlin, end: 2024-02-01}",
            timed("hourly", "2024-01-01", timezone="Europe/Berlin", end=date(2024, 2, 1)),
        ),
        ("{static: [north, south-west, v1.2, 'ä b']}", ("north", "south-west", "v1.2", "ä b")),
        ("{}", None),
    ],
)
def test_partitions_are_read_from_the_catalog(make, text, expected):
    make.catalog(catalog(text)).step("load.day")
    found = make.project.catalog.pipelines["p"].partitions
    assert found == (StaticPartitions(expected) if isinstance(expected, tuple) else expected)
    assert make.messages == ""


LISTED = "use letters, digits, '_', '-' and '.'"


@pytest.mark.parametrize(
    ("text", "key", "what", "fix"),
    [
        (
            "{daily: 2024-01-01, hourly: 2024-01-01}",
            "",
            "hourly and daily stand together",
            "keep one of them: a step has one kind of partitions",
        ),
        (
            "{timezone: UTC}",
            "",
            "says neither when nor what they are",
            "write hourly, daily, weekly, monthly with the first date",
        ),
        (
            "{dialy: 2024-01-01, daily: 2024-01-01}",
            ".dialy",
            "no such key",
            "did you mean 'daily'?",
        ),
        (
            "{daily: '2024-13-01'}",
            ".daily",
            "'2024-13-01' is no date",
            "write the first date, such as 2024-01-31",
        ),
        (
            "{daily: 2024-01-01 06:00:00}",
            ".daily",
            "'2024-01-01 06:00:00' is no date",
            "write the first date, such as 2024-01-31",
        ),
        ("{daily: 20240101}", ".daily", "20240101 is no date", "write the first date, such as"),
        ("{daily: }", ".daily", "None is no date", "write the first date, such as 2024-01-31"),
        (
            "{daily: 2024-01-01, end: soon}",
            ".end",
            "'soon' is no date",
            "write the last date, such as 2024-01-31",
        ),
        (
            "{daily: 2024-02-01, end: 2024-01-01}",
            ".end",
            "no day from 2024-02-01 on is over by 2024-01-01",
            "write a later date, or leave it out",
        ),
        (
            "{monthly: 2024-02-01, end: 2024-02-20}",
            ".end",
            "no month from 2024-02-01 on is over by 2024-02-20",
            "write a later date, or leave it out",
        ),
        (
            "{daily: 2024-02-01, end: 9999-12-31}",
            ".end",
            "9999-12-31 lies too far ahead",
            "leave it out: without it they go on for ever",
        ),
        (
            "{daily: 2999-01-01}",
            ".daily",
            "2999-01-01 lies in the future: there is nothing to run yet",
            "write 2",
        ),
        (
            "{daily: 1969-12-31}",
            ".daily",
            "1969-12-31 lies too far back",
            "write 1970-01-01 or later",
        ),
        (
            "{monthly: 2024-01-31}",
            ".monthly",
            "not every month has a day 31",
            "begin on a day from 1 to 28",
        ),
        (
            "{daily: 2024-01-01, timezone: Europe/Berln}",
            ".timezone",
            "there is no time zone 'Europe/Berln'",
            "did you mean 'Europe/Berlin'?",
        ),
        (
            "{hourly: 2024-01-01, timezone: Australia/Lord_Howe}",
            ".hourly",
            "the clocks of Australia/Lord_Howe are shifted by half an hour at times",
            "write timezone: UTC, or daily partitions",
        ),
        ("{static: []}", ".static", "[] is no list of names", "write static: [a, b]"),
        ("{static: north}", ".static", "'north' is no list of names", "write static: [a, b]"),
        ("{static: [2024]}", ".static", "2024 is no text", "put it in quotes"),
        ("{static: [a, b, a]}", ".static", "'a' stands twice", "keep one of the two"),
        (
            "{static: [a, A]}",
            ".static",
            "'a' and 'A' are the same folder on some disks",
            "keep one of the two",
        ),
        (
            "{static: [a], timezone: UTC}",
            ".timezone",
            "means nothing for a list of names",
            "take it out",
        ),
        *(
            (
                f"{{static: [{name!r}]}}",
                ".static",
                f"{name!r} is no usable name: it becomes that of a folder",
                LISTED,
            )
            for name in (
                "a|b",
                "a/b",
                "..",
                ".a",
                "a.",
                "a ",
                "nul",
                "Com1.x",
                "a...b",
                "a,b",
                "all",
            )
        ),
    ],
)
def test_what_is_wrong_with_partitions_is_told_with_how_to_mend_it(make, text, key, what, fix):
    make.catalog(catalog(text)).step("load.day")
    where, told, mended = make.messages.split("\n")
    assert where == "catalog.yml, line 3"
    assert told == f"  pipelines.p.partitions{key}: {what}"
    assert mended.startswith(f"  {fix}")


# --- steps ----------------------------------------------------------------------------------------

DAILY = "{daily: 2024-01-01}"


def project(make, pipelines):
    make.step("load.day", '{"outs": {"rows": "rows.csv"}}')
    make.step("load.sizes", '{"outs": {"sizes": "sizes.json"}}')
    make.step("report.table", '{"ins": {"rows": "load.day.rows"}}')
    lines = "".join(f"  {name}: {text}\n" for name, text in pipelines.items())
    return make.catalog(f"version: 1\npipelines:\n{lines}register: {{}}\n").register()


def test_a_step_has_the_partitions_of_the_pipelines_that_select_it(make):
    both = {
        "days": f"{{select: load.day, partitions: {DAILY}}}",
        "again": f"{{select: [+load.day], partitions: {DAILY}}}",
        "rest": "{select: [load.sizes, report]}",
    }
    found = load_project(project(make, both).root).partitions
    assert found == {"load.day": timed("daily", "2024-01-01")}


def test_pipelines_that_disagree_about_a_step_are_told_so(make):
    project(make, {"all": '{select: "*"}'})
    make.catalog(
        make.text.replace("register:", f"  days: {{select: load, partitions: {DAILY}}}\nregister:")
    )
    assert make.messages == (
        "catalog.yml, line 4\n"
        "  pipelines.days: load.day, load.sizes with partitions (daily from 2024-01-01) here, "
        "and with no partitions in 'all'\n"
        "  give both pipelines the same partitions, or select each step in only one of them"
    )


def test_partitions_that_differ_in_their_time_zone_disagree(make):
    project(make, {"days": f"{{select: load.day, partitions: {DAILY}}}"})
    other = "{daily: 2024-01-01, timezone: Europe/Berlin}"
    make.catalog(
        make.text.replace(
            "register:", f"  more: {{select: load.day, partitions: {other}}}\nregister:"
        )
    )
    assert (
        "load.day with partitions (daily from 2024-01-01 in Europe/Berlin) here, "
        "and with partitions (daily from 2024-01-01) in 'days'"
    ) in make.messages


def test_a_draft_is_nothing_that_pipelines_disagree_about(make):
    days = {"days": f"{{select: load, partitions: {DAILY}}}", "all": "{select: [report]}"}
    project(make, days)
    make.step("load.draft").catalog(make.text.replace("[report]", "[report, load.draft]"))
    assert make.messages == ""


def test_dagsters_syntax_cannot_say_which_steps_have_partitions(make):
    make.catalog(f"version: 1\npipelines:\n  p: {{select: 'key:\"a\"', partitions: {DAILY}}}\n")
    assert make.messages == (
        "catalog.yml, line 3\n"
        "  pipelines.p.select: Dagster's own syntax tells too late which steps are meant\n"
        "  name stages and steps in a pipeline with partitions: [load, train.fit+]"
    )


@pytest.mark.parametrize(
    "pipelines",
    [
        {"days": f'{{select: "*", partitions: {DAILY}}}'},
        {"days": f"{{select: load, partitions: {DAILY}}}", "rest": "{select: report}"},
        {"days": f"{{select: report, partitions: {DAILY}}}", "rest": "{select: load}"},
    ],
)
def test_a_step_reads_from_one_with_the_same_partitions_with_none_or_from_all(make, pipelines):
    project(make, pipelines)
    assert make.messages == ""


def test_a_step_cannot_read_from_one_with_other_partitions(make):
    make.step("load.day", '{"outs": {"rows": "rows.csv"}}')
    make.step("report.table", '{"ins": {"rows": "load.day.rows"}}')
    make.catalog(f"""\
        version: 1
        pipelines:
          days: {{select: load, partitions: {DAILY}}}
          weeks: {{select: report, partitions: {{weekly: 2024-01-01}}}}
        """)
    assert make.messages == (
        "stages/report/table.ipynb, cell 1 (op_parameters), line 1\n"
        "  ins.rows: 'load.day.rows' has partitions (daily from 2024-01-01), and those of "
        "report.table are another matter: weekly from 2024-01-01\n"
        "  select both steps in pipelines of the same partitions"
    )


def test_a_list_that_a_step_is_mapped_over_is_one_list(make):
    make.step("load.sizes", '{"outs": {"sizes": "sizes.json"}}')
    make.step("train.fit", '{"map": {"n": "load.sizes.sizes"}}', "n: int = 1")
    make.catalog(f"""\
        version: 1
        pipelines:
          days: {{select: load, partitions: {DAILY}}}
          rest: {{select: train}}
        """)
    assert (
        "  map.n: 'load.sizes.sizes' has partitions (daily from 2024-01-01), "
        "and train.fit has none\n"
    ) in make.messages


# --- what is asked for ----------------------------------------------------------------------------


@pytest.fixture
def asked(make):
    """A project with a pipeline of days, one of regions, and one without partitions."""
    end = "{daily: 2024-01-01, end: 2024-01-04}"
    pipelines = {
        "days": f"{{select: load.day, partitions: {end}}}",
        "regions": "{select: load.sizes, partitions: {static: [north, south]}}",
        "plain": "{select: report}",
    }
    make = project(make, pipelines)
    make.catalog(make.text.replace("version: 1", "version: 1\nexperiments: {a: {}, b: {}}"))
    return load_project(make.root)


def test_a_run_is_of_the_newest_partition_or_of_the_first_of_a_list(asked):
    newest = [resolve_request(asked, pipeline=name).partition for name in asked.catalog.pipelines]
    assert newest == ["2024-01-04", "north", None]


def test_dagsters_key_of_a_request_is_experiment_and_partition(asked):
    assert resolve_request(asked, pipeline="regions", partition="south").key == "a|south"
    assert resolve_request(asked, pipeline="plain", experiment="b").key == "b"


def test_all_experiments_are_one_request_each(asked):
    found = resolve_requests(asked, pipeline="days", experiment="all", partition="2024-01-02")
    assert [request.key for request in found] == ["a|2024-01-02", "b|2024-01-02"]


def test_an_experiment_may_be_called_all(make):
    make.step("load.day").catalog("version: 1\nexperiments: {a: {}, all: {}}\n").register()
    found = resolve_requests(load_project(make.root), experiment="all")
    assert [request.experiment for request in found] == ["all"]


@pytest.mark.parametrize(
    ("pipeline", "arguments", "keys"),
    [
        ("days", {}, ["a|2024-01-01", "a|2024-01-02", "a|2024-01-03", "a|2024-01-04"]),
        ("days", {"first": "2024-01-03", "experiment": "b"}, ["b|2024-01-03", "b|2024-01-04"]),
        ("regions", {"last": "north", "experiment": "all"}, ["a|north", "b|north"]),
        ("plain", {}, ["a", "b"]),
        ("plain", {"experiment": "b"}, ["b"]),
    ],
)
def test_a_backfill_is_one_request_for_each_partition(asked, pipeline, arguments, keys):
    assert [request.key for request in resolve_backfill(asked, pipeline, **arguments)] == keys


def test_a_pipeline_none_of_whose_partitions_is_over_cannot_be_run(make):
    today = datetime.now(UTC).date()
    make.step("load.day").catalog(f"""\
        version: 1
        pipelines:
          days: {{partitions: {{monthly: {today.replace(day=1)}}}}}
        """).register()
    over = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    told = (
        "  the pipeline 'days' has no partition that is over\n  there is none yet: the first, "
        f"'{today.replace(day=1)}', is over at {over} 00:00+00:00"
    )
    for asking in (resolve_request, resolve_backfill):
        with pytest.raises(ProjectError) as refused:
            asking(load_project(make.root), pipeline="days")
        assert str(refused.value).split("\n", 1)[1] == told


def test_three_dots_in_a_name_are_kept_for_dagster(make):
    make.catalog("version: 1\nexperiments: {a...b: {}}\n")
    assert "'a...b' is no usable name\n" in make.messages
