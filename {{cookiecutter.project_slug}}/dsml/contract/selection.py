"""Selecting steps: ``*``, stages and steps, with ``+`` for all that is above or below them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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


def select(tokens: Sequence[str], steps: Mapping[str, StepSpec]) -> Selection:
    """The steps that plain ``tokens`` select: the union of what each of them means.

    ``train`` is a stage, ``train.fit`` a step; ``+train.fit`` adds all that it waits for,
    ``train.fit+`` all that waits for it.
    """
    up = {name: step.upstream & steps.keys() for name, step in steps.items()}
    down: dict[str, set[str]] = {name: set() for name in steps}
    for name, sources in up.items():
        for source in sources:
            down[source].add(name)
    chosen: set[str] = set()
    unknown: list[str] = []
    for token in tokens:
        match = _TOKEN.fullmatch(token.strip())
        named = _named(match["name"], steps) if match else set()
        if not match or (not named and match["name"] != "*"):
            unknown.append(token)
            continue
        chosen |= named
        chosen |= _reach(named, up) if match["up"] else set()
        chosen |= _reach(named, down) if match["down"] else set()
    return Selection(frozenset(chosen), tuple(unknown))


def _named(name: str, steps: Mapping[str, StepSpec]) -> set[str]:
    if name == "*":
        return set(steps)
    return {key for key, step in steps.items() if name in (key, step.stage)}


def _reach(start: Iterable[str], edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(start)
    while todo:
        for name in edges[todo.pop()] - found:
            found.add(name)
            todo.append(name)
    return found
