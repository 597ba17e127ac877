"""What is wrong with schedules and sensors that only the whole project can tell."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from dsml.contract.catalog import Catalog, Pipeline
from dsml.contract.declared import Keys
from dsml.contract.problem import Problem, suggest
from dsml.contract.selection import possible_steps_of, registered
from dsml.contract.spec import StepSpec
from dsml.contract.triggers import EACH, Sensor

Finding = tuple[str, str, str]  # what is wrong, how to mend it, its kind


def trigger_problems(
    catalog: Catalog, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Iterator[Problem]:
    """Names that schedules and sensors use in vain."""
    for pipeline in catalog.pipelines.values():
        for key, trigger in (("schedule", pipeline.schedule), ("sensor", pipeline.sensor)):
            if trigger is not None and trigger.experiment not in ("", EACH, *catalog.experiments):
                keys = ("pipelines", pipeline.name, key, "experiment")
                what = f"there is no experiment '{trigger.experiment}'"
                fix = suggest(trigger.experiment, catalog.experiments)
                yield catalog.problem(keys, what, fix, "unknown-experiment")
        if pipeline.sensor is not None and pipeline.sensor.parameter:
            found = _parameter_finding(pipeline, pipeline.sensor, steps, unread)
            if found is not None:
                yield catalog.problem(_sensor(pipeline, "parameter"), *found)


def _sensor(pipeline: Pipeline, key: str) -> Keys:
    return ("pipelines", pipeline.name, "sensor", key)


def _parameter_finding(
    pipeline: Pipeline, sensor: Sensor, steps: Mapping[str, StepSpec], unread: Collection[str]
) -> Finding | None:
    name, _, parameter = sensor.parameter.rpartition(".")
    if name.count(".") != 1:
        fix = "write stage.notebook.parameter"
        return f"'{sensor.parameter}' is no parameter of a notebook", fix, "no-parameter"
    if name in unread:
        return None
    if name not in steps:
        return f"there is no step '{name}'", suggest(name, steps), "unknown-step"
    inside = possible_steps_of(pipeline, steps)
    if name not in inside:
        return f"'{name}' is no step of this pipeline", suggest(name, inside), "unknown-step"
    settings = steps[name].settings
    if parameter not in settings:
        known = suggest(parameter, settings, "" if settings else "the notebook has no parameters")
        return f"'{name}' has no parameter '{parameter}'", known, "unknown-parameter"
    if not settings[parameter].accepts(sensor.watch):
        what = f"it is given the path of a file, and '{parameter}' is {settings[parameter]}"
        return what, f"name a parameter of the type str: {parameter}: str", "wrong-type"
    return None


def _sensing(
    catalog: Catalog, steps: Mapping[str, StepSpec]
) -> Iterator[tuple[Pipeline, StepSpec]]:
    """The pipelines with a sensor, each with the step that is given the file."""
    for pipeline in catalog.pipelines.values():
        name = "" if pipeline.sensor is None else pipeline.sensor.parameter.rpartition(".")[0]
        if name in steps:
            yield pipeline, steps[name]


def draft_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    """Sensors that give a file to a step that no pipeline runs."""
    for pipeline, step in _sensing(catalog, steps):
        if step.name not in registered(catalog, steps):
            what, fix = f"'{step.name}' is a draft", f"run: dsml register {step.path}"
            yield catalog.problem(_sensor(pipeline, "parameter"), what, fix, "draft-needed")


def cache_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    """Sensors whose steps would not see that the content of a file has changed.

    That of a file in the project counts; that of one at an address does not.
    """
    for pipeline, step in _sensing(catalog, steps):
        if step.is_cached and pipeline.sensor is not None and not pipeline.sensor.local:
            what = f"'{step.name}' is left out where its parameters are unchanged, as an address is"
            fix = f"let it run each time: cache: False, in {step.path}"
            keys = _sensor(pipeline, "parameter")
            yield catalog.problem(keys, what, fix, "cached-file", "warning")


def place_problems(root: Path, catalog: Catalog) -> Iterator[Problem]:
    """Folders that sensors look into and that this machine doesn't have, or no other one has.

    They stop a check and not a run: the folder may be on another machine only, or come later.
    """
    for pipeline in catalog.pipelines.values():
        pattern = pipeline.sensor.local if pipeline.sensor is not None else None
        if not pattern:
            continue
        absolute = PurePosixPath(pattern).is_absolute() or PureWindowsPath(pattern).is_absolute()
        if absolute:
            what = f"'{pattern}' is a place of this machine: another one may not have it"
            fix = "write a path from here, or an address such as s3://bucket/incoming/*.csv"
            keys = _sensor(pipeline, "watch")
            yield catalog.problem(keys, what, fix, "absolute-path", "warning")
        finding = _folder_finding(root, pattern, keep=not absolute)
        if finding is not None:
            yield catalog.problem(_sensor(pipeline, "watch"), *finding, "no-folder")


def _folder_finding(root: Path, pattern: str, *, keep: bool) -> tuple[str, str] | None:
    folder = fixed_folder(pattern)
    if (root / folder).is_dir():
        if glob.has_magic(pattern) or not (root / pattern).is_dir():
            return None
        return f"'{pattern}' is a folder", f"write which of its files are meant: {pattern}/*"
    if (root / folder).exists():
        return f"'{folder}' is a file", "name the folder that holds the files"
    # git keeps no empty folder: it would be missing for everybody else
    add = f", and let git keep it: {folder}/.gitkeep" if keep else ""
    return f"there is no folder '{folder}'", f"make it: mkdir -p {folder}{add}"


def fixed_folder(pattern: str) -> PurePosixPath:
    """The folder of a pattern, up to its first wildcard."""
    fixed: list[str] = []
    for part in PurePosixPath(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return PurePosixPath(*fixed)
