"""`python -m mutation PACKAGE`: the mutation score of `dsml/PACKAGE`.

Printed are the mutants that no test noticed, then how many were noticed, by module and of all, with
the 95 % interval of the score. In `build/mutation/PACKAGE`, `mutmut show NAME` shows one of them in
its function, and `mutmut run NAME` tries it again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mutation.packages import PACKAGES, TEMPLATE
from mutation.place import prepare


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutation")
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("--sample", type=int, metavar="N", help="try so many mutants")
    parser.add_argument("--all", action="store_true", help="try all of them, which takes hours")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which are drawn")
    parser.add_argument("--again", action="store_true", help="keep what has not changed since")
    parser.add_argument("--modules", nargs="+", metavar="NAME", help="of these modules only")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="ask these tests only")
    parser.add_argument("--folder", type=Path, help="where to do it (build/mutation/PACKAGE)")
    parser.add_argument("--least", type=float, default=0, metavar="PERCENT", help="else exit 1")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Measure; 1 if the score is lower than what was asked for."""
    asked = _arguments(words)
    package = PACKAGES[asked.package]
    folder = asked.folder or TEMPLATE / "build" / "mutation" / package.name
    if not asked.again:
        prepare(folder, package, asked.modules or package.modules, asked.tests or package.tests)
    os.chdir(folder)
    # mutmut reads its settings in this folder as soon as it is imported
    from mutation.score import measure  # noqa: PLC0415 - not before the folder is entered

    sample = None if asked.all else asked.sample or package.sample
    score = measure(f"dsml/{package.name}", sample, asked.seed)
    return 0 if score >= asked.least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
