"""``dsml report``."""

from __future__ import annotations

from pathlib import Path

import click

from dsml.cli import cli, project_root
from dsml.contract.catalog import read_catalog
from dsml.contract.figures import counted
from dsml.contract.problem import Problem, ProjectError, Where


@cli.command()
@click.option(
    "--out",
    metavar="DIR",
    default="site",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder of the site.",
)
@click.option("--all", "everything", is_flag=True, help="Write every run again, changed or not.")
@click.option("--open", "is_opened", is_flag=True, help="Open it in the browser.")
def report(*, out: Path, everything: bool, is_opened: bool) -> None:
    """Write a site of all runs that opens from disk: no server, no network.

    Only what is new or has changed is written; runs that are gone from the storage vanish.
    """
    from dsml.evidence.site.build import build
    from dsml.evidence.site.templating import INDEX
    from dsml.step.quick_import import without
    from dsml.store import Store

    root = project_root()
    catalog = read_catalog(root, [])
    store = Store.open(root, catalog)
    try:
        with without("rfc3987_syntax"):  # a second that reading notebooks can do without
            built = build(store, catalog.project, out, _warn, everything=everything)
    except OSError as error:
        fix = "make room, or name another folder with --out"
        what = f"the site cannot be written: {error.strerror or error}"
        raise ProjectError([Problem(Where("--out"), what, fix, "not-written")]) from None
    click.echo(
        f"{counted(built.written, 'run')} written, {built.kept} as before, {built.removed} removed"
    )
    click.echo(str(out / INDEX))
    if is_opened:
        click.launch((out / INDEX).resolve().as_uri())


def _warn(text: str) -> None:
    click.echo(text, err=True)
