"""``dsml summary``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import short_id

if TYPE_CHECKING:
    from dsml.evidence.trace import Trace
    from dsml.store import Store


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--format", "form", type=click.Choice(["markdown", "json"]), default="markdown",
    show_default=True, help="What to print.",
)  # fmt: skip
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Compare the metrics with those of a summary that was written as JSON.",
)
@click.option(
    "--link",
    "links",
    metavar="NAME=URL",
    multiple=True,
    help="What else there is; none without URL.",
)
@click.option(
    "--expand",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write all that the runs have left as a tree of folders, too.",
)
def summary(
    *,
    runs: tuple[str, ...],
    form: str,
    against: Path | None,
    links: tuple[str, ...],
    expand: Path | None,
) -> None:
    """Say on one page how a run went: what failed, its graph, its metrics beside earlier ones.

    RUN is an id, the beginning of one, or `latest`. Default: in a job of continuous integration
    the runs that it has started, elsewhere the latest.
    """
    from dsml.cli.trace import write_tree
    from dsml.evidence import summary as page
    from dsml.evidence.trace import open_store

    named = {name: url for name, url in map(_pair, links) if url}
    earlier = None if against is None else page.read_summaries(against)
    store = open_store(project_root())
    traces = _traces(store, runs)
    if expand is not None:
        for each in traces:
            write_tree(store, each, expand / short_id(each.run_id))
    if form == "json":
        document = page.as_json(page.Summary.of(each) for each in traces)
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        texts = [page.markdown(each, earlier, named) for each in traces]
        click.echo("\n".join(texts) or "No run was started.\n", nl=False)


def _pair(link: str) -> tuple[str, str]:
    name, equals, url = link.partition("=")
    if not (equals and name):
        raise click.UsageError(f"--link {link}: write NAME=URL")
    return name, url


def _traces(store: Store, names: Sequence[str]) -> list[Trace]:
    from dsml.evidence.ci import ci_facts
    from dsml.evidence.summary import runs_of_job
    from dsml.evidence.trace import LATEST, find_run, trace_of

    job = ci_facts(os.environ)
    if not names and "run_id" in job:
        return [trace_of(store, run_id) for run_id in runs_of_job(store, job)]
    return [trace_of(store, find_run(store, name, "dsml summary")) for name in names or (LATEST,)]
