"""How measurements are written down: a table to read, the same as JSON, and on what they ran."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path("build", "bench")
RESULTS = "results.json"


@dataclass(frozen=True)
class Limit:
    """A bound that a measurement has to keep, above or below; all in the unit of `what`."""

    what: str
    measured: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the measurement is within its bound."""
        too_much = self.at_most is not None and self.measured > self.at_most
        return not too_much and (self.at_least is None or self.measured >= self.at_least)

    def __str__(self) -> str:
        """The bound in a line, and whether it is kept."""
        bounds = ((self.at_most, "at most"), (self.at_least, "at least"))
        told = " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)
        verdict = "kept" if self.kept else "NOT KEPT"
        return f"{self.what}: {self.measured:g}, {told} ({verdict})"


@dataclass(frozen=True)
class Result:
    """What one benchmark measured: rows of a table, all with the same keys, and its limits.

    ``notes`` are sentences on what was measured, or why something was not.
    """

    name: str
    title: str
    rows: Sequence[dict[str, Any]]
    limits: Sequence[Limit] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def kept(self) -> bool:
        """Whether every limit is kept."""
        return all(limit.kept for limit in self.limits)


def machine() -> dict[str, str | int]:
    """On what was measured, without a name of the machine or a path of it."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        "memory_gb": _memory(),
        "processor": platform.machine(),
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "pyyaml": version("PyYAML"),
    }


def _cores() -> int:
    return os.cpu_count() or 1


def _memory() -> int:
    """Memory of the machine in GB; 0 where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (AttributeError, OSError, ValueError):
        return 0


def markdown(result: Result) -> str:
    """A result as a table, with a line on each limit below it."""
    told = [str(each) for each in (*result.notes, *result.limits)]
    return "\n\n".join([f"## {result.title}", table(result), *told])


def table(result: Result) -> str:
    """The rows of a result, alone."""
    head = list(result.rows[0])
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line([str(row[key]) for key in head]) for row in result.rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(results: Sequence[Result]) -> str:
    """Add the results to those in `build/bench/`; return the new ones as they are to be read.

    Results of a benchmark that is run again are replaced, those of another machine forgotten.
    """
    about = machine()
    when = datetime.now(UTC).isoformat(timespec="seconds")
    before = [] if not (FOLDER / RESULTS).exists() else _read(about)
    new = {result.name for result in results}
    kept = [entry for entry in before if entry["name"] not in new]
    entries = [{**asdict(result), "kept": result.kept, "measured": when} for result in results]
    entries += kept
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {"machine": about, "results": entries}
    (FOLDER / RESULTS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = page(about, [*results, *map(result_of, kept)])
    (FOLDER / "results.md").write_text(text + "\n", encoding="utf-8")
    return page(about, results)


def _read(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = json.loads((FOLDER / RESULTS).read_bytes())
    return list(found["results"]) if found["machine"] == dict(about) else []


def page(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """All results below a line on the machine."""
    return "\n\n".join(["# Benchmarks", described(about), *map(markdown, results)])


def described(about: Mapping[str, Any]) -> str:
    """A machine on a line."""
    return ", ".join(f"{key} {value}" for key, value in about.items())


def result_of(entry: Mapping[str, Any]) -> Result:
    """A result as it was written."""
    limits = [Limit(**limit) for limit in entry["limits"]]
    return Result(entry["name"], entry["title"], entry["rows"], limits, entry["notes"])
