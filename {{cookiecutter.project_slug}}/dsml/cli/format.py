"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime

_MINUTE = 60


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
