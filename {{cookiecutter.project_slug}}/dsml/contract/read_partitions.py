"""Reading what the catalog says of a pipeline's partitions."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dsml.contract.declared import Record
from dsml.contract.partitions import (
    HOUR,
    LAST_YEAR,
    STATIC,
    TIMED,
    Partitions,
    StaticPartitions,
    TimePartitions,
)
from dsml.contract.timezones import timezone_finding

PARTITIONS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{
            kind: {
                "type": "string",
                "format": "date",
                "description": f"The first date of {kind} ones.",
            }
            for kind in TIMED
        },
        "timezone": {
            "type": "string",
            "description": "The time zone of the dates; UTC by default.",
        },
        "end": {
            "type": "string",
            "format": "date",
            "description": "The last date; without it they go on for ever.",
        },
        STATIC: {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "The names of those that are not dates.",
        },
    },
    "additionalProperties": False,
}

_PERIODS = dict(zip(TIMED, ("hour", "day", "week", "month"), strict=True))
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EARLIEST = date(1970, 1, 1)
_LAST_DAY = 28  # that every month has
# Names of folders: those that Windows keeps for devices are none, nor is that of no partition.
_FOLDER = re.compile(r"\w(?:[\w.+ -]*[\w+-])?")
_NO_FOLDER = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|all|.*\.\.\..*", re.IGNORECASE)


def read_partitions(record: Record) -> Partitions | None:
    """The partitions of a pipeline, such as ``{daily: 2024-01-01, timezone: Europe/Berlin}``."""
    if not record.value:
        return None
    record.known((*TIMED, "timezone", "end", STATIC))
    kinds = [kind for kind in (*TIMED, STATIC) if kind in record.value]
    if len(kinds) > 1:
        what = f"{' and '.join(kinds)} stand together"
        record.report((), what, "keep one of them: a step has one kind of partitions", "kinds")
        return None
    if not kinds:
        fix = f"write {', '.join(TIMED)} with the first date (daily: 2024-01-01), or static: [a, b]"
        record.report((), "says neither when nor what they are", fix, "missing-key")
        return None
    if kinds == [STATIC]:
        return _read_static(record)
    return _read_timed(record, kinds[0])


def _read_static(record: Record) -> StaticPartitions | None:
    for name in {"timezone", "end"} & record.value.keys():
        what = "means nothing for a list of names"
        record.report((name,), what, "take it out", "unknown-key")
    names, keys = record.value[STATIC], (STATIC,)
    if not isinstance(names, list) or not names:
        record.report(keys, f"{names!r} is no list of names", "write static: [a, b]", "wrong-type")
        return None
    seen: dict[str, str] = {}
    for name in names:
        finding = _name_finding(name, seen)
        if finding:
            record.report(keys, *finding)
    return StaticPartitions(tuple(seen.values())) if seen else None


def _name_finding(name: object, seen: dict[str, str]) -> tuple[str, str, str] | None:
    """What is wrong with a name, and its mending; a good one is added to ``seen``."""
    if not isinstance(name, str):
        return f"{name!r} is no text", "put it in quotes", "wrong-type"
    if not _FOLDER.fullmatch(name) or _NO_FOLDER.fullmatch(name):
        what = f"{name!r} is no usable name: it becomes that of a folder"
        return what, "use letters, digits, '_', '-' and '.'", "no-name"
    folded = name.casefold()
    if folded in seen:
        what = f"{name!r} stands twice"
        if name != seen[folded]:
            what = f"{seen[folded]!r} and {name!r} are the same folder on some disks"
        return what, "keep one of the two", "duplicate"
    seen[folded] = name
    return None


def _read_timed(record: Record, kind: str) -> TimePartitions | None:
    zone = record.text("timezone", "UTC")
    finding = timezone_finding(zone)
    if finding:
        record.report(("timezone",), *finding, "unknown-timezone")
        zone = "UTC"
    start = _read_date(record, kind)
    end = _read_date(record, "end")
    if start is None:
        return None
    found = TimePartitions(kind, start, zone, end)
    problems = [_start_finding(found), _clock_finding(found)]
    for finding in filter(None, problems):
        record.report((kind,), *finding, "start")
    if any(problems):
        return None
    finding = _end_finding(found)
    if finding:
        record.report(("end",), *finding, "end")
        return None
    return found


def _read_date(record: Record, name: str) -> date | None:
    """A date, as YAML or as text has it."""
    value = record.value.get(name)
    if value is None and name == "end":
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    shown = f"'{value}'" if isinstance(value, date) else repr(value)
    fix = f"write the {'last' if name == 'end' else 'first'} date, such as 2024-01-31"
    record.report((name,), f"{shown} is no date", fix, "no-date")
    return None


def _start_finding(found: TimePartitions) -> tuple[str, str] | None:
    today = datetime.now(ZoneInfo(found.timezone)).date()
    if found.start > today:
        what = f"{found.start} lies in the future: there is nothing to run yet"
        return what, f"write {today} or earlier"
    if found.start < _EARLIEST:
        return f"{found.start} lies too far back", f"write {_EARLIEST} or later"
    if found.kind == "monthly" and found.start.day > _LAST_DAY:
        what = f"not every month has a day {found.start.day}"
        return what, f"begin on a day from 1 to {_LAST_DAY}"
    return None


def _end_finding(found: TimePartitions) -> tuple[str, str] | None:
    if found.end is not None and found.end.year > LAST_YEAR:
        return f"{found.end} lies too far ahead", "leave it out: without it they go on for ever"
    if found.position(found.key(0)) is None:
        what = f"no {_PERIODS[found.kind]} from {found.start} on is over by {found.end}"
        return what, "write a later date, or leave it out"
    return None


def _clock_finding(found: TimePartitions) -> tuple[str, str] | None:
    """Hours of a clock that is shifted by half an hour are not told alike everywhere."""
    if found.kind != "hourly" or found.start < _EARLIEST:
        return None
    zone, last = ZoneInfo(found.timezone), datetime.now(UTC).year + 1
    offsets = [
        datetime(year, month, 1, tzinfo=zone).utcoffset()
        for year in range(found.start.year, last + 1)
        for month in range(1, 13)
    ]
    if len({offset % HOUR for offset in offsets if offset is not None}) == 1:
        return None
    what = f"the clocks of {found.timezone} are shifted by half an hour at times"
    return what, "write timezone: UTC, or daily partitions"
