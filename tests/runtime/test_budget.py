"""What the frame around a notebook may cost, in counts: they are the same on every machine.

Where one is exceeded, find out what has come in new and whether it is worth it: if so the budget is
raised beside it, else what costs more than before is made to cost less.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest

from dsml.orchestrate import warm
from dsml.orchestrate.definitions import load_definitions
from dsml.store import Manifest

from .conftest import execute
from .projects import PROJECT_FOLDER, Step, write_project

FEW, MANY = 2, 6
SAVE = "context.save('x', 1)"

# Modules that the kernel loads for `from dsml import get_context` and the context itself, on top
# of what Python has loaded when it starts.
MODULES = 165
# Calls of ast.parse to load a step: it has a declaration and one cell of code.
PARSED = 2
# What one more step costs the process of a run.
PER_STEP = {
    "processes": 1,  # its kernel
    "files": 35,  # opened for reading or writing, sources of modules not counted
    "statements": 80,  # of SQL, in an instance that is kept in SQLite
    "events": 8,  # in Dagster's log of the run
    "manifests": 2,  # read of what it reads, and of what it was before
}


def over(name, found, budget):
    return f"{name}: {found} where the budget is {budget}; see the head of this file for what to do"


# --- in the kernel --------------------------------------------------------------------------------

LOADED = """
import sys
before = set(sys.modules)
from dsml import get_context
import dsml.step.context
print(*sorted(set(sys.modules) - before), sep="\\n")
"""
HEAVY = {"dagster", "pandas", "numpy", "mlflow", "opentelemetry", "matplotlib", "sqlalchemy"}


def test_a_notebook_pays_for_few_modules_and_no_heavy_ones():
    env = {**os.environ, "PYTHONPATH": str(PROJECT_FOLDER)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    heavy = HEAVY.intersection(name.partition(".")[0] for name in loaded)
    assert not heavy, f"`import dsml` loads {sorted(heavy)}: import them where they are needed"
    assert len(loaded) <= MODULES, over("modules of `import dsml`", len(loaded), MODULES)


# --- in the process of the run --------------------------------------------------------------------


SOURCES = (".py", ".pyc", ".so")


class Counted:
    """Counts what this process does; audit hooks cannot be removed, so there is one for all."""

    def __init__(self):
        self.found = Counter()
        self.is_on = False
        sys.addaudithook(self._heard)

    def _heard(self, event, arguments):
        if not self.is_on:
            return
        if event == "open":
            # what is looked at now and then depends on the clock: usage, and the saved notebook
            file = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
            is_timed = file.startswith("/proc") or file.endswith(".executed.ipynb")
            self.found["files"] += bool(file) and not is_timed and not file.endswith(SOURCES)
        elif event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
            self.found["processes"] += 1

    @contextlib.contextmanager
    def on(self):
        self.found.clear()
        self.is_on = True
        try:
            yield self.found
        finally:
            self.is_on = False


COUNTED = Counted()


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """What a run of so many steps in a row costs this process."""
    import sqlalchemy

    monkeypatch.setattr(warm, "_WARM", [])
    read, numbers = Manifest.from_json.__func__, itertools.count()

    def run(count):
        steps = {
            f"a.s{number}": Step(
                SAVE,
                ins={"before": f"a.s{number - 1}.x"} if number else {},
                outs={"x": "x.json"},
            )
            for number in range(count)
        }
        root = write_project(tmp_path / f"run {next(numbers)}", steps)
        with COUNTED.on() as found:

            def counted(cls, *arguments):
                found["manifests"] += 1
                return read(cls, *arguments)

            def told(*_):
                found["statements"] += 1

            monkeypatch.setattr(Manifest, "from_json", classmethod(counted))
            sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", told)
            try:
                ran = execute(root)
            finally:
                sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", told)
        assert ran.passed, ran.log
        found["events"] = sum(1 for _ in ran.result.all_events)
        return Counter(found)

    return run


@pytest.mark.slow
def test_one_more_step_costs_what_it_may(counts, record_property):
    counts(FEW)  # loads what is loaded once
    few, many = counts(FEW), counts(MANY)
    for name, budget in PER_STEP.items():
        slope = (many[name] - few[name]) / (MANY - FEW)
        record_property(f"{name} per step", slope)
        assert slope <= budget, over(f"{name} of one step", slope, budget)


def test_loading_parses_each_notebook_a_fixed_number_of_times(tmp_path, monkeypatch):
    parsed = Counter()
    whole = ast.parse

    def counted(*arguments, **named):
        parsed["now"] += 1
        return whole(*arguments, **named)

    monkeypatch.setattr(ast, "parse", counted)
    found = {}
    for count in (5, 10, 20):
        steps = {f"a.s{number}": Step(SAVE, outs={"x": "x.json"}) for number in range(count)}
        root = write_project(tmp_path / f"of {count}", steps)
        parsed.clear()
        load_definitions(root)
        found[count] = parsed["now"]
    slope = (found[10] - found[5]) / 5
    assert found[20] - found[10] == 10 * slope, f"not linear: {found}"
    assert slope <= PARSED, over("calls of ast.parse for a notebook", slope, PARSED)
