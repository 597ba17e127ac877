"""Cleaning up a project's storage: reading, planning, removing, and what is told of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from dsml.contract.catalog import sound_catalog
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.retention.exclusive import alone
from dsml.evidence.retention.inventory import Pins, read_inventory
from dsml.evidence.retention.leftovers import leftovers
from dsml.evidence.retention.pins import COMMAND, pinned
from dsml.evidence.retention.plan import Rule, in_order, make_plan
from dsml.evidence.retention.sweep import Cleaned, Sweeper
from dsml.store import Store

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def read_rule(keep: str, older_than: str | None = None, now: datetime | None = None) -> Rule:
    """The rule that the options of the command stand for.

    Raises:
        ProjectError: naming all that are wrong.
    """
    problems: list[Problem] = []
    number = int(keep) if keep.isdecimal() else 0
    if number < 1:
        what = f"--keep {keep}: so many runs of each step stay, and one always does"
        problems.append(_wrong(what, "write a whole number from 1 on: --keep 5"))
    before = ""
    if older_than is not None:
        age = _age(older_than)
        if age is None:
            what = f"--older-than {older_than}: that is no age"
            problems.append(_wrong(what, "write hours, days or weeks: --older-than 12h, 30d or 2w"))
        else:
            before = ((now or datetime.now(UTC)) - age).isoformat(timespec="microseconds")
    if problems:
        raise ProjectError(problems)
    return Rule(number, before)


def _wrong(what: str, fix: str) -> Problem:
    return Problem(Where(COMMAND), what, fix, "wrong-usage")


def _age(text: str) -> timedelta | None:
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip().lower())
    return int(found[1]) * _UNITS[found[2]] if found else None


def clean(root: Path, rule: Rule, *, dry_run: bool = False) -> Cleaned:
    """Remove from the storage of the environment in ``DSML_ENV`` what the rule lets go.

    Raises:
        ProjectError: the catalog cannot be used, MLflow or the storage doesn't answer, or another
            clean-up is under way.
    """
    catalog = sound_catalog(root)
    store = Store.open(root, catalog)
    pins = partial(pinned, root, catalog)
    if dry_run:
        return _planned(store, rule, pins())
    with alone(store) as go_on:
        inventory = read_inventory(store, pins())
        plan = make_plan(inventory.there, rule)
        return Sweeper(store, inventory, rule, pins, go_on).sweep(plan)


def _planned(store: Store, rule: Rule, pins: Pins) -> Cleaned:
    """What would come of it."""
    inventory = read_inventory(store, pins)
    plan = make_plan(inventory.there, rule)
    going = (address for address in in_order(plan.gone) if address in inventory.files)
    sizes = {address: inventory.size_of(address) for address in going}
    left = [(each.what, each.bytes) for each in leftovers(store, inventory, plan)]
    runs = sorted(plan.gone_runs)
    of_runs = sum(sum(inventory.of_run.get(run_id, {}).values()) for run_id in runs)
    total = sum(sizes.values()) + sum(amount for _, amount in left) + of_runs
    return Cleaned(plan.kept, sizes, runs, left, [], total)
