"""Validate a project and write its register. The hooks, pre-commit, CI and the CLI call this."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from dsml.contract.catalog import CATALOG_FILE, Catalog, Entry, catalog_of
from dsml.contract.graph import order
from dsml.contract.lock import locked
from dsml.contract.percent import SUFFIX
from dsml.contract.problem import Problem, ProjectError, Where, errors
from dsml.contract.project import (
    Project,
    blocking,
    entry_of,
    read_project,
    register_problems,
)
from dsml.contract.register_text import KEY, rewrite
from dsml.contract.spec import StepSpec
from dsml.contract.yaml_lines import load_yaml


@dataclass(frozen=True)
class Checked:
    """A checked project: all findings, and what could be read of it."""

    problems: list[Problem]
    steps: Mapping[str, StepSpec]
    catalog: Catalog | None

    @property
    def errors(self) -> list[Problem]:
        """The findings that stop the project from being run."""
        return errors(self.problems)


@dataclass(frozen=True)
class RegisterChange:
    """What writing the register changed: names of steps."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def check_project(root: Path) -> Checked:
    """Everything that is wrong with a project, without running any of its code."""
    try:
        project = read_project(root, advise=True)
    except ProjectError as error:
        return Checked(error.problems, {}, None)
    problems = [*project.problems, *register_problems(project)]
    return Checked(problems, project.steps, project.catalog)


def write_register(root: Path, paths: Collection[str] | None = None) -> RegisterChange:
    """Register the notebooks at ``paths`` (default: all), and bring the other entries up to date.

    Entries whose notebook is gone are taken out. Every other character of the catalog stays. Others
    that register at the same time wait, so that no entry is lost.

    Raises:
        ProjectError: a notebook to be registered, or the catalog, is invalid, or the catalog cannot
            be written; nothing is written.
    """
    file = (root / CATALOG_FILE).resolve()
    with locked(file):
        return _write_register(root, file, paths)


def _write_register(root: Path, file: Path, paths: Collection[str] | None) -> RegisterChange:
    before_reading = file.read_bytes() if file.is_file() else b""
    project = read_project(root)
    if paths is None:
        found = errors(project.problems)
    else:
        found = blocking(project, project.problems, paths)
        found += [_no_step(project, path) for path in paths if path not in project.paths]
    if found:
        raise ProjectError(found)
    entries = _entries(project, paths)
    before = project.catalog.register
    change = RegisterChange(
        added=tuple(name for name in entries if name not in before),
        changed=tuple(name for name in entries if name in before and entries[name] != before[name]),
        removed=tuple(name for name in before if name not in entries),
    )
    if change and not _write(file, before_reading, project.catalog, entries):
        return _write_register(root, file, paths)
    return change


def _no_step(project: Project, path: str) -> Problem:
    if path.endswith(SUFFIX) and (project.root / path).is_file():
        what = "declares no step: it has neither op_parameters nor a tagged cell"
        fix = "add op_parameters = {...} beside its step_fn; what the catalog wires is registered"
    else:
        what = "there is no such notebook"
        fix = "name a notebook below stages/, as stages/<stage>/<notebook>.ipynb"
    return Problem(Where(path), what, fix, "no-notebook")


def _entries(project: Project, paths: Collection[str] | None) -> dict[str, Entry]:
    wanted = {
        name
        for name, step in project.steps.items()
        if not step.pipeline
        if paths is None or step.path in paths or name in project.catalog.register
    }
    return {name: entry_of(project.steps[name]) for name in order(project.steps) if name in wanted}


def _write(file: Path, content: bytes, catalog: Catalog, entries: Mapping[str, Entry]) -> bool:
    """Write the entries; False if somebody has edited the file since it was ``content``."""
    before = catalog.register
    changed = {
        name: _rendered(entry) for name, entry in entries.items() if before.get(name) != entry
    }
    written = rewrite(content.decode(), changed, removed=set(before) - set(entries))
    if not _holds(written, replace(catalog, register=entries)):
        if file.read_bytes() != content:
            return False
        what = f"{KEY}: it is written in a way that cannot be edited in place"
        fix = f"write {KEY}: {{}} and run dsml register again"
        raise ProjectError([Problem(catalog.where(KEY), what, fix, "register")])
    try:
        return _swap(file, content, written.encode())
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        fix = "let the file and its folder be written"
        raise ProjectError([Problem(Where(CATALOG_FILE), what, fix, "no-write")]) from None


def _swap(file: Path, before: bytes, after: bytes) -> bool:
    """Put a new content in the place of the old one, if that is what the file still holds."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        scratch.write_bytes(after)
        scratch.chmod(file.stat().st_mode)
        if file.read_bytes() != before:
            return False
        scratch.replace(file)
        return True
    finally:
        scratch.unlink(missing_ok=True)


def _holds(text: str, wanted: Catalog) -> bool:
    """Whether a text reads as the wanted catalog: anchors and merge keys can reach anywhere."""
    try:
        document = load_yaml(text.removeprefix("\ufeff"))
    except yaml.YAMLError:
        return False
    if not isinstance(document.value, dict):
        return False
    return replace(catalog_of(document, []), document=wanted.document) == wanted


def _rendered(entry: Entry) -> str:
    fields = {
        "path": entry.path,
        "ins": dict(entry.ins),
        "outs": dict(entry.outs),
        "after": list(entry.after),
    }
    shown = {key: value for key, value in fields.items() if value}
    return yaml.safe_dump(
        shown, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20
    ).strip()
