"""Removing what a plan says, so that nobody sees half of anything, whenever it is interrupted.

A step's manifest goes first: what has none does not exist for anybody. It is not deleted but
withdrawn, to ``withdrawn.json`` beside it. Then the runs that have begun meanwhile are looked at
once more. A step that one of them refers to gets its manifest back. The others lose their files,
the withdrawn manifest last: as long as it is there, a clean-up that was killed is seen and ended by
the next. A run that takes over what another has published looks after it has said so whether that
is still published (``dsml.store.takeover``), so one of the two always notices the other. That holds
for one clean-up at a time, which ``exclusive`` sees to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from dsml.evidence.retention.files import remove
from dsml.evidence.retention.inventory import (
    WITHDRAWN_FILE,
    Inventory,
    Pins,
    refreshed,
    run_named,
)
from dsml.evidence.retention.leftovers import leftovers, take_away
from dsml.evidence.retention.plan import Plan, Rule, in_order, make_plan
from dsml.store import StepRun, Store, remote
from dsml.store.manifest import ATTEMPTS_FOLDER, MANIFEST_FILE
from dsml.store.paths import same_path
from dsml.store.runs import RUN_FILE, run_path

_AT_ONCE = 500  # steps that are withdrawn before the runs are looked at again


@dataclass
class Cleaned:
    """What came of it: steps of runs that stay with the reason, what is gone with its bytes.

    ``runs`` are those of which nothing is left. ``spared`` were to go, until a run that began
    meanwhile turned out to need them.
    """

    kept: Mapping[StepRun, str]
    steps: dict[StepRun, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    leftovers: list[tuple[str, int]] = field(default_factory=list)
    spared: list[StepRun] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True)
class Sweeper:
    """Removes from a storage what a rule lets go.

    ``pins`` asks what refers to runs from outside, ``go_on`` says that the clean-up is alive.
    """

    store: Store
    inventory: Inventory
    rule: Rule
    pins: Callable[[], Pins]
    go_on: Callable[[], None]

    def sweep(self, plan: Plan) -> Cleaned:
        """Carry out the plan, then remove what is left over."""
        done = Cleaned(plan.kept)
        for address in in_order(plan.kept):
            if self.inventory.there.parts[address].withdrawn:
                self._restore(address)
        going = [address for address in plan.gone if address in self.inventory.files]
        for some in _batches(going, _AT_ONCE):
            self.go_on()
            self._sweep_some(some, plan, done)
        self._remove_runs(plan, done)
        for leftover in leftovers(self.store, self.inventory, plan):
            take_away(self.store, leftover)
            done.leftovers.append((leftover.what, leftover.bytes))
            done.bytes += leftover.bytes
        return done

    def _sweep_some(self, some: list[StepRun], plan: Plan, done: Cleaned) -> None:
        """Withdraw steps, look again, and remove those that nobody needs after all."""
        for address in some:
            self._withdraw(address)
        there = refreshed(self.store, self.inventory.there, self.pins(), some)
        # A run that is over by now may not be among the newest, but goes another time only: as
        # long as its manifest is there, so is what it has taken over.
        kept = make_plan(there, self.rule, there.parts.keys() - plan.gone).kept
        spared = [address for address in some if address in kept]
        for address in spared:
            self._restore(address)
        done.spared += spared
        self._remove_records(plan, some, spared)
        for address in (each for each in some if each not in kept):
            self._remove(address)
            done.steps[address] = self.inventory.size_of(address)
            done.bytes += done.steps[address]

    def _withdraw(self, address: StepRun) -> None:
        """Hide a step from readers; it can be brought back."""
        store = self.store
        fingerprint = self.inventory.fingerprints.get(address)
        same = same_path(address, fingerprint or "")
        if fingerprint and run_named(store, same) == address.run_id:
            remote.delete(store.at(same))
        manifest = store.path(address, MANIFEST_FILE)
        with contextlib.suppress(FileNotFoundError):
            if isinstance(manifest, Path):
                manifest.replace(store.path(address, WITHDRAWN_FILE))
                return
            content = remote.read(manifest).decode()
            store.write(store.path(address, WITHDRAWN_FILE), content)
            remote.delete(manifest)

    def _restore(self, address: StepRun) -> None:
        """Bring a step back."""
        store = self.store
        withdrawn = store.path(address, WITHDRAWN_FILE)
        with contextlib.suppress(FileNotFoundError):
            content = remote.read(withdrawn).decode()
            store.write(store.path(address, MANIFEST_FILE), content)
            remote.delete(withdrawn)

    def _remove(self, address: StepRun) -> None:
        """Remove the files of a step that is withdrawn."""
        last = self.store.layout.path(address, WITHDRAWN_FILE)
        files = [path for path in self.inventory.files[address] if path != last]
        # the artefacts first: a step that has them all can be brought back
        files.sort(key=lambda path: ATTEMPTS_FOLDER in path.split("/"))
        keeps = _keeps(address.run_id)
        remove(self.store, files, keeps)
        remove(self.store, [last], keeps)

    def _remove_records(
        self, plan: Plan, some: Iterable[StepRun], spared: Iterable[StepRun]
    ) -> None:
        """Remove the records of runs of which nothing will be left.

        They go before any file does: a run with a record but without files is one that failed
        before it had any, and some of these stay.
        """
        runs = {address.run_id for address in some} - {address.run_id for address in spared}
        for run_id in runs & plan.gone_runs:
            remote.delete(run_path(self.store, run_id, RUN_FILE))

    def _remove_runs(self, plan: Plan, done: Cleaned) -> None:
        """Remove what is kept of runs as a whole, of which nothing else is left."""
        spared = {address.run_id for address in done.spared}
        for run_id in sorted(plan.gone_runs - spared):
            files = self.inventory.of_run.get(run_id, {})
            remote.delete(run_path(self.store, run_id, RUN_FILE))
            remove(self.store, files, _keeps(run_id))
            done.runs.append(run_id)
            done.bytes += sum(files.values())


def _batches(addresses: Iterable[StepRun], size: int) -> Iterator[list[StepRun]]:
    """Some at a time, all of a run together."""
    batch: list[StepRun] = []
    for _, of_run in groupby(in_order(addresses), key=lambda address: address.run_id):
        batch += of_run
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _keeps(run_id: str) -> Callable[[Path], bool]:
    """Whether a folder is not a run's own: another one may be about to write into it."""
    return lambda folder: not any(run_id in part for part in folder.parts)
