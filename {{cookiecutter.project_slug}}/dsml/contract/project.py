"""A project as it is declared: its catalog, all its notebooks, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dsml.contract.advice import advice
from dsml.contract.catalog import CATALOG_FILE, Catalog, Entry, read_catalog
from dsml.contract.cells import Json, is_json, read_notebook
from dsml.contract.graph import graph_problems
from dsml.contract.pair import is_text_notebook, pair_problem
from dsml.contract.parameters import Parameter
from dsml.contract.percent import SUFFIX
from dsml.contract.problem import Problem, ProjectError, Where, errors, suggest
from dsml.contract.selection import is_plain, select
from dsml.contract.spec import StepSpec, is_identifier, read_spec, step_name, to_identifier

STAGES_FOLDER = "stages"
DEBUG_SUFFIX = ".debug.ipynb"  # of the copies that `dsml debug` makes beside a notebook
_DEPTH = 3  # stages/<stage>/<notebook>.ipynb


@dataclass(frozen=True)
class Project:
    """Everything that a project declares. ``steps`` holds drafts too, ``registered`` does not.

    ``problems`` are those of notebooks, graph and catalog; whether the register is current is
    ``register_problems``, because writing the register is what mends it.
    """

    root: Path
    catalog: Catalog
    paths: tuple[str, ...]
    steps: Mapping[str, StepSpec]
    problems: tuple[Problem, ...]

    @property
    def registered(self) -> dict[str, StepSpec]:
        """The steps that run, in the order of the register."""
        return {name: self.steps[name] for name in self.catalog.register if name in self.steps}


def find_root(start: Path) -> Path:
    """The folder of the project that ``start`` lies in: the nearest with a catalog.

    Raises:
        ProjectError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / CATALOG_FILE).is_file():
            return folder
    what = f"neither this folder nor one above it has a {CATALOG_FILE}"
    fix = "go to the folder of your project"
    raise ProjectError([Problem(Where(str(start)), what, fix, "no-project")])


def load_project(root: Path) -> Project:
    """Read a project that is to be run.

    Raises:
        ProjectError: with all errors but those of drafts, which are not run.
    """
    project = read_project(root)
    found = blocking(project, [*project.problems, *register_problems(project)])
    if found:
        raise ProjectError(found)
    return project


def blocking(
    project: Project, problems: Iterable[Problem], paths: Collection[str] = ()
) -> list[Problem]:
    """The errors that concern the registered notebooks, those at ``paths``, or the catalog."""
    concerned = {entry.path for entry in project.catalog.register.values()} | set(paths)
    drafts = set(project.paths) - concerned
    return [problem for problem in errors(problems) if problem.where.path not in drafts]


def read_project(root: Path, *, advise: bool = False) -> Project:
    """Read a project, collecting what is wrong with it; the warnings only for ``advise``.

    Raises:
        ProjectError: there is no catalog, or none that can be read.
    """
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    steps: dict[str, StepSpec] = {}
    unread: dict[str, StepSpec] = {}  # no more is known of these than where they are
    paths = notebook_paths(root)
    for path in paths:
        name_problem = _name_problem(path)
        if name_problem:
            problems.append(name_problem)
            continue
        spec = _read_step(root, path, problems, advise=advise)
        if spec is not None:
            steps[spec.name] = spec
        else:
            spec = StepSpec(*step_name(path), path)
            unread[spec.name] = spec
    problems += _collisions({**steps, **unread})
    problems += graph_problems(steps, unread)
    problems += _config_problems(catalog, steps, unread)
    problems += _select_problems(catalog, {**steps, **unread})
    return Project(root, catalog, tuple(paths), steps, tuple(problems))


def notebook_paths(root: Path) -> list[str]:
    """The notebooks below ``stages``, relative to the project, in alphabetical order.

    Of a notebook and a text notebook of the same name, which jupytext pairs, the first counts.
    """
    paths = list(_visible(root, root / STAGES_FOLDER))
    found = {p for p in paths if p.endswith(".ipynb") and not p.endswith(DEBUG_SUFFIX)}
    scripts = (path for path in paths if path.endswith(SUFFIX))
    return sorted(
        found
        | {
            path
            for path in scripts
            if path.removesuffix(SUFFIX) + ".ipynb" not in found and is_text_notebook(root / path)
        }
    )


def _visible(root: Path, top: Path) -> Iterator[str]:
    """All that lies below a folder, without what is hidden; relative to the project."""
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(folder).relative_to(root).as_posix()
        yield from (f"{prefix}/{name}" for name in (*folders, *files) if name[0] != ".")


def _name_problem(path: str) -> Problem | None:
    parts = PurePosixPath(path).parts
    if len(parts) != _DEPTH:
        fix = f"move it to {STAGES_FOLDER}/<stage>/{parts[-1]}"
        return Problem(Where(path), "a notebook lies in the folder of its stage", fix, "depth")
    stage, notebook = parts[1], PurePosixPath(path).stem
    for name in (stage, notebook):
        if not is_identifier(name):
            fixed = f"{STAGES_FOLDER}/{to_identifier(stage)}/{to_identifier(notebook)}"
            fixed += PurePosixPath(path).suffix
            what = f"'{name}' is no Python identifier"
            return Problem(Where(path), what, f"rename it to {fixed}", "no-identifier")
    return None


