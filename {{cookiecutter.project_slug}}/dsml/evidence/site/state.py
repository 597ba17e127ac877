"""What the site holds of which runs, so that only what has changed is written again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsml.evidence.site.files import write

STATE_FILE = ".dsml-site.json"
_EVIDENCE = Path(__file__).parents[1]
_SUFFIXES = (".py", ".html", ".css", ".js")


@dataclass(frozen=True)
class Entry:
    """A run that the site has.

    ``stamp`` is the sha256 of its record. One that ``is_final`` is not read again while that stays
    as it is. ``linked`` are the runs of the site to which its pages lead, ``unlinked`` those that
    the site did not have. ``row`` is what the list of all runs says of it, ``metrics`` among it.
    """

    stamp: str
    is_final: bool
    linked: list[str] = field(default_factory=list)
    unlinked: list[str] = field(default_factory=list)
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """All runs that have been written, by which ``version`` of what writes them.

    ``source`` stands for the storage that they are from.
    """

    version: str
    source: str
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, site: Path, source: str) -> State:
        """The state of a site; that of nothing where it was written in another way."""
        empty = cls(version(), source)
        try:
            raw = json.loads((site / STATE_FILE).read_bytes())
            if (raw["version"], raw["source"]) != (empty.version, source):
                return empty
            entries = {run_id: Entry(**entry) for run_id, entry in raw["entries"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return empty
        return cls(empty.version, source, entries)

    def keep(self, site: Path) -> None:
        """Write it down."""
        entries = {run_id: asdict(self.entries[run_id]) for run_id in sorted(self.entries)}
        content = {"version": self.version, "source": self.source, "entries": entries}
        write(site / STATE_FILE, json.dumps(content, separators=(",", ":")) + "\n")


def version() -> str:
    """What tells one way of writing the site from all others: the sha256 of its sources."""
    digest = hashlib.sha256()
    for file in sorted(_EVIDENCE.rglob("*")):
        if file.suffix in _SUFFIXES:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
