"""How measurements are written down: a table to read, the same as JSON, and on what they ran."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path("build", "bench")


@dataclass(frozen=True)
class Limit:
    """A bound that a measurement has to keep; both in the unit of `what`."""

    what: str
    measured: float
    at_most: float

    @property
    def kept(self) -> bool:
        """Whether the measurement is within its bound."""
        return self.measured <= self.at_most


@dataclass(frozen=True)
class Result:
    """What one benchmark measured: rows of a table, all with the same keys, and its limits."""

    name: str
    title: str
    rows: Sequence[dict[str, Any]]
    limits: Sequence[Limit] = field(default_factory=tuple)

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
    head = list(result.rows[0])
    lines = [f"## {result.title}", "", _line(head), _line(["---"] * len(head))]
    lines += [_line([str(row[key]) for key in head]) for row in result.rows]
    for limit in result.limits:
        verdict = "kept" if limit.kept else "NOT KEPT"
        lines += ["", f"{limit.what}: {limit.measured:g}, at most {limit.at_most:g} ({verdict})"]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(results: Sequence[Result]) -> str:
    """Write all results to `build/bench/` and return them as they are to be read."""
    about = machine()
    described = ", ".join(f"{key} {value}" for key, value in about.items())
    text = "\n\n".join(["# Benchmarks", described, *(markdown(result) for result in results)])
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "results.md").write_text(text + "\n", encoding="utf-8")
    found = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": about,
        "results": [{**asdict(result), "kept": result.kept} for result in results],
    }
    (FOLDER / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return text