def _read_step(root: Path, path: str, problems: list[Problem], *, advise: bool) -> StepSpec | None:
    try:
        notebook = read_notebook(root / path, path)
    except ProjectError as error:
        problems += error.problems
        return None
    spec = read_spec(notebook, problems)
    if path.endswith(".ipynb"):
        paired = pair_problem(notebook, root / path)
        problems += [paired] if paired else []
    if advise:
        problems += advice(notebook, spec)
    return spec


def _collisions(steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    """Names that are different here and the same elsewhere.

    Windows and macOS fold case in file names; Dagster's names have no dot, ours becomes ``__``.
    """
    seen: dict[str, StepSpec] = {}
    for name, step in steps.items():
        key = name.replace(".", "__").casefold()
        if key in seen:
            what = f"'{name}' and '{seen[key].name}' are the same name to Dagster or to a disk"
            yield Problem(Where(step.path), what, "rename one of the two", "duplicate")
        seen.setdefault(key, step)


def _config_problems(
    catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    for experiment in catalog.experiments.values():
        for name, values in experiment.config.items():
            keys = ("experiments", experiment.name, "config", name)
            if name in unread:
                continue
            if name not in steps:
                what = f"{'.'.join(keys)}: there is no step '{name}'"
                yield Problem(catalog.where(*keys), what, suggest(name, steps), "unknown-step")
                continue
            for key, value in values.items():
                found = value_problem(steps[name].parameters, key, value)
                if found:
                    what = f"{'.'.join((*keys, key))}: {found[0]}"
                    yield Problem(catalog.where(*keys, key), what, found[1], found[2])


def value_problem(
    parameters: Mapping[str, Parameter], name: str, value: Json
) -> tuple[str, str, str] | None:
    """What is wrong with setting a parameter to a value, how to mend it, and its kind."""
    if name not in parameters:
        none = "the notebook has no parameters cell" if not parameters else ""
        return (
            f"there is no parameter '{name}'",
            suggest(name, parameters, none),
            "unknown-parameter",
        )
    if not is_json(value):
        fix = "put it in quotes, so that it is text, or write plain numbers, lists and mappings"
        return f"{value!r} is nothing that JSON can hold", fix, "wrong-type"
    kind = parameters[name].type
    if not kind.accepts(value):
        return f"{value!r} is no {kind}", f"give a value of type {kind}", "wrong-type"
    return None


def _select_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    names = {*steps, *(step.stage for step in steps.values())}
    for pipeline in catalog.pipelines.values():
        keys = ("pipelines", pipeline.name, "select")
        for token in select([t for t in pipeline.select if is_plain(t)], steps).unknown:
            what = f"{'.'.join(keys)}: '{token}' is no stage and no step"
            fix = suggest(token.strip("+"), names)
            yield Problem(catalog.where(*keys), what, fix, "unknown-step")


def register_problems(project: Project) -> list[Problem]:
    """Where the register and the notebooks disagree, and which notebooks are drafts."""
    problems: list[Problem] = []
    for name, entry in project.catalog.register.items():
        problems += _entry_problems(project, name, entry)
    broken = {problem.where.path for problem in errors(project.problems)}
    for name, step in project.steps.items():
        if name not in project.catalog.register and step.path not in broken:
            what = "is a draft: it is not registered, so no pipeline runs it"
            fix = f"dsml register {step.path} makes it a step"
            problems.append(Problem(Where(step.path), what, fix, "draft", "note"))
    return problems


def entry_of(step: StepSpec) -> Entry:
    """The register's entry for a step."""
    return Entry(step.path, dict(step.ins), dict(step.outs), step.after)


def _entry_problems(project: Project, name: str, entry: Entry) -> Iterator[Problem]:
    where = project.catalog.where("register", name)
    step = project.steps.get(name)
    if step is None:
        if (project.root / entry.path).is_file() and any(
            problem.where.path == entry.path for problem in errors(project.problems)
        ):
            return  # it is there, and what is wrong with it has been said
        what = f"register.{name}: there is no notebook '{entry.path}'"
        fix = "restore the file, or run: dsml register"
        yield Problem(where, what, fix, "register")
        return
    current = entry_of(step)
    for field in ("path", "ins", "outs", "after"):
        registered, declared = getattr(entry, field), getattr(current, field)
        if registered != declared:
            what = (
                f"register.{name}.{field}: the register says {_shown(registered)}, "
                f"{step.path} says {_shown(declared)}"
            )
            yield Problem(where, what, "run: dsml register", "register")
    for source in sorted(step.upstream):
        if source in project.steps and source not in project.catalog.register:
            what = f"register.{name}: it needs '{source}', which is a draft"
            yield Problem(
                where, what, f"run: dsml register {project.steps[source].path}", "draft-needed"
            )


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return str(value)
