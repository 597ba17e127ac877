"""`python -m benchmarks [NAME]...`: measure, write `build/bench/`, fail where a limit is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import check_scale
from benchmarks.report import Result, write

ALL: dict[str, Callable[[], Result]] = {"check": check_scale.measure}


def main(names: list[str]) -> int:
    """Run the named benchmarks, all if none is named; return the exit code."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; known are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    results = [ALL[name]() for name in names or ALL]
    print(write(results))
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
