"""Commands and how long they take: wall time and processor time, with all they have started."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

ROUNDS = 5
_SUPERVISOR = Path(__file__).with_name("supervise.py")
# Settings of the user's that would change what is measured.
_FOREIGN = ("DSML_", "DAGSTER_", "MLFLOW_", "JPY_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """What a command took, in seconds: on the clock, and of all processors together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Command:
    """What is run, where, and with which variables beside those of the machine."""

    arguments: Sequence[str]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """All variables; those of the user that would change the measurement are left out."""
        kept = {name: v for name, v in os.environ.items() if not name.startswith(_FOREIGN)}
        scripts = str(Path(sys.executable).parent)
        return {**kept, "PATH": os.pathsep.join([scripts, kept.get("PATH", "")]), **self.env}

    def spend(self) -> Spent:
        """Run it to its end, and wait for what it leaves behind.

        Raises:
            RuntimeError: it failed; then there is nothing to measure.
        """
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "spent.json")
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(result), *self.arguments],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                shown = " ".join(self.arguments)
                raise RuntimeError(f"{shown}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
            return Spent(**json.loads(result.read_bytes()))


def in_turn(
    tasks: Mapping[K, Callable[[], T]], rounds: int, warm_up: Iterable[K] | None = None
) -> dict[K, list[T]]:
    """Do all tasks one after the other, several times: what disturbs one disturbs its rivals too.

    ``warm_up`` names those that are done once before, uncounted, to fill caches and to compile
    what isn't yet; by default all. Who asks for a single round wants to see whether it works, and
    gets no more than that.
    """
    for name in (tasks if warm_up is None else warm_up) if rounds > 1 else ():
        tasks[name]()
    found: dict[K, list[T]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(task())
    return found


def median_of(spent: Sequence[Spent]) -> Spent:
    """The medians of both times."""
    return Spent(statistics.median(s.wall for s in spent), statistics.median(s.cpu for s in spent))


def slopes(few: Sequence[Spent], many: Sequence[Spent], more: int) -> list[Spent]:
    """What one of the ``more`` things that the larger runs do cost, round by round."""
    return [
        Spent((b.wall - a.wall) / more, (b.cpu - a.cpu) / more)
        for a, b in zip(few, many, strict=True)
    ]
