"""Figures as people read them, in the notebooks and on the command line."""

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


def short_id(run_id: str) -> str:
    """The first part of a run's id, which is enough to name the run."""
    return run_id[:SHORT_ID]
