"""`schedule` and `sensor` in the catalog: every way to get them wrong, told at `dsml check`."""

from __future__ import annotations

import pytest

from dsml.contract.cron import FORM

SENSOR = "{watch: data/*.csv, parameter: load.files.source}"
LINE = "catalog.yml, line 3\n  "


@pytest.fixture
def told(make):
    """What is told of a pipeline with some key, in a project with a step and a folder."""
    make.step("load.files", "{}", "source: str = ''\nn: int = 1\nwhat: Any = None")
    make.file("data/one.csv", "")

    def told(text):
        registered = make.catalog("version: 1\n").register().text.removeprefix("version: 1\n")
        make.catalog(f"version: 1\npipelines:\n  all: {{{text}}}\n{registered}")
        return make.messages

    return told


def test_a_schedule_and_a_sensor_are_read(make, told):
    schedule = "{cron: 0 6 * * 1, timezone: Europe/Berlin, experiment: all}"
    sensor = "{watch: data/*.csv, parameter: load.files.source, experiment: baseline, interval: 5}"
    assert told(f"schedule: {schedule}, sensor: {sensor}") == ""
    pipeline = make.project.catalog.pipelines["all"]
    assert (pipeline.schedule.cron, pipeline.schedule.timezone) == ("0 6 * * 1", "Europe/Berlin")
    assert (pipeline.schedule.experiment, pipeline.sensor.experiment) == ("all", "baseline")
    assert (pipeline.sensor.watch, pipeline.sensor.interval) == ("data/*.csv", 5)


def test_what_is_left_out_has_a_default(make, told):
    assert told(f"schedule: {{cron: '@daily'}}, sensor: {SENSOR}") == ""
    pipeline = make.project.catalog.pipelines["all"]
    assert (pipeline.schedule.timezone, pipeline.schedule.experiment) == ("UTC", "")
    assert (pipeline.sensor.experiment, pipeline.sensor.interval) == ("", 30)


@pytest.mark.parametrize("nothing", ["", "~", "{}"])
def test_an_empty_one_is_none(make, told, nothing):
    assert told(f"schedule: {nothing}, sensor: {nothing}") == ""
    pipeline = make.project.catalog.pipelines["all"]
    assert (pipeline.schedule, pipeline.sensor) == (None, None)


SCHEDULES = {
    "a cron that is none": (
        "{cron: 0 25 * * *}",
        f"cron: '0 25 * * *' is no cron: hour 25 is not between 0 and 23\n  {FORM}",
    ),
    "no cron": ("{timezone: UTC}", f"cron: is missing\n  {FORM}"),
    "a number for a cron": ("{cron: 6}", "cron: 6 is no text\n  put it in quotes"),
    "an unknown time zone": (
        "{cron: '@daily', timezone: Europe/Berln}",
        "timezone: there is no time zone 'Europe/Berln'\n  did you mean 'Europe/Berlin'?",
    ),
    "a time zone without its region": (
        "{cron: '@daily', timezone: Berlin}",
        "timezone: there is no time zone 'Berlin'\n  did you mean 'Europe/Berlin'?",
    ),
    "a region for a time zone": (
        "{cron: '@daily', timezone: Europe}",
        "timezone: there is no time zone 'Europe'\n  did you mean 'Europe/",
    ),
    "a path for a time zone": (
        "{cron: '@daily', timezone: ../UTC}",
        "timezone: there is no time zone '../UTC'\n  did you mean 'UTC'?",
    ),
    "an unknown experiment": (
        "{cron: '@daily', experiment: basline}",
        "experiment: there is no experiment 'basline'\n  did you mean 'baseline'?",
    ),
    "an unknown key": (
        "{cron: '@daily', time_zone: UTC}",
        "time_zone: no such key\n  did you mean 'timezone'?",
    ),
}


@pytest.mark.parametrize("mistake", SCHEDULES)
def test_a_mistake_in_a_schedule_is_told(told, mistake):
    text, message = SCHEDULES[mistake]
    assert told(f"schedule: {text}").startswith(f"{LINE}pipelines.all.schedule.{message}")


def sensor(**changed):
    fields = {"watch": "data/*.csv", "parameter": "load.files.source"} | changed
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + "}"


NO_FILES = "names no files\n  write a pattern of files, such as data/incoming/*.csv"
SENSORS = {
    "an unknown step": (
        sensor(parameter="load.file.source"),
        "parameter: there is no step 'load.file'\n  did you mean 'load.files'?",
    ),
    "an unknown parameter": (
        sensor(parameter="load.files.sorce"),
        "parameter: 'load.files' has no parameter 'sorce'\n  did you mean 'source'?",
    ),
    "a parameter that takes no text": (
        sensor(parameter="load.files.n"),
        """parameter: it is given the path of a file, and 'n' is int
  name a parameter of the type str: n: str""",
    ),
    "a step instead of a parameter": (
        sensor(parameter="load.files"),
        "parameter: 'load.files' is no parameter of a notebook\n  write stage.notebook.parameter",
    ),
    "no parameter": (
        "{watch: data/*.csv}",
        "parameter: is missing\n  write parameter: load.digits.source",
    ),
    "no pattern": (
        "{parameter: load.files.source}",
        "watch: is missing\n  write watch: data/incoming/*.csv",
    ),
    "an empty pattern": (sensor(watch="''"), f"watch: '' {NO_FILES}"),
    "a folder's name": (sensor(watch="data/"), f"watch: 'data/' {NO_FILES}"),
    "a bucket": (sensor(watch="s3://bucket/"), f"watch: 's3://bucket/' {NO_FILES}"),
    "credentials": (
        sensor(watch="s3://key:secret@bucket/*.csv"),
        (
            "watch: the address holds a user name, a password or a key\n  leave it out: "
            "credentials come from the environment or the cloud's own chain"
        ),
    ),
    "backslashes": (
        sensor(watch=r"data\*.csv"),
        "watch: 'data\\\\*.csv' holds backslashes\n  write a path with forward slashes",
    ),
    "an interval that is none": (
        sensor(interval=0),
        "interval: 0 is no number of seconds\n  write 1 or more",
    ),
    "an unknown experiment": (
        sensor(experiment="wide"),
        "experiment: there is no experiment 'wide'\n  known are: baseline",
    ),
    "an unknown key": (sensor(watched="x"), "watched: no such key\n  did you mean 'watch'?"),
    "a folder that is not there": (
        sensor(watch="data/incoming/*.csv"),
        """watch: there is no folder 'data/incoming'
  make it: mkdir -p data/incoming, and let git keep it: data/incoming/.gitkeep""",
    ),
    "a folder that is a file": (
        sensor(watch="data/one.csv/*"),
        "watch: 'data/one.csv' is a file\n  name the folder that holds the files",
    ),
    "a folder instead of its files": (
        sensor(watch="data"),
        "watch: 'data' is a folder\n  write which of its files are meant: data/*",
    ),
}


