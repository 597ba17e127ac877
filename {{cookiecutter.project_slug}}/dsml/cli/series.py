"""Several runs, one after the other: each experiment, each partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dsml.cli.execution import Ended, run_shown, tell_failure
from dsml.contract.figures import counted, duration, short_id
from dsml.contract.project import Project
from dsml.contract.request import RunRequest

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from rich.console import Console


def run_series(
    project: Project,
    requests: Sequence[RunRequest],
    instance: DagsterInstance,
    console: Console,
    tags: Mapping[str, str] | None = None,
) -> list[Ended]:
    """Execute runs until one of them is cancelled; one that fails keeps no other from being run."""
    found: list[Ended] = []
    try:
        for request in requests:
            ended = run_shown(project, request, instance, console, tags)
            found.append(ended)
            if not ended.passed:
                tell_failure(ended)
            console.print()
            if ended.was_cancelled:
                break
    except KeyboardInterrupt:  # between two runs
        pass
    return found


def passed(requests: Sequence[RunRequest], found: Sequence[Ended]) -> bool:
    """Whether all that was to be run has been, and passed."""
    return len(found) == len(requests) and all(ended.passed for ended in found)


def tell_series(console: Console, requests: Sequence[RunRequest], found: Sequence[Ended]) -> None:
    """Say how each run ended, and how many there were."""
    from dsml.cli.console import make_table

    columns = ("experiment", "partition", "run", "status", "took")
    table = make_table(columns, right=["took"], no_wrap=True)
    for ended in found:
        request, word = ended.request, _word(ended)
        colour = "green" if ended.passed else "red"
        table.add_row(
            request.experiment,
            request.partition or "",
            short_id(ended.run_id),
            f"[{colour}]{word}[/]",
            duration(ended.seconds),
        )
    for request in requests[len(found) :]:
        table.add_row(request.experiment, request.partition or "", "", "not run", "")
    console.print(table, highlight=False)
    words = Counter([_word(ended) for ended in found])
    words["not run"] = len(requests) - len(found)
    told = ", ".join(f"{count} {word}" for word, count in words.items() if count)
    console.print(f"\n{counted(len(requests), 'run')}: {told}", highlight=False)
    for warning in dict.fromkeys(each for ended in found for each in ended.progress.warnings):
        click.echo(f"\n{warning}", err=True)


def _word(ended: Ended) -> str:
    if ended.was_cancelled:
        return "cancelled"
    return "passed" if ended.passed else "failed"
