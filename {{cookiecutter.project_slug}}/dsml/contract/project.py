"""A project as it is declared: its catalog, all its notebooks, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from dsml.contract.advice import advice
from dsml.contract.catalog import CATALOG_FILE, Catalog, Entry, read_catalog
from dsml.contract.cells import Notebook, read_notebook
from dsml.contract.declared import Keys
from dsml.contract.engine_problems import engine_problems
from dsml.contract.graph import graph_problems
from dsml.contract.model_problems import model_problems
from dsml.contract.modules import Modules
from dsml.contract.names import STAGES_FOLDER, STEP_DEPTH, folded, is_identifier, to_identifier
from dsml.contract.pair import is_text_notebook, pair_problem
from dsml.contract.parameters import value_problem
from dsml.contract.partition_problems import partition_problems, step_partitions
from dsml.contract.partitions import Partitions
from dsml.contract.percent import SUFFIX
from dsml.contract.pickle_problems import pickle_problems
from dsml.contract.policies import Retries
from dsml.contract.problem import Problem, ProjectError, Where, errors, suggest
from dsml.contract.python_step import PythonFiles, declared_step
from dsml.contract.resource_problems import resource_problems
from dsml.contract.schema_problems import schema_problems
from dsml.contract.selection import is_plain, registered, select
from dsml.contract.spec import StepSpec, read_spec, step_name
from dsml.contract.trigger_problems import (
    cache_problems,
    draft_problems,
    place_problems,
    trigger_problems,
)
from dsml.contract.wiring import outlines, with_file

DEBUG_SUFFIX = ".debug.ipynb"  # of the copies that `dsml debug` makes beside a notebook


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

    @cached_property
    def registered(self) -> dict[str, StepSpec]:
        """The steps that run: those of the register, in its order, and those that are wired."""
        return registered(self.catalog, self.steps)

    @cached_property
    def partitions(self) -> Mapping[str, Partitions]:
        """The partitions of the steps that have any beside their experiment."""
        return step_partitions(self.catalog, self.registered)

    def retries(self, step: StepSpec) -> Retries | None:
        """How often a step is tried again: as it says itself, else as the catalog does."""
        return self.catalog.defaults.retries if step.retries is None else step.retries

    def timeout(self, step: StepSpec) -> float | None:
        """Seconds after which an attempt at a step is ended, None for never."""
        return self.catalog.defaults.timeout if step.timeout is None else step.timeout


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
    """The errors that concern the steps that run, those at ``paths``, or the catalog."""
    concerned = {entry.path for entry in project.catalog.register.values()} | set(paths)
    concerned |= {step.path for step in outlines(project.catalog).values()}
    drafts = set(project.paths) - concerned
    return [problem for problem in errors(problems) if problem.where.path not in drafts]


def read_project(root: Path, *, advise: bool = False) -> Project:
    """Read a project, collecting what is wrong with it; the warnings only for ``advise``.

    Raises:
        ProjectError: there is no catalog, or none that can be read.
    """
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    modules = Modules(root)
    files = PythonFiles(modules, problems)
    notebooks, scripts = _files(root)
    paths = sorted([*notebooks, *filter(files.declares, scripts)])
    found = [
        *_declared_steps(modules, files, paths, problems, advise=advise),
        *_wired_steps(catalog, files, problems),
    ]
    problems += _collisions(spec for spec, _ in found)
    problems += _stage_problems(catalog, [spec for spec, _ in found])
    steps: dict[str, StepSpec] = {}
    unread: dict[str, StepSpec] = {}  # no more is known of these than where they are
    for spec, is_read in found:
        (steps if is_read else unread).setdefault(spec.name, spec)
    problems += graph_problems(steps, unread)
    problems += [problem for step in steps.values() for problem in schema_problems(root, step)]
    problems += _config_problems(catalog, steps, unread)
    problems += _select_problems(catalog, {**steps, **unread})
    problems += trigger_problems(catalog, steps, unread)
    if advise:
        problems += [*place_problems(root, catalog), *cache_problems(catalog, steps)]
    problems += partition_problems(catalog, steps)
    problems += resource_problems(root, catalog, steps)
    problems += engine_problems(catalog, registered(catalog, steps))
    problems += model_problems(root, catalog, steps, unread)
    problems += pickle_problems(catalog, steps, unread)
    return Project(root, catalog, tuple(paths), steps, tuple(problems))


def notebook_paths(root: Path) -> list[str]:
    """The notebooks below ``stages``, relative to the project, in alphabetical order.

    Of a notebook and a text notebook of the same name, which jupytext pairs, the first counts.
    """
    return sorted(_files(root)[0])


def _files(root: Path) -> tuple[set[str], list[str]]:
    """The notebooks below ``stages``, and the scripts that are none."""
    paths = list(_visible(root, root / STAGES_FOLDER))
    notebooks = {p for p in paths if p.endswith(".ipynb") and not p.endswith(DEBUG_SUFFIX)}
    texts = {p for p in paths if p.endswith(SUFFIX) and is_text_notebook(root / p)}
    scripts = [path for path in paths if path.endswith(SUFFIX) and path not in texts]
    unpaired = {p for p in texts if p.removesuffix(SUFFIX) + ".ipynb" not in notebooks}
    return notebooks | unpaired, scripts


def _visible(root: Path, top: Path) -> Iterator[str]:
    """All that lies below a folder, without what is hidden; relative to the project."""
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(folder).relative_to(root).as_posix()
        yield from (f"{prefix}/{name}" for name in (*folders, *files) if name[0] != ".")


def _name_problem(path: str) -> Problem | None:
    parts = PurePosixPath(path).parts
    if len(parts) != STEP_DEPTH:
        fix = f"move it to {STAGES_FOLDER}/<stage>/{parts[-1]}"
        kind = "notebook" if path.endswith(".ipynb") else "step"
        return Problem(Where(path), f"a {kind} lies in the folder of its stage", fix, "depth")
    stage, notebook = parts[1], PurePosixPath(path).stem
    for name in (stage, notebook):
        if not is_identifier(name):
            fixed = f"{STAGES_FOLDER}/{to_identifier(stage)}/{to_identifier(notebook)}"
            fixed += PurePosixPath(path).suffix
            what = f"'{name}' is no Python identifier"
            return Problem(Where(path), what, f"rename it to {fixed}", "no-identifier")
    return None


def _declared_steps(
    modules: Modules,
    files: PythonFiles,
    paths: Iterable[str],
    problems: list[Problem],
    *,
    advise: bool,
) -> Iterator[tuple[StepSpec, bool]]:
    """The steps that declare themselves, and whether they could be read."""
    for path in paths:
        name_problem = _name_problem(path)
        if name_problem:
            problems.append(name_problem)
            continue
        if path.endswith(SUFFIX) and not is_text_notebook(modules.root / path):
            spec = _read_function(files, path, problems, advise=advise)
        else:
            spec = _read_step(modules, path, problems, advise=advise)
        yield spec or StepSpec(*step_name(path), path), spec is not None


def _wired_steps(
    catalog: Catalog, files: PythonFiles, problems: list[Problem]
) -> Iterator[tuple[StepSpec, bool]]:
    """The steps that pipelines wire, and whether their files could be read."""
    for outline in outlines(catalog).values():
        spec = with_file(outline, catalog, files, problems)
        yield spec or outline, spec is not None


def _read_function(
    files: PythonFiles, path: str, problems: list[Problem], *, advise: bool
) -> StepSpec | None:
    found = files.read(path)
    if found is None:
        return None
    step = declared_step(found, problems)
    if advise:
        problems += advice(Notebook(path, (found.script,)), step)
    return step


def _read_step(
    modules: Modules, path: str, problems: list[Problem], *, advise: bool
) -> StepSpec | None:
    file = modules.root / path
    try:
        notebook = read_notebook(file, path)
    except ProjectError as error:
        problems += error.problems
        return None
    spec = read_spec(notebook, problems, modules)
    if path.endswith(".ipynb"):
        paired = pair_problem(notebook, file)
        problems += [paired] if paired else []
    if advise:
        problems += advice(notebook, spec)
    return spec


def _collisions(steps: Iterable[StepSpec]) -> Iterator[Problem]:
    """Names that stand twice, or are different here and the same elsewhere."""
    seen: dict[str, StepSpec] = {}
    for step in steps:
        first = seen.setdefault(folded(step.name), step)
        if first is not step:
            what = f"'{step.name}' and '{first.name}' are the same name to Dagster or to a disk"
            if step.name == first.name:
                what = f"'{step.name}' is the name of {first.path} too"
            where = step.where() if step.pipeline else Where(step.path)
            yield Problem(where, what, "rename one of the two", "duplicate")


def _stage_problems(catalog: Catalog, steps: Iterable[StepSpec]) -> Iterator[Problem]:
    """Pipelines that wire steps and are named like a stage: the name would mean both's steps."""
    stages = {step.stage for step in steps if not step.pipeline}
    for name in sorted({step.pipeline for step in steps} & stages):
        what = f"'{name}' is a stage as well, and would mean the steps of both"
        fix = f"rename the pipeline, or the folder {STAGES_FOLDER}/{name}"
        yield catalog.problem(("pipelines", name, "steps"), what, fix, "duplicate")


