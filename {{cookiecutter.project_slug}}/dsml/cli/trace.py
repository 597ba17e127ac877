"""``dsml trace``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsml.cli import cli, project_root
from dsml.contract.figures import duration
from dsml.contract.problem import Problem, ProjectError, Where

if TYPE_CHECKING:
    from rich.tree import Tree

    from dsml.evidence.trace import Trace
    from dsml.step.spans import Span
    from dsml.store import Store

_COLOURS = {"passed": "green", "cached": "green", "failed": "red", "killed": "red"}


@cli.command()
@click.argument("run", default="latest")
@click.option("--query", metavar="EXPR", help="Only some spans: 'outcome=failed and seconds>10'.")
@click.option(
    "--expand",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write run, steps, attempts and artefacts as a tree of folders.",
)
@click.option("--mermaid", is_flag=True, help="The graph of the run as Mermaid text.")
@click.option("--gantt", is_flag=True, help="Its Gantt chart as Mermaid text.")
@click.option("--send", is_flag=True, help="Send it to a collector: OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option("--json", "as_json", is_flag=True, help="The spans as JSON.")
def trace(
    *,
    run: str,
    query: str | None,
    expand: Path | None,
    mermaid: bool,
    gantt: bool,
    send: bool,
    as_json: bool,
) -> None:
    """Show what happened when in a run, and what came of it.

    RUN is an id, the beginning of one, or `latest`. It may be under way, or have been killed.
    """
    from dsml.evidence.trace import find_run, open_store

    store = open_store(project_root())
    found = _up_to_date(store, find_run(store, run))
    if expand is not None:
        write_tree(store, found, expand)
        click.echo(str(expand))
    elif send:
        _send(found)
    elif mermaid or gantt:
        from dsml.evidence.mermaid import gantt_mermaid, graph_mermaid

        click.echo(graph_mermaid(found) if mermaid else gantt_mermaid(found), nl=False)
    elif query is not None or as_json:
        _list(found.find(query or ""), as_json=as_json)
    else:
        _show(store, found)


def _up_to_date(store: Store, run_id: str) -> Trace:
    """The trace; where the run left none, or was killed, it is written now."""
    from dsml.evidence.trace import assemble, read_trace, write

    written = read_trace(store, run_id)
    if written is not None and not written.run.is_open:
        return written
    try:
        return write(store, run_id)
    except OSError as error:  # a storage that can only be read
        click.echo(f"trace.json could not be written: {error}", err=True)
        return assemble(store, run_id)


def write_tree(store: Store, found: Trace, folder: Path) -> None:
    """Write a run as a tree of folders, and tell which files of it are gone.

    Raises:
        ProjectError: the folder holds something already, or cannot be written.
    """
    from dsml.evidence.expand import expand

    fix = "name a folder that is not there yet"
    if folder.exists() and any(folder.iterdir()):
        what = f"'{folder}' is not empty"
        raise ProjectError([Problem(Where("--expand"), what, fix, "not-empty")])
    try:
        gone = expand(store, found, folder)
    except (NotADirectoryError, PermissionError) as error:
        what = f"'{error.filename}' cannot be written: {error.strerror}"
        raise ProjectError([Problem(Where("--expand"), what, fix, "not-written")]) from None
    for path in gone:
        click.echo(f"gone: {path}", err=True)


def _send(found: Trace) -> None:
    from dsml.evidence import export

    if not export.is_configured():
        fix = "set it to the address of a collector, such as http://127.0.0.1:4318"
        raise ProjectError([Problem(Where(export.ENDPOINT), "is not set", fix, "setting")])
    problem = export.send(found.spans)
    if problem is not None:
        raise ProjectError([problem])
    click.echo(f"{len(found.spans)} spans sent")


def _list(spans: Iterable[Span], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([span.plain() for span in spans], indent=1, ensure_ascii=False))
        return
    for span in spans:
        parts = [span.name, span.outcome, duration(span.seconds), span.message]
        click.echo("  ".join(filter(None, parts)))


def _show(store: Store, found: Trace) -> None:
    from rich.tree import Tree

    from dsml.cli.console import make_console
    from dsml.cli.results import short_path
    from dsml.store.runs import TRACE_FILE, run_path

    console = make_console()
    tree = Tree(_line(found.run))
    _grow(found, found.run, tree)
    console.print(tree, highlight=False)
    path = short_path(str(run_path(store, found.run_id, TRACE_FILE)))
    console.print(f"\n{path}", highlight=False, soft_wrap=True)


def _grow(found: Trace, span: Span, tree: Tree) -> None:
    for child in found.children(span):
        _grow(found, child, tree.add(_line(child)))


def _line(span: Span) -> str:
    """One span, in Rich's markup."""
    from rich.markup import escape

    from dsml.evidence.steps import told

    shown = told(span) if span.outcome else duration(span.seconds)
    left = span.attributes.get("dsml.run.not_begun", ())
    also = f", not begun: {', '.join(left)}" if left else ""
    colour = _COLOURS.get(span.outcome, "yellow" if span.outcome else "dim")
    message = f"  {span.message}" if span.level == "attempt" and span.message else ""
    name = (
        f"{span.name}, run {span.attributes['dsml.run.id']}" if span.level == "run" else span.name
    )
    return f"{escape(name)}  [{colour}]{shown}{also}[/]{escape(message)}"
