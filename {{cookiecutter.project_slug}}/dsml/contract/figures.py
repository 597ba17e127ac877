"""Figures as people read them, in notebooks, on the command line and on pages."""

from __future__ import annotations

from datetime import UTC, datetime

_KIB = 1024
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
SHORT_ID = 8


def size(count: int) -> str:
    """A number of bytes."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _KIB:
            break
        amount, unit = amount / _KIB, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def age(moment: str, now: datetime | None = None) -> str:
    """How long ago a moment was, which is given in ISO 8601 with its time zone; "" is unknown."""
    if not moment:
        return ""
    try:
        passed = (now or datetime.now(UTC)) - datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return moment
    seconds = int(passed.total_seconds())
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name} ago"
    return f"{seconds} s ago" if seconds > 0 else "just now"


def shortened(text: str, longest: int) -> str:
    """A text of at most ``longest`` characters; it ends with "…" where something is left out."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def short_id(run_id: str) -> str:
    """The first part of a run's id, which is enough to name the run."""
    return run_id[:SHORT_ID]


def duration(seconds: float | None) -> str:
    """A span of time, given in seconds."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(seconds: float | None) -> str:
    """A point in time, given in seconds since 1970, in the local time zone."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: float | str) -> str:
    """A logged figure."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def counted(count: int, noun: str) -> str:
    """How many there are of something: ``1 run``, ``2 runs``."""
    return f"{count} {noun}{'s' * (count != 1)}"
