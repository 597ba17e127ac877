"""`python -m benchmarks [NAME]...`: measure, write `build/bench/`, fail where a limit is missed.

`profile` writes where the time of a run goes into this folder's README, `readme` the last results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from benchmarks import (
    check_scale,
    generation,
    idle,
    loading,
    marginal,
    memory,
    profile,
    publishing,
    readme,
    saving,
    scale,
    tracking,
    ui,
    workers,
)
from benchmarks.report import Result, write

ALL: dict[str, Callable[[], Result]] = {
    "chain": marginal.chain,
    "parallel": marginal.parallel,
    "workers": workers.workers,
    "map": workers.mapped,
    "load": loading.measure,
    "check": check_scale.measure,
    "idle": idle.measure,
    "tracking": tracking.measure,
    "generate": generation.measure,
    "memory": memory.measure,
    "save": saving.measure,
    "publish": publishing.measure,
    "ui": ui.measure,
    "history": scale.history,
    "steps": scale.wide,
    "instances": scale.fanned_out,
}
COMMANDS: Mapping[str, Callable[[], None]] = {
    "profile": profile.into_readme,
    "readme": readme.write_results,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, all if none is named; return the exit code."""
    unknown = [name for name in names if name not in {**ALL, **COMMANDS}]
    if unknown:
        known = ", ".join([*ALL, *COMMANDS])
        print(f"no benchmark {unknown[0]!r}; known are: {known}", file=sys.stderr)
        return 2
    results = []
    for name in names or ALL:
        if name in COMMANDS:
            COMMANDS[name]()
            continue
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        results.append(ALL[name]())
        write(results[-1:])  # what is measured is not lost when a later one is broken off
    if results:
        print(write(results))
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
