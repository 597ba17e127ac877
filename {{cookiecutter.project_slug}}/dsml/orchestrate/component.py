"""The loader as a component of Dagster: a project of ``dg`` takes in a project of notebooks.

One YAML file in its ``defs`` folder does it::

    type: dsml.orchestrate.component.NotebookProject
    attributes:
      project: ../../../../digits_demo
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import click
from dagster import AssetKey, Component, ComponentLoadContext, Definitions, Model, Resolvable
from dagster.components import Scaffolder, ScaffoldRequest, scaffold_with
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, Field

from dsml.contract.catalog import CATALOG_FILE
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.orchestrate.definitions import MODULE_FILE, load_definitions


class ScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    project: str = Field(description="folder of the project of notebooks, seen from here")


class ProjectScaffolder(Scaffolder[ScaffoldParams]):
    """Writes the YAML file, with the way from its folder to the project."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """The class of what is asked for."""
        return ScaffoldParams

    def scaffold(self, request: ScaffoldRequest[ScaffoldParams]) -> None:
        """Write the file.

        Raises:
            click.ClickException: there is no project; nothing has been written.
        """
        folder, given = request.target_path, request.params.project
        project = Path(given).resolve()
        if not (project / CATALOG_FILE).is_file():
            if not request.append and not any(folder.iterdir()):
                folder.rmdir()  # made for what is not going to be there
            host = request.project_root or Path.cwd()
            raise click.ClickException(
                str(_missing(Where("--project"), "", given, host, Path.cwd()))
            )
        start = folder.parent if request.append else folder
        scaffold_component(request, {"project": _way(start, project)})


@scaffold_with(ProjectScaffolder)
class NotebookProject(Component, Resolvable, Model):
    """Notebooks in stage folders, wired by their catalog.yml: assets, checks, jobs, triggers."""

    project: Annotated[
        str,
        Field(
            description="Folder that holds catalog.yml and stages/, seen from the folder of this "
            "file; '{{ context.project_root }}' is that of the project of dg.",
            examples=["../../../../digits_demo"],
        ),
    ]
    after: Annotated[
        Mapping[str, Sequence[str]],
        Field(
            description="The assets that steps wait for beside those of the project, by the "
            "catalog path of the step.",
            examples=[{"load.digits": ["raw/images"]}],
        ),
    ] = {}
    executor: Annotated[
        bool,
        Field(
            description="Whether what is materialised without a job is executed as the pipelines "
            "of catalog.yml are, with a record and a trace. Only one part of a code location may "
            "say how: false where another does."
        ),
    ] = True

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """The definitions of the project.

        Raises:
            ProjectError: there is no project, or an invalid one; the text names every mistake.
        """
        host = context.project_root
        root = (context.path / self.project).resolve()
        where = Where(_way(host, context.path / "defs.yaml"))
        if not (root / CATALOG_FILE).is_file():
            raise ProjectError(
                [_missing(where, "attributes.project: ", self.project, host, context.path)]
            )
        if str(root) not in sys.path:
            sys.path.append(str(root))  # Python steps, resources and schemas import its package
        try:
            return self._load(root, host)
        except ProjectError as error:
            raise ProjectError(list(_seen_from(host, root, where, error))) from None

    def _load(self, root: Path, host: Path) -> Definitions:
        after = {
            step: [AssetKey.from_user_string(key) for key in keys]
            for step, keys in self.after.items()
        }
        return load_definitions(root, after=after, executor=self.executor, host=host)


def _seen_from(host: Path, root: Path, file: Where, error: ProjectError) -> Iterator[Problem]:
    """The problems of a project, with paths from the folder that the user is in."""
    for problem in error.problems:
        path = _way(host, root / problem.where.path)
        is_of_file = problem.where.path == MODULE_FILE  # which this file stands for
        yield replace(problem, where=file if is_of_file else replace(problem.where, path=path))


def _missing(where: Where, key: str, given: str, host: Path, start: Path) -> Problem:
    """There is no project where somebody says that there is one, seen from ``start``."""
    places = (CATALOG_FILE, f"*/{CATALOG_FILE}", f"../*/{CATALOG_FILE}")
    near = [_way(start, file.resolve().parent) for each in places for file in host.glob(each)]
    fix = suggest(given, near) if near else "name the folder of a project of notebooks"
    what = f"{key}there is no {CATALOG_FILE} in '{given}'"
    return Problem(where, what, fix, "no-project")


def _way(start: Path, target: Path) -> str:
    """The path from one folder to another place."""
    return Path(os.path.relpath(target, start)).as_posix()
