"""``dsml check`` and ``dsml register``."""

from __future__ import annotations

from pathlib import Path

import click

from dsml.cli import cli, project_root
from dsml.cli.findings import FORMATS, as_github, as_json_text
from dsml.contract.catalog import CATALOG_FILE
from dsml.contract.figures import counted
from dsml.contract.problem import Problem, errors, render
from dsml.contract.register import check_project, write_register


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True))
@click.option("--format", "form", type=click.Choice(FORMATS), help="How findings are told.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--strict", is_flag=True, help="Warnings fail the check too.")
def check(paths: tuple[str, ...], form: str | None, as_json: bool, strict: bool) -> None:
    """Check catalog, register and notebooks, without running any of them.

    With PATH, only the findings in those files are shown. Notes and warnings don't fail the check.
    A comment `# dsml: ignore[NAME]` in a cell silences a warning there.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} contradict each other")
    root = project_root()
    checked = check_project(root)
    found = _of(checked.problems, _relative(root, paths))
    wrong, warned = errors(found), [p for p in found if p.severity == "warning"]
    failed = bool(wrong or (strict and warned))
    if as_json or form == "json":
        click.echo(as_json_text(found))
        raise SystemExit(1 if failed else 0)
    on_stderr = failed and form != "github"
    if form == "github":
        click.echo("".join(f"{line}\n" for line in as_github(found, root)), nl=False)
    elif found:
        click.echo(f"{render(found)}\n", err=on_stderr)
    functions = any(step.function is not None for step in checked.steps.values())
    looked_at = counted(len(checked.steps), "step" if functions else "notebook")
    verdict = counted(len(wrong), "error") if wrong else "no errors"
    verdict += f", {counted(len(warned), 'warning')}" if warned else ""
    click.echo(f"{looked_at} and {CATALOG_FILE} checked: {verdict}", err=on_stderr)
    raise SystemExit(1 if failed else 0)


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def register(paths: tuple[str, ...]) -> None:
    """Put notebooks and Python steps into the catalog's register, and bring its entries up to date.

    Without PATH all of them below stages/ are registered. Nothing is written where one of them or
    the catalog is invalid.
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
