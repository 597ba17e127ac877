"""Time zones, by the names of the IANA database."""

from __future__ import annotations

import zoneinfo

from dsml.contract.problem import suggest


def timezone_finding(name: str) -> tuple[str, str] | None:
    """What is wrong with the name of a time zone, and how to mend it."""
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no path of a name, a folder such as Europe
        what = f"there is no time zone '{name}'"
        return what, suggest(name, zoneinfo.available_timezones())
    return None
