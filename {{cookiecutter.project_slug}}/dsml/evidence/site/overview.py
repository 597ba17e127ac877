"""The pages on all runs: their list, and their comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsml.evidence.site.files import write_changed
from dsml.evidence.site.templating import INDEX, environment, script

_KEY_METRICS = 4
_LOOKED_AT = 50  # of the newest runs, for the metrics that most of them have


def key_metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that the list of runs shows: those that most of the newest runs have logged.

    Of metrics that as many runs have, those of a later step come first. What is always the same
    comes after all that changes, and what an instance of a mapped step has logged comes last.
    """
    values: dict[str, list[Any]] = {}
    order: dict[str, int] = {}
    newest = [row for row in rows if row["status"] == "passed"][:_LOOKED_AT]
    for row in newest or rows[:_LOOKED_AT]:
        for position, (name, value) in enumerate(row["metrics"].items()):
            values.setdefault(name, []).append(value)
            order[name] = max(position, order.get(name, 0))

    def rank(name: str) -> tuple[bool, bool, int, int]:
        is_same = len(set(map(str, values[name]))) == 1
        return "[" in name, is_same, -len(values[name]), -order[name]

    return sorted(values, key=rank)[:_KEY_METRICS]


def write_overview(
    site: Path, assets: str, project: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write the list of runs and the page that compares them; the list itself last."""
    newest_first = sorted(rows, key=lambda row: str(row["started"]), reverse=True)
    keys = key_metrics(newest_first)
    shown = [{**row, "metrics": [row["metrics"].get(key) for key in keys]} for row in newest_first]
    statuses = sorted({row["status"] for row in shown})
    values = {
        "project": project,
        "rows": shown,
        "keys": keys,
        "statuses": statuses,
        "experiments": sorted({row["experiment"] for row in shown} - {""}),
        "pipelines": sorted({row["pipeline"] for row in shown} - {""}),
        "up": "",
        "assets": assets,
    }
    data = script("window.dsmlRuns", {"keys": keys, "runs": shown})
    write_changed(site / "runs.js", data)
    for name in ("compare.html", INDEX):
        write_changed(site / name, environment().get_template(name).render(values))
