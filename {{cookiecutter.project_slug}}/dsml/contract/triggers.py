"""What starts a pipeline by itself: a schedule, a sensor on files."""

from __future__ import annotations

from dataclasses import dataclass

from dsml.contract.cron import FORM, cron_finding
from dsml.contract.declared import Record, key, keys_of
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


def read_schedule(record: Record) -> Schedule | None:
    """The schedule of a pipeline, None where there is none."""
    if not record.value:
        return None
    record.known(keys_of(Schedule))
    schedule = Schedule(
        record.text("cron"),
        record.text("timezone", "UTC"),
        record.text("experiment"),
    )
    if "cron" not in record.value:
        record.report(("cron",), "is missing", FORM, "missing-key")
    elif isinstance(record.value["cron"], str) and (finding := cron_finding(schedule.cron)):
        record.report(("cron",), *finding, "no-cron")
    if finding := timezone_finding(schedule.timezone):
        record.report(("timezone",), *finding, "unknown-timezone")
    return schedule


def read_sensor(record: Record) -> Sensor | None:
    """The sensor of a pipeline, None where there is none."""
    if not record.value:
        return None
    record.known(keys_of(Sensor))
    sensor = Sensor(
        record.text("watch"),
        record.text("parameter"),
        record.text("experiment"),
        record.whole("interval", 30, what="number of seconds", least=1),
    )
    for name, example in (("watch", "data/incoming/*.csv"), ("parameter", "load.digits.source")):
        if name not in record.value:
            record.report((name,), "is missing", f"write {name}: {example}", "missing-key")
    if isinstance(record.value.get("watch"), str) and (finding := _pattern_finding(sensor)):
        record.report(("watch",), *finding, "no-pattern")
    return sensor


def _pattern_finding(sensor: Sensor) -> tuple[str, str] | None:
    """What is wrong with a pattern, whatever lies on the disk."""
    pattern, local = sensor.watch, sensor.local
    if local is not None and "\\" in local:
        return f"{pattern!r} holds backslashes", "write a path with forward slashes"
    # a `?` is a part of a pattern
    if (finding := credentials_finding(pattern.partition("?")[0])) is not None:
        return finding[:2]
    path = pattern if local is None else local
    if not path.strip() or path.endswith(("/", "/.", "/..")) or path in (".", ".."):
        fix = "write a pattern of files, such as data/incoming/*.csv"
        return f"{pattern!r} names no files", fix
    return None
