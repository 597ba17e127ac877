"""Selecting steps: ``*``, stages and steps, with ``+`` for all that is above or below them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dsml.contract.catalog import Catalog, Pipeline
from dsml.contract.spec import StepSpec

_TOKEN = re.compile(r"(?P<up>\+?)(?P<name>\*|\w+(?:\.\w+)?)(?P<down>\+?)", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """The steps that a selection means, and the names in it that mean nothing."""

    steps: frozenset[str]
    unknown: tuple[str, ...] = ()


def is_plain(token: str) -> bool:
    """Whether a token is of this module's syntax; others are left to Dagster's."""
    return _TOKEN.fullmatch(token.strip()) is not None


def split(text: str) -> list[str]:
    """The tokens of ``train, evaluate+`` as they come from a command line."""
    if ":" in text or '"' in text:
        return [text]
    return [token for token in re.split(r"[,\s]+", text) if token]


def registered(catalog: Catalog, steps: Mapping[str, StepSpec]) -> dict[str, StepSpec]:
    """The steps that run: those of the register, in its order, and those that pipelines wire."""
    wired = (name for name, step in steps.items() if step.pipeline)
    return {name: steps[name] for name in (*catalog.register, *wired) if name in steps}


def steps_of(pipeline: Pipeline, steps: Mapping[str, StepSpec]) -> frozenset[str]:
    """The steps of a pipeline: those that it wires itself, and those that it selects.

    What it selects in Dagster's own syntax, only Dagster can tell.
    """
    own = {name for name, step in steps.items() if step.pipeline == pipeline.name}
    return select([t for t in pipeline.select if is_plain(t)], steps).steps | own


def possible_steps_of(pipeline: Pipeline, steps: Mapping[str, StepSpec]) -> frozenset[str]:
    """The same, but all steps for a pipeline that selects in Dagster's own syntax."""
    plain = all(map(is_plain, pipeline.select))
    return steps_of(pipeline, steps) if plain else frozenset(steps)


def select(
    tokens: Sequence[str],
    steps: Mapping[str, StepSpec],
    everything: Collection[str] | None = None,
) -> Selection:
    """The steps that plain ``tokens`` select: the union of what each of them means.

    ``train`` is a stage, ``train.fit`` a step; ``+train.fit`` adds all that it waits for,
    ``train.fit+`` all that waits for it. ``*`` is ``everything``, by default all steps but those
    that pipelines wire for themselves.
    """
    if everything is None:
        everything = [name for name, step in steps.items() if not step.pipeline]
    up = {name: step.upstream & steps.keys() for name, step in steps.items()}
    down: dict[str, set[str]] = {name: set() for name in steps}
    for name, sources in up.items():
        for source in sources:
            down[source].add(name)
    chosen: set[str] = set()
    unknown: list[str] = []
    for token in tokens:
        match = _TOKEN.fullmatch(token.strip())
        named = _named(match["name"], steps, everything) if match else set()
        if not match or (not named and match["name"] != "*"):
            unknown.append(token)
            continue
        chosen |= named
        chosen |= _reach(named, up) if match["up"] else set()
        chosen |= _reach(named, down) if match["down"] else set()
    return Selection(frozenset(chosen), tuple(unknown))


def _named(name: str, steps: Mapping[str, StepSpec], everything: Collection[str]) -> set[str]:
    if name == "*":
        return set(everything)
    return {key for key, step in steps.items() if name in (key, step.stage)}


def _reach(start: Iterable[str], edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(start)
    while todo:
        for name in edges[todo.pop()] - found:
            found.add(name)
            todo.append(name)
    return found