def _config_problems(
    catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    for experiment in catalog.experiments.values():
        for name, values in experiment.config.items():
            keys = ("experiments", experiment.name, "config", name)
            if name in unread:
                continue
            if name not in steps:
                what, fix = f"there is no step '{name}'", suggest(name, steps)
                yield catalog.problem(keys, what, fix, "unknown-step")
                continue
            for key, value in values.items():
                found = value_problem(steps[name].settings, key, value, steps[name].no_parameters)
                if found:
                    yield catalog.problem((*keys, key), *found)


def _select_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    names = {*steps, *(step.stage for step in steps.values())}
    for pipeline in catalog.pipelines.values():
        keys = ("pipelines", pipeline.name, "select")
        for token in select([t for t in pipeline.select if is_plain(t)], steps).unknown:
            what, fix = f"'{token}' is no stage and no step", suggest(token.strip("+"), names)
            yield catalog.problem(keys, what, fix, "unknown-step")


def register_problems(project: Project) -> list[Problem]:
    """Where the register and the notebooks disagree, and which notebooks are drafts."""
    problems: list[Problem] = []
    for name, entry in project.catalog.register.items():
        problems += _entry_problems(project, name, entry)
    for step in project.registered.values():
        if step.pipeline:
            keys = ("pipelines", step.pipeline, "steps", step.notebook)
            problems += _needed_drafts(project, step, keys)
    broken = {problem.where.path for problem in errors(project.problems)}
    for name, step in project.steps.items():
        if name not in project.registered and step.path not in broken:
            what = "is a draft: it is not registered, so no pipeline runs it"
            fix = f"dsml register {step.path} makes it a step"
            problems.append(Problem(Where(step.path), what, fix, "draft", "note"))
    problems += draft_problems(project.catalog, project.steps)
    return problems


def entry_of(step: StepSpec) -> Entry:
    """The register's entry for a step."""
    return Entry(step.path, dict(step.ins), dict(step.outs), step.after)


def _entry_problems(project: Project, name: str, entry: Entry) -> Iterator[Problem]:
    keys = ("register", name)
    step = project.steps.get(name)
    if step is None or step.pipeline:
        if (project.root / entry.path).is_file() and any(
            problem.where.path == entry.path for problem in errors(project.problems)
        ):
            return  # it is there, and what is wrong with it has been said
        what = f"there is no notebook '{entry.path}'"
        fix = "restore the file, or run: dsml register"
        yield project.catalog.problem(keys, what, fix, "register")
        return
    current = entry_of(step)
    for field in ("path", "ins", "outs", "after"):
        noted, declared = getattr(entry, field), getattr(current, field)
        if noted != declared:
            what = (
                f"register.{name}.{field}: the register says {_shown(noted)}, "
                f"{step.path} says {_shown(declared)}"
            )
            yield Problem(project.catalog.where(*keys), what, "run: dsml register", "register")
    yield from _needed_drafts(project, step, keys)


def _needed_drafts(project: Project, step: StepSpec, keys: Keys) -> Iterator[Problem]:
    for what, fix in needed_drafts(project, step):
        yield project.catalog.problem(keys, what, fix, "draft-needed")


def needed_drafts(project: Project, step: StepSpec) -> Iterator[tuple[str, str]]:
    """What is wrong with a step that waits for drafts, and how to mend it."""
    for name in sorted(step.upstream & project.steps.keys() - project.registered.keys()):
        fix = f"run: dsml register {project.steps[name].path}"
        yield f"it needs '{name}', which is a draft", fix


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return str(value)
