"""What came of a promotion, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["promoted", "refused", "unchanged", "restored"]


@dataclass(frozen=True)
class Criterion:
    """One criterion of the gate: what is asked for, what the two have, whether it is met.

    ``note`` says what is wrong where that is no matter of the two values.
    """

    name: str
    passed: bool
    challenger: str = ""
    champion: str = ""
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """What came of a promotion.

    ``version`` is that of the challenger, None where nothing was registered. ``before`` and
    ``champion`` are the versions that were the champion before and are it now, None for none.
    ``run_id``, ``step`` and ``experiment`` say where the challenger was logged; ``logged`` is the
    value of the metric that was logged with it, ``value`` and ``champion_value`` are those on the
    held-out data. ``outcome`` is promoted, refused, unchanged (it is the champion already) or
    restored. With ``dry_run`` it is what would have come of it.
    """

    model: str
    outcome: Outcome
    dry_run: bool = False
    version: int | None = None
    before: int | None = None
    champion: int | None = None
    run_id: str = ""
    step: str = ""
    experiment: str = ""
    metric: str = ""
    higher: bool = True
    logged: float | None = None
    value: float | None = None
    champion_value: float | None = None
    criteria: Sequence[Criterion] = ()

    @property
    def promoted(self) -> bool:
        """Whether the challenger has become the champion, or would have."""
        return self.outcome == "promoted"

    @property
    def failed(self) -> list[Criterion]:
        """The criteria that are not met."""
        return [criterion for criterion in self.criteria if not criterion.passed]

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain data."""
        return {**asdict(self), "criteria": [asdict(criterion) for criterion in self.criteria]}

    def __str__(self) -> str:
        if self.outcome == "unchanged":
            return f"{self.model}: version {self.champion} is the champion already"
        if self.outcome == "restored":
            was = f"; it was version {self.before}" if self.before else ""
            return f"{self.model}: version {self.champion} is the champion again{was}"
        which = "the challenger" if self.version is None else f"version {self.version}"
        if self.outcome == "promoted":
            verb = "would become" if self.dry_run else "is now"
            was = f"; it was version {self.before}" if self.before else ", the first"
            return f"{self.model}: {which} {verb} the champion{was}"
        stays = f"version {self.before} stays the champion" if self.before else "there is none yet"
        why = "; ".join(f"{c.name}: {c.note}" if c.note else c.name for c in self.failed)
        verb = "would be" if self.dry_run else "is"
        return f"{self.model}: {which} {verb} refused, {stays} ({why})"
