"""Steps joined by catalog path: what is unknown, what is doubled, what runs in a circle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from dsml.contract.fanout import lists_of
from dsml.contract.names import step_of
from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec, files_of


def graph_problems(steps: Mapping[str, StepSpec], unread: Collection[str] = ()) -> list[Problem]:
    """Everything that keeps the steps from being one acyclic graph.

    ``unread`` are steps whose notebook is there and has mistakes of its own: what they publish is
    not known, so nothing is said about it.
    """
    files = files_of(steps.values())
    artefacts = frozenset(files)  # made once: `suggest` keeps the order of a set that it has seen
    problems = [
        problem
        for step in steps.values()
        for name, problem in _unknown(step, steps, artefacts)
        if name not in unread
    ]
    problems += [problem for step in steps.values() for problem in _no_lists(step, files)]
    return problems + _cycles(steps)


def order(steps: Mapping[str, StepSpec]) -> list[str]:
    """The names of the steps so that each comes after all that it waits for.

    Among steps that don't wait for each other the order of ``steps`` is kept.
    """
    sorter = TopologicalSorter(_edges(steps))
    sorter.prepare()
    position = {name: i for i, name in enumerate(steps)}
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return ordered


def _edges(steps: Mapping[str, StepSpec]) -> dict[str, list[str]]:
    return {name: sorted(step.upstream & steps.keys()) for name, step in steps.items()}


def _unknown(
    step: StepSpec, steps: Mapping[str, StepSpec], artefacts: frozenset[str]
) -> Iterator[tuple[str, Problem]]:
    """Each step that is asked for in vain, or for something that it doesn't publish."""
    for keys, source in step.reads:
        if source not in artefacts:
            owner = steps.get(step_of(source))
            nearest = owner.artefacts if owner is not None and owner.artefacts else artefacts
            what, fix = f"no step publishes '{source}'", suggest(source, nearest)
            yield step_of(source), step.problem(keys, what, fix, "unknown-path")
    for i, name in enumerate(step.after):
        if name not in steps:
            what = f"after: there is no step '{name}'"
            where = step.where("after", str(i))
            yield name, Problem(where, what, suggest(name, steps), "unknown-path")


def _no_lists(step: StepSpec, files: Mapping[str, str]) -> Iterator[Problem]:
    """Artefacts that cannot list what a step is mapped over."""
    for name, source in lists_of(step.map):
        if source in files and not files[source].endswith(".json"):
            what = f"'{source}' is no JSON file, but '{files[source]}'"
            fix = "publish the list of values as a .json file"
            yield step.problem(("map", name), what, fix, "no-list")


def _cycles(steps: Mapping[str, StepSpec]) -> list[Problem]:
    """One problem for each circle; a circle is cut where it was found to find the next."""
    edges = _edges(steps)
    problems: list[Problem] = []
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]  # each waits for the one before it
            problems.append(_circle(circle, steps))
            edges[circle[1]].remove(circle[0])
        else:
            return problems


def _circle(circle: list[str], steps: Mapping[str, StepSpec]) -> Problem:
    start = circle.index(min(circle))
    turned = circle[start:-1] + circle[: start + 1]
    first, waits_for = steps[turned[0]], turned[-2]
    keys = next((keys for keys, path in first.reads if step_of(path) == waits_for), ("after",))
    what = f"the steps run in a circle: {' → '.join(turned)}"
    fix = f"take one of them out of the circle, for instance this {keys[0]}"
    return first.problem(keys, what, fix, "cycle")
