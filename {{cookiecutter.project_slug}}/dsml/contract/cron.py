"""Cron: the times of a schedule, checked before Dagster reads them, and told in words.

The fields are those of crontab(5), with what Dagster's parser takes beside them: ``?``, the last
day of the month (``l``), the last Friday (``l5``), the second Monday (``mon#2``). Left out is what
is no regular time (``r``), and what is accepted elsewhere but never means what it says: a step
beyond its field, a day that no month has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

FORM = "write minute, hour, day of the month, month, day of the week: 0 6 * * 1 is Monday at 6"
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # of the values from `first` on
    first: int = 0
    special: re.Pattern[str] | None = None


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NTH = re.compile(rf"([0-7]|{'|'.join(_DAYS)})#[1-5]|l[0-7]")  # the second Monday, the last Friday
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31, special=re.compile("l")),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _DAYS, 0, _NTH),
)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of the months, at most
_ITEM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\w+))?", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}", re.ASCII)


class _Refused(ValueError):
    """What is wrong with a field."""


def cron_finding(cron: str) -> tuple[str, str] | None:
    """What is wrong with a cron, and how to mend it."""
    text = cron.strip()
    if text.startswith("@"):
        known = ", ".join(ALIASES)
        return None if text.lower() in ALIASES else (f"{cron!r} is unknown", f"known are: {known}")
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        fields = f"{len(parts)} field{'s' * (len(parts) != 1)}"
        return f"{cron!r} has {fields}, and a cron has {len(_FIELDS)}", FORM
    try:
        values = [
            _values(field, part.split(",")) for field, part in zip(_FIELDS, parts, strict=True)
        ]
        _check_days(values[2], values[3])
    except _Refused as refused:
        return f"{cron!r} is no cron: {refused}", FORM
    return None


def _values(field: _Field, items: list[str]) -> frozenset[int] | None:
    """The numbers that a field names, None where these cannot be told, or are all of them."""
    if items == ["?"] and field.name.startswith("day"):
        return None
    special = [item for item in items if field.special and field.special.fullmatch(item)]
    if special and field.names and len(special) < len(items):
        raise _Refused(f"{field.name} mixes '{special[0]}' with other days")
    found = [_range(field, item) for item in items if item not in special]
    return None if special else frozenset().union(*found)


def _range(field: _Field, item: str) -> frozenset[int]:
    match = _ITEM.fullmatch(item)
    if match is None or (match["low"] == "*" and match["high"]):
        raise _Refused(f"{field.name} '{item}' is neither a value, a range nor a step")
    every = match["low"] == "*"
    low = field.low if every else _value(field, match["low"])
    step = _step(field, match["step"])
    if match["high"]:
        high = _value(field, match["high"])
    else:
        high = field.high if every or match["step"] else low
    if low <= high:
        return frozenset(range(low, high + 1, step))
    return frozenset((*range(low, field.high + 1, step), *range(field.low, high + 1, step)))


def _value(field: _Field, text: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.first
    if not _NUMBER.fullmatch(text):
        name = f", nor a name such as {field.names[1]}" if field.names else ""
        raise _Refused(f"{field.name} '{text}' is no number{name}")
    if not field.low <= int(text) <= field.high:
        raise _Refused(f"{field.name} {text} is not between {field.low} and {field.high}")
    return int(text)


def _step(field: _Field, text: str | None) -> int:
    if text is None:
        return 1
    most = field.high - field.low
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise _Refused(f"the step of {field.name}, '{text}', is not between 1 and {most}")
    return int(text)


def _check_days(days: frozenset[int] | None, months: frozenset[int] | None) -> None:
    """Refuse the 31st of April, which never comes."""
    if days and months and all(d > _LONGEST[m - 1] for d, m in product(days, months)):
        raise _Refused(f"no month that it names has a day {min(days)}")


def in_words(cron: str) -> str:
    """A cron as people say it where that is simple, else the cron itself."""
    parts = ALIASES.get(cron.strip().lower(), cron).lower().split()
    minute, hour, day, month, weekday = parts
    every = re.fullmatch(r"\*/(\d+)", minute)
    if month != "*" or "*" not in (day, weekday):
        return cron
    if (hour, day, weekday) == ("*", "*", "*"):
        if minute == "*" or every:
            return f"every {every[1]} minutes" if every else "every minute"
        return f"hourly at minute {minute}" if minute.isdigit() else cron
    days = _days_in_words(day, weekday)
    if not (minute.isdigit() and hour.isdigit() and days):
        return cron
    return f"{days} at {int(hour):02}:{int(minute):02}"


def _days_in_words(day: str, weekday: str) -> str:
    if (day, weekday) == ("*", "*"):
        return "daily"
    if day != "*":
        return f"monthly on day {day}" if day.isdigit() else ""
    if weekday in ("1-5", "mon-fri"):
        return "Monday to Friday"
    names = [_DAYS.index(w) if w in _DAYS else int(w) % 7 for w in weekday.split(",") if w in _SAID]
    full = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    return ", ".join(full[n] for n in names) if len(names) == len(weekday.split(",")) else ""


_SAID = (*_DAYS, *map(str, range(8)))