@pytest.mark.parametrize("mistake", SENSORS)
def test_a_mistake_in_a_sensor_is_told(told, mistake):
    text, message = SENSORS[mistake]
    assert told(f"sensor: {text}").startswith(f"{LINE}pipelines.all.sensor.{message}")


@pytest.mark.parametrize(
    "watch", ["data/*/*.csv", "data/one.csv", "data/**/*.csv", "s3://bucket/in/*.csv", "*.csv"]
)
def test_a_pattern_that_leads_somewhere_is_taken(told, watch):
    assert told(f"sensor: {sensor(watch=repr(watch))}") == ""


def test_a_parameter_of_any_type_takes_a_path(told):
    assert told(f"sensor: {sensor(parameter='load.files.what')}") == ""


def test_the_sensor_gives_its_file_to_a_step_of_the_pipeline(make, told):
    make.step("other.step")
    assert told(f"select: other, sensor: {SENSOR}") == (
        f"{LINE}pipelines.all.sensor.parameter: 'load.files' is no step of this pipeline\n"
        "  known are: other.step"
    )


def test_a_step_that_the_pipeline_wires_itself_may_be_given_the_file(make, told):
    make.file("stages/legacy/c.py", "def step_fn(*, source: str = ''):\n    return source\n")
    steps = "steps: {c: {run: stages/legacy/c.py, outs: [x]}}"
    assert told(f"{steps}, sensor: {sensor(parameter='all.c.source')}") == ""


def test_a_folder_that_is_missing_stops_no_run(make, told):
    assert "there is no folder" in told("sensor: " + sensor(watch="gone/*.csv"))
    assert make.project.problems == ()


def test_a_sensor_may_be_declared_before_its_step_is_registered(make):
    make.step("load.files", "{}", "source: str = ''")
    make.file("data/one.csv", "")
    make.catalog(f"version: 1\npipelines:\n  all: {{sensor: {SENSOR}}}\n")
    assert make.messages == (
        f"{LINE}pipelines.all.sensor.parameter: 'load.files' is a draft\n"
        "  run: dsml register stages/load/files.ipynb"
    )
    make.register()
    assert make.messages == ""


def test_a_notebook_that_cannot_be_read_is_told_once(make):
    make.file("stages/load/files.ipynb", "{").file("data/one.csv", "")
    make.catalog(f"version: 1\npipelines:\n  all: {{sensor: {SENSOR}}}\n")
    assert make.messages.count("\n\n") == 0
    assert make.messages.startswith("stages/load/files.ipynb")


def test_a_place_of_this_machine_is_warned_of(make, told):
    assert told(f"sensor: {sensor(watch=f'{make.root}/data/*.csv')}") == ""
    assert make.notes == (
        f"{LINE}warning: pipelines.all.sensor.watch: '{make.root}/data/*.csv' is a place of this "
        "machine: another one may not have it\n"
        "  write a path from here, or an address such as s3://bucket/incoming/*.csv"
    )


def test_a_missing_place_of_this_machine_is_not_for_git_to_keep(told):
    assert told(f"sensor: {sensor(watch='/nowhere/at/all/*.csv')}") == (
        f"{LINE}pipelines.all.sensor.watch: there is no folder '/nowhere/at/all'\n"
        "  make it: mkdir -p /nowhere/at/all"
    )


def test_a_step_that_is_cached_would_not_see_a_changed_file_at_an_address(make, told):
    make.step("a.b", '{"outs": {"x": "x.csv"}}')
    make.step("load.files", '{"ins": {"x": "a.b.x"}}', "source: str = ''")
    sensor = '{watch: "s3://bucket/incoming/*.csv", parameter: load.files.source}'
    assert told(f"sensor: {sensor}") == ""
    assert make.notes == (
        f"{LINE}warning: pipelines.all.sensor.parameter: 'load.files' is left out where its "
        "parameters are unchanged, as an address is\n"
        "  let it run each time: cache: False, in stages/load/files.ipynb"
    )


def test_what_stands_behind_a_question_mark_is_a_part_of_the_pattern_and_no_key(make, told):
    make.step("load.files", "{}", "source: str = ''")
    watched = sensor(watch='"s3://bucket/incoming/?key=*.csv"')
    assert told(f"sensor: {watched}") == ""


def test_a_step_that_is_cached_sees_a_changed_file_of_the_project(make, told):
    make.step("a.b", '{"outs": {"x": "x.csv"}}')
    make.step("load.files", '{"ins": {"x": "a.b.x"}}', "source: str = ''")
    assert told(f"sensor: {SENSOR}") == ""
    assert make.notes == ""
