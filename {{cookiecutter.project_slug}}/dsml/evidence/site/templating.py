"""The templates of the site, and how values look in them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dsml.contract.figures import duration, short_id, size

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
INDEX = "index.html"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_SIGNS = {
    "passed": "✓",
    "cached": "✓",
    "failed": "✕",
    "killed": "✕",
    "cancelled": "■",
    "running": "●",
}


@functools.cache
def environment() -> Environment:
    """Jinja's environment: everything is escaped, a name that is not there is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": duration,
        "short_id": short_id,
        "size": size,
        "moment": moment,
        "sign": lambda outcome: _SIGNS.get(outcome, "○"),
        "href": href,
        "gathered": gathered,
    }
    return made


def moment(text: str) -> str:
    """A moment in ISO 8601 as people read it, in UTC, since readers are in several time zones."""
    try:
        found = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return found.strftime("%Y-%m-%d %H:%M:%S UTC")


def href(*parts: str) -> str:
    """The address of a file, from the names of its folders and its own; each may hold anything."""
    return "/".join(quote(part, safe="") for part in parts)


def gathered(items: Iterable[Any], attribute: str) -> list[Any]:
    """What several things have under the name of an attribute, as one list."""
    return [each for item in items for each in getattr(item, attribute)]


def plain(text: str) -> str:
    """A text as a terminal shows it: without the escapes that colour it."""
    return _ESCAPES.sub("", text)


def script(assignment: str, value: object) -> str:
    """A script that assigns a value; none of its texts can end the script."""
    text = json.dumps(value, separators=(",", ":"))  # ASCII only
    return f"{assignment} = {text.replace('<', chr(92) + 'u003c')};\n"
