"""Steps joined by catalog path: what is unknown, what is doubled, what runs in a circle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from dsml.contract.fanout import lists_of
from dsml.contract.problem import Problem, suggest
from dsml.contract.spec import StepSpec


def graph_problems(steps: Mapping[str, StepSpec], unread: Collection[str] = ()) -> list[Problem]:
    """Everything that keeps the steps from being one acyclic graph.

    ``unread`` are steps whose notebook is there and has mistakes of its own: what they publish is
    not known, so nothing is said about it.
    """
    artefacts = frozenset(path for step in steps.values() for path in step.artefacts)
    problems = [
        problem
        for step in steps.values()
        for name, problem in _unknown(step, steps, artefacts)
        if name not in unread
    ]
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
    declared = [(("ins", name), source) for name, source in step.ins.items()]
    declared += [(("map", name), source) for name, source in lists_of(step.map)]
    for keys, source in declared:
        if source in artefacts:
            continue
        what = f"{'.'.join(keys)}: no step publishes '{source}'"
        owner_name = source.rpartition(".")[0]
        owner = steps.get(owner_name)
        nearest = owner.artefacts if owner is not None and owner.artefacts else artefacts
        problem = Problem(step.where(*keys), what, suggest(source, nearest), "unknown-path")
        yield owner_name, problem
    for name, source in lists_of(step.map):
        if source in artefacts and not file_of(steps, source).endswith(".json"):
            what = f"map.{name}: '{source}' is no JSON file, but '{file_of(steps, source)}'"
            fix = "publish the list of values as a .json file"
            yield name, Problem(step.where("map", name), what, fix, "no-list")
    for i, name in enumerate(step.after):
        if name not in steps:
            what = f"after: there is no step '{name}'"
            where = step.where("after", str(i))
            yield name, Problem(where, what, suggest(name, steps), "unknown-path")


def file_of(steps: Mapping[str, StepSpec], artefact: str) -> str:
    """The name of the file of an artefact that there is."""
    step, _, out = artefact.rpartition(".")
    return steps[step].outs[out]


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
    read = [(("ins", name), path) for name, path in first.ins.items()]
    read += [(("map", name), path) for name, path in lists_of(first.map)]
    keys = next((keys for keys, path in read if path.startswith(f"{waits_for}.")), ("after",))
    what = f"{'.'.join(keys)}: the steps run in a circle: {' → '.join(turned)}"
    fix = f"take one of them out of the circle, for instance this {keys[0]}"
    return Problem(first.where(*keys), what, fix, "cycle")
