"""What mutmut does for us, in the project of the current folder.

Its command tries all mutants of a name; its functions, those that we have drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import hypothesis
import pytest
from mutmut.__main__ import CatchOutput, collect_or_load_stats, create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
    walk_mutatable_files,
)
from mutmut.utils.format_utils import mangled_name_from_mutant_name
from mutmut.workers.isolation import ForkRunner

# The same is tried each time, and on a slow machine a slow example is no fault.
hypothesis.settings.register_profile("mutation", deadline=None, derandomize=True)
NOTICED = {"killed", "timeout"}
_HEADINGS = ("---", "+++")
_NO_TESTS = "no tests"
# An endless loop ends after so much CPU time; by the clock it may take much longer, see place.py.
_CPU_FACTOR, _CPU_SECONDS = 3, 5


class _Runner(PytestRunner):
    """Runs tests by what they are called, which need not be what pytest takes for an argument.

    A command line that pytest refuses would pass for a test that failed.
    """

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:  # noqa: ARG002 - as mutmut calls it
        """Run some tests in their order until one fails; pytest's exit code."""
        order = {test: position for position, test in enumerate(tests)}

        class Only:
            @staticmethod
            def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
                asked = [item for item in items if item.nodeid in order]
                items[:] = sorted(asked, key=lambda item: order[item.nodeid])

        files = dict.fromkeys(test.partition("::")[0] for test in order)
        with change_cwd("mutants"):
            return self.execute_pytest(["-x", "-q", *files], plugins=[Only()])


def make() -> dict[str, list[str]]:
    """Write all mutants; their names, by the file that they are mutants of."""
    with CatchOutput(spinner_title="writing mutants"):
        copy_src_dir()
        copy_also_copy_files()
        setup_source_paths()
        create_mutants(1)
    found = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found[str(path)] = list(data.exit_code_by_key)
    return found


def try_mutants(names: Iterable[str], most: int) -> Iterator[tuple[str, str]]:
    """Run tests of each mutant until one fails; its name and its fate, such as ``killed``.

    Asked are those that call the mutated function: first the ``most`` that call the fewest others,
    then the rest.
    """
    hypothesis.settings.load_profile("mutation")
    runner = ForkRunner(1, _Runner())
    collect_or_load_stats(runner)  # they all pass, or it ends here
    set_mutant_under_test("")
    callers = state().tests_by_mangled_function_name
    calls = Counter(test for tests in callers.values() for test in tests)
    runner.startup()
    for name in names:
        tests = callers.get(mangled_name_from_mutant_name(name), set())
        nearest = sorted(tests, key=lambda test: (calls[test], test))
        fate = _NO_TESTS
        for asked in filter(None, (nearest[:most], nearest[most:])):
            took = sum(state().duration_by_test[test] for test in asked)
            runner.submit(name, asked, math.ceil(_CPU_FACTOR * took + _CPU_SECONDS), took)
            fate = status_by_exit_code[runner.wait_for_result().exit_code]
            if fate in NOTICED:
                break
        yield name, fate
    runner.shutdown()


def difference(name: str, path: str) -> str:
    """The lines that a mutant has instead of others, with their signs."""
    lines = get_diff_for_mutant(name, path=Path(path)).splitlines()
    return "\n".join(
        line for line in lines if line.startswith(("-", "+")) and not line.startswith(_HEADINGS)
    )
