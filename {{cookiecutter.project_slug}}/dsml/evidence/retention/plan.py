"""What goes and what stays. Nothing here reads or writes: what is there in, what is decided out.

Two kinds of things are decided on: what a step (or an instance of a mapped one) has left in a run,
and what is kept of the run as a whole. What is kept keeps all that it refers to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dsml.contract.figures import short_id
from dsml.store import StepRun

_PUBLISHING = timedelta(hours=1)  # as long as it may take until what has ended is to be seen


@dataclass(frozen=True)
class Part:
    """What a step, or one instance of it, has left in a run.

    ``moment`` is the last that is known of it, in ISO 8601; ``refers`` are the parts that it cannot
    be read or done again without, ``made_of`` those of them that have files which are its own
    results. ``published`` says whether it has a manifest, ``withdrawn`` whether that was taken away
    by a clean-up that has not ended, ``ruined`` whether files of it were as well; ``unreadable``
    whether nobody can tell what is in there.
    """

    address: StepRun
    published: bool
    moment: str
    refers: frozenset[StepRun] = frozenset()
    made_of: frozenset[StepRun] = frozenset()
    withdrawn: bool = False
    ruined: bool = False
    unreadable: bool = False

    @property
    def series(self) -> tuple[str, str, str | None]:
        """Among which its age counts: the runs of the same step, experiment and partition."""
        return self.address.step, self.address.experiment, self.address.partition


@dataclass(frozen=True)
class Run:
    """A run as a whole. ``moment`` is the last that is known of it, ``started`` its beginning.

    ``under_way`` says whether it may still be going on, ``recorded`` whether it has a record;
    ``parent`` is the run that it carries on.
    """

    run_id: str
    moment: str
    started: str = ""
    under_way: bool = False
    recorded: bool = True
    parent: str = ""
    pipeline: str = ""
    experiment: str = ""
    partition: str | None = None


@dataclass(frozen=True)
class There:
    """All that is there.

    ``pinned`` are runs and labels that something outside refers to, with what that is; a label
    is ``train.fit`` or ``train.fit[100]``. ``pointed`` are the parts that are named as the newest.
    """

    parts: Mapping[StepRun, Part]
    runs: Mapping[str, Run]
    pinned: Mapping[tuple[str, str], str] = field(default_factory=dict)
    pointed: frozenset[StepRun] = frozenset()


@dataclass(frozen=True)
class Rule:
    """``keep`` runs of each step stay, and what is not older than ``before`` (ISO 8601) does.

    Without ``before`` the age doesn't count.
    """

    keep: int
    before: str = ""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError("at least the newest run of each step is kept")

    def is_young(self, moment: str) -> bool:
        """Whether something is too young to go."""
        return bool(self.before) and moment >= self.before


@dataclass(frozen=True)
class Plan:
    """What stays, each with the reason, and what goes; of parts and of whole runs."""

    kept: Mapping[StepRun, str]
    gone: frozenset[StepRun]
    kept_runs: Mapping[str, str]
    gone_runs: frozenset[str]


def make_plan(there: There, rule: Rule, staying: Iterable[StepRun] = ()) -> Plan:
    """Decide what goes; ``staying`` are parts that are not up for decision, for any reason."""
    kept = _Kept(there)
    for address, why in _roots(there, rule):
        kept.add(address, why)
    for address in staying:
        kept.add(address, "it stays for now")
    runs = dict(_kept_runs(there, rule, kept.why))
    return Plan(
        kept.why,
        frozenset(there.parts.keys() - kept.why.keys()),
        runs,
        frozenset(there.runs.keys() - runs.keys()),
    )


class _Kept:
    """What is kept so far, with all that it refers to."""

    def __init__(self, there: There) -> None:
        self.why: dict[StepRun, str] = {}
        self._there = there
        self._of_run: dict[str, list[StepRun]] = defaultdict(list)
        for address in there.parts:
            self._of_run[address.run_id].append(address)

    def add(self, address: StepRun, why: str) -> None:
        """Keep a part, and what it refers to; the first reason stays."""
        waiting = [(address, why)]
        while waiting:
            found, reason = waiting.pop()
            part = self._there.parts.get(found)
            if part is None or part.ruined or found in self.why:
                continue
            self.why[found] = reason
            waiting += self._needed(part)

    def _needed(self, part: Part) -> Iterator[tuple[StepRun, str]]:
        label, run_id = part.address.label, part.address.run_id
        needed_by = f"needed by {label} of run {short_id(run_id)}"
        for other in sorted(part.refers | part.made_of, key=_order):
            yield other, needed_by
        if part.address.instance is None:
            for other in self._of_run[run_id]:
                if other.of_instance(None) == part.address:
                    yield other, f"an instance of {label}, which is kept"
        if not part.published and not part.withdrawn:
            why = f"lets run {short_id(run_id)}, in which {label} has not passed, be carried on"
            for line in lineage(self._there.runs, run_id):
                yield from ((other, why) for other in self._of_run[line])


def lineage(runs: Mapping[str, Run], run_id: str) -> list[str]:
    """A run and those that it carries on, the nearest first."""
    found: list[str] = []
    while run_id and run_id not in found:
        found.append(run_id)
        run_id = runs[run_id].parent if run_id in runs else ""
    return found


def _roots(there: There, rule: Rule) -> Iterator[tuple[StepRun, str]]:
    """What is kept for its own sake, the best reason first."""
    yield from _pinned(there)
    yield from _under_way(there)
    yield from _newest(there, rule)
    for address, part in there.parts.items():
        if address in there.pointed:
            yield address, f"named as the newest of {address.step}"
        elif part.unreadable:
            yield address, "its manifest cannot be read"
        elif rule.is_young(part.moment) and not part.withdrawn:
            yield address, "not old enough"


def _pinned(there: There) -> Iterator[tuple[StepRun, str]]:
    for address in there.parts:
        why = there.pinned.get((address.run_id, address.label))
        if why is not None:
            yield address, why


def _under_way(there: There) -> Iterator[tuple[StepRun, str]]:
    """The parts of runs that go on, and what they may have found and not yet written down.

    A run looks for the newest of a step, and notes later what it has found. So whatever was the
    newest at any time since the earliest of these runs began is taken to be in use.
    """
    going = [run for run in there.runs.values() if run.under_way]
    if not going:
        return
    lines = {line: run for run in going for line in lineage(there.runs, run.run_id)}
    for address in there.parts:
        run = lines.get(address.run_id)
        if run is not None:
            carried_on = f"carried on by run {short_id(run.run_id)}, which is under way"
            own = address.run_id == run.run_id
            yield address, "the run is under way" if own else carried_on
    earliest = _before(min(run.started for run in going))
    why = f"may be read by run {short_id(going[0].run_id)}, which is under way"
    for series in _series(there, lambda part: _is_whole(there, part)).values():
        for part in series:
            yield part.address, why
            if part.moment < earliest:
                break


def _before(started: str) -> str:
    """A while before a run began: what is published then may carry an earlier time."""
    if not started:
        return ""
    return (datetime.fromisoformat(started) - _PUBLISHING).isoformat(timespec="microseconds")


def _newest(there: There, rule: Rule) -> Iterator[tuple[StepRun, str]]:
    """The newest of each step that were published, and the newest that were not."""
    published = _series(there, lambda part: _is_whole(there, part))
    failed = _series(there, lambda part: not _is_whole(there, part) and not part.withdrawn)
    for found, what in ((published, "runs"), (failed, "runs that have not passed")):
        for (step, _, _), series in found.items():
            for part in series[: rule.keep]:
                yield part.address, f"among the newest {rule.keep} {what} of {step}"


def _is_whole(there: There, part: Part) -> bool:
    """Whether a part is published, with all that it is made of."""
    parts = there.parts
    return part.published and all(a in parts and parts[a].published for a in part.made_of)


def _series(
    there: There, wanted: Callable[[Part], bool]
) -> dict[tuple[str, str, str | None], list[Part]]:
    """The wanted parts of whole steps by their series, the newest first."""
    found: dict[tuple[str, str, str | None], list[Part]] = defaultdict(list)
    for part in there.parts.values():
        if part.address.instance is None and wanted(part):
            found[part.series].append(part)
    for series in found.values():
        series.sort(key=lambda part: (part.moment, part.address.run_id), reverse=True)
    return found


def _kept_runs(there: There, rule: Rule, kept: Mapping[StepRun, str]) -> Iterator[tuple[str, str]]:
    has_kept = {address.run_id for address in kept}
    pinned = {run_id: why for (run_id, _), why in there.pinned.items()}
    links = _links(there, kept)
    others: list[Run] = []
    for run_id, run in there.runs.items():
        if run_id in has_kept:
            yield run_id, "steps of it are kept"
        elif run.under_way:
            yield run_id, "it is under way"
        elif run_id in pinned:
            yield run_id, pinned[run_id]
        elif run_id in links:
            yield run_id, f"carried on by run {short_id(links[run_id])}"
        elif rule.is_young(run.moment):
            yield run_id, "not old enough"
        else:
            others.append(run)
    yield from _newest_empty(there, rule, others)


def _links(there: There, kept: Iterable[StepRun]) -> dict[str, str]:
    """Runs that say what others carry on, which are under way or may be carried on themselves.

    Without their records nobody would know any more what those need of the runs before.
    """
    waiting = [there.parts[address] for address in kept]
    ends = [part.address.run_id for part in waiting if not part.published and not part.withdrawn]
    ends += [run.run_id for run in there.runs.values() if run.under_way]
    return {line: end for end in ends for line in lineage(there.runs, end)}


def _newest_empty(there: There, rule: Rule, others: Iterable[Run]) -> Iterator[tuple[str, str]]:
    """The newest runs of a pipeline, experiment and partition that were over too early.

    Only ``others`` count, which nothing else keeps: a run that stays for another reason may lose
    its steps in this clean-up, and would count in the next one.
    """
    has_parts = {address.run_id for address in there.parts}
    empty: dict[tuple[str, str, str | None], list[Run]] = defaultdict(list)
    for run in others:
        if run.recorded and run.run_id not in has_parts:
            empty[run.pipeline, run.experiment, run.partition].append(run)
    for runs in empty.values():
        runs.sort(key=lambda run: (run.moment, run.run_id), reverse=True)
        for run in runs[: rule.keep]:
            yield run.run_id, f"among the newest {rule.keep} of which no step has left anything"


def _order(address: StepRun) -> tuple[str, ...]:
    return (address.run_id, address.label, address.experiment, address.partition or "")


def in_order(addresses: Iterable[StepRun]) -> list[StepRun]:
    """Parts in an order that does not change."""
    return sorted(addresses, key=_order)
