"""What starts a pipeline by itself: a schedule, a sensor on files."""

from __future__ import annotations

from dataclasses import dataclass

from dsml.contract.cron import FORM, cron_finding
from dsml.contract.declared import Keys, Reader, key, keys_of
from dsml.contract.storage import credentials_finding
from dsml.contract.timezones import timezone_finding

EACH = "all"  # in the place of an experiment's name: every experiment
_LOCAL = "file://"


@dataclass(frozen=True)
class Schedule:
    """When a pipeline is run by itself; stopped until somebody starts it."""

    cron: str = key("Minute, hour, day of the month, month, day of the week.", default="")
    timezone: str = key("The time zone of these, such as Europe/Berlin.", default="UTC")
    experiment: str = key("The experiment; by default the first, `all` for each.", default="")


@dataclass(frozen=True)
class Sensor:
    """The files for which a pipeline is run, once for each content."""

    watch: str = key("A pattern of files: a path from here, or an address.", default="")
    parameter: str = key("stage.notebook.parameter that is given the file's path.", default="")
    experiment: str = key("The experiment; by default the first, `all` for each.", default="")
    interval: int = key("Seconds between two looks.", default=30)

    @property
    def local(self) -> str | None:
        """The pattern as a path, None where it is an address in a storage."""
        if self.watch.startswith(_LOCAL):
            return self.watch.removeprefix(_LOCAL)
        return None if "://" in self.watch else self.watch


def read_schedule(reader: Reader, keys: Keys, value: object) -> Schedule | None:
    """The schedule of a pipeline, None where there is none."""
    given = reader.mapping(keys, value)
    if not given:
        return None
    reader.known(keys, given, keys_of(Schedule))
    schedule = Schedule(
        reader.text(keys, given, "cron"),
        reader.text(keys, given, "timezone", "UTC"),
        reader.text(keys, given, "experiment"),
    )
    if "cron" not in given:
        reader.report((*keys, "cron"), "is missing", FORM, "missing-key")
    elif isinstance(given["cron"], str) and (finding := cron_finding(schedule.cron)):
        reader.report((*keys, "cron"), *finding, "no-cron")
    if finding := timezone_finding(schedule.timezone):
        reader.report((*keys, "timezone"), *finding, "unknown-timezone")
    return schedule


def read_sensor(reader: Reader, keys: Keys, value: object) -> Sensor | None:
    """The sensor of a pipeline, None where there is none."""
    given = reader.mapping(keys, value)
    if not given:
        return None
    reader.known(keys, given, keys_of(Sensor))
    sensor = Sensor(
        reader.text(keys, given, "watch"),
        reader.text(keys, given, "parameter"),
        reader.text(keys, given, "experiment"),
        reader.whole(keys, given, "interval", 30, what="number of seconds", least=1),
    )
    for name, example in (("watch", "data/incoming/*.csv"), ("parameter", "load.digits.source")):
        if name not in given:
            reader.report((*keys, name), "is missing", f"write {name}: {example}", "missing-key")
    if isinstance(given.get("watch"), str) and (finding := _pattern_finding(sensor)):
        reader.report((*keys, "watch"), *finding, "no-pattern")
    return sensor


def _pattern_finding(sensor: Sensor) -> tuple[str, str] | None:
    """What is wrong with a pattern, whatever lies on the disk."""
    pattern, local = sensor.watch, sensor.local
    if local is not None and "\\" in local:
        return f"{pattern!r} holds backslashes", "write a path with forward slashes"
    # a `?` is a part of a pattern
    if (finding := credentials_finding(pattern.partition("?")[0])) is not None:
        return finding[0], finding[1]
    path = pattern if local is None else local
    if not path.strip() or path.endswith(("/", "/.", "/..")) or path in (".", ".."):
        return (
            f"{pattern!r} names no files",
            "write a pattern of files, such as data/incoming/*.csv",
        )
    return None
