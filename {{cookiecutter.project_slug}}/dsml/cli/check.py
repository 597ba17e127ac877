"""``dsml check`` and ``dsml register``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from dsml.cli import cli, project_root
from dsml.contract.catalog import CATALOG_FILE
from dsml.contract.problem import Problem, errors, render
from dsml.contract.register import check_project, write_register

_PATHS = click.argument("paths", nargs=-1, metavar="[PATH]...")
_FILES = click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True))


@cli.command()
@_FILES
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(paths: tuple[str, ...], as_json: bool) -> None:
    """Check catalog, register and notebooks, without running any of them.

    With PATH, only the findings in those files are shown. Notes don't fail the check.
    """
    root = project_root()
    checked = check_project(root)
    found = _of(checked.problems, _relative(root, paths))
    failed = bool(errors(found))
    if as_json:
        click.echo(json.dumps([_as_dict(problem) for problem in found], indent=1))
    elif found:
        click.echo(render(found), err=failed)
        click.echo("", err=failed)
    if not as_json:
        counted = f"{len(checked.steps)} notebook{'s' * (len(checked.steps) != 1)}"
        wrong = len(errors(found))
        verdict = f"{wrong} error{'s' * (wrong != 1)}" if failed else "no errors"
        click.echo(f"{counted} and {CATALOG_FILE} checked: {verdict}", err=failed)
    raise SystemExit(1 if failed else 0)


@cli.command()
@_PATHS
def register(paths: tuple[str, ...]) -> None:
    """Put notebooks into the catalog's register, and bring its other entries up to date.

    Without PATH every notebook below stages/ is registered. Nothing is written where a notebook
    or the catalog is invalid.
    """
    root = project_root()
    change = write_register(root, _relative(root, paths) or None)
    for word, names in (
        ("added", change.added),
        ("changed", change.changed),
        ("removed", change.removed),
    ):
        for name in names:
            click.echo(f"{word:8} {name}")
    if not change:
        click.echo("the register is up to date")


def _relative(root: Path, paths: tuple[str, ...]) -> list[str]:
    """Paths as the project names them; one that lies outside stays as it was given."""
    found: list[str] = []
    for path in paths:
        full = Path(path).resolve()
        found.append(full.relative_to(root).as_posix() if full.is_relative_to(root) else path)
    return found


def _of(problems: list[Problem], paths: list[str]) -> list[Problem]:
    ordered = sorted(problems, key=lambda problem: problem.where.sort_key)
    if not paths or "." in paths:
        return ordered
    folders = tuple(f"{path}/" for path in paths)
    return [p for p in ordered if p.where.path in paths or p.where.path.startswith(folders)]


def _as_dict(problem: Problem) -> dict[str, object]:
    return {**asdict(problem.where), **{k: v for k, v in asdict(problem).items() if k != "where"}}
