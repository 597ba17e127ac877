"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime

_KIB = 1024
_MINUTE = 60


def size(count: int) -> str:
    """A number of bytes."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _KIB:
            break
        amount, unit = amount / _KIB, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


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
