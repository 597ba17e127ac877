"""``dsml compare``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.cli.runs import LOOKED_AT, where_option
from dsml.contract.catalog import Catalog, read_catalog
from dsml.contract.problem import Problem, ProjectError, Where

if TYPE_CHECKING:
    from dsml.evidence.comparison import Comparison, Row

COMMAND = "dsml compare"
_LIMIT = 10


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("-e", "--experiment", help="Only runs of this experiment.")
@click.option("-m", "--metric", "metrics", multiple=True, help="Only this metric; repeat for more.")
@click.option("-s", "--sort", help="Sort by this metric, the highest first.")
@click.option("--ascending", is_flag=True, help="Sort the lowest first.")
@where_option
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), help=f"Runs of each experiment; default: {_LIMIT}."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a PNG.")
def compare(
    *,
    runs: tuple[str, ...],
    pipeline: str | None,
    experiment: str | None,
    metrics: tuple[str, ...],
    sort: str | None,
    ascending: bool,
    conditions: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    html: Path | None,
    plot: Path | None,
) -> None:
    """Compare runs: parameters and metrics, without what is the same in all of them.

    RUN is an id, the beginning of one, or `latest`. Default: the newest runs of each experiment
    that have published something, the newest first.
    """
    from dsml.cli.comparison_table import show
    from dsml.cli.console import make_console
    from dsml.evidence import comparison
    from dsml.evidence.comparison_view import grid_of

    _check_usage(runs, pipeline, experiment, limit, sort, plot, ascending=ascending)
    root = project_root()
    catalog = read_catalog(root, [])
    rows = _rows(root, catalog, runs, pipeline, experiment, conditions, limit or _LIMIT)
    if not rows:
        what, fix = "there are no such runs", "dsml runs lists them, dsml run makes one"
        raise ProjectError([Problem(Where(COMMAND), what, fix, "no-runs")])
    found = comparison.compare(rows, metrics=metrics, sort=sort, ascending=ascending)
    try:
        _write(found, catalog.project, html, plot)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        what = f"'{error.filename}' cannot be written: {error.strerror}"
        fix = "name a file in a folder that is there and may be written to"
        raise ProjectError([Problem(Where(COMMAND), what, fix, "not-written")]) from None
    if as_json:
        click.echo(json.dumps(comparison.as_json(found), indent=1))
    else:
        show(make_console(), grid_of(found))
        for file in filter(None, (html, plot)):
            click.echo(f"written: {file}")


def _check_usage(
    runs: Sequence[str],
    pipeline: str | None,
    experiment: str | None,
    limit: int | None,
    sort: str | None,
    plot: Path | None,
    *,
    ascending: bool,
) -> None:
    if runs and (pipeline or experiment or limit):
        raise click.UsageError("RUN goes without --pipeline, --experiment and --limit")
    if ascending and not sort:
        raise click.UsageError("--ascending goes with --sort")
    if plot is not None and plot.suffix.lower() != ".png":
        raise click.UsageError("--plot takes a file that ends with .png")


def _rows(
    root: Path,
    catalog: Catalog,
    names: Sequence[str],
    pipeline: str | None,
    experiment: str | None,
    conditions: Sequence[str],
    limit: int,
) -> list[Row]:
    from dsml.evidence.comparison import read_row
    from dsml.evidence.conditions import meeting, read_condition
    from dsml.evidence.manifests import known_steps
    from dsml.orchestrate.history import find_run, list_runs
    from dsml.orchestrate.launch import open_instance
    from dsml.store import Store

    store, steps = Store.open(root, catalog), known_steps(catalog)
    with open_instance(root) as instance:
        if names:
            found = [find_run(instance, name, COMMAND) for name in names]
        else:
            found = list_runs(instance, LOOKED_AT, pipeline=pipeline, experiment=experiment)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for run in {run.run_id: run for run in found}.values():
            if names or counts[run.experiment] < limit:
                row = read_row(store, steps, run)
                if names or row.values:
                    yield row

    chosen: list[Row] = []
    for row in meeting(rows(), [read_condition(text, COMMAND) for text in conditions], COMMAND):
        counts[row.run.experiment] += 1
        chosen.append(row)
    return chosen


def _write(found: Comparison, project: str, html: Path | None, plot: Path | None) -> None:
    if html is not None:
        from dsml.evidence.comparison_view import page

        html.write_text(page(found, project), encoding="utf-8")
    if plot is not None:
        from dsml.evidence.comparison_plot import plot as draw

        draw(found, plot)
