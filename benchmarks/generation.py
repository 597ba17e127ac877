"""What the hooks add to the generation of a project."""

from __future__ import annotations

import itertools
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.projects import REPOSITORY, TEMPLATE
from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, Command, Spent, in_turn

SECONDS = 1.0  # at most, over cookiecutter alone


def measure(rounds: int = ROUNDS) -> Result:
    """Generate the default project, with the hooks and without."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        template = clean_template(root / "template")
        tasks = {
            "with hooks": generate(template, root / "with", "yes"),
            "without hooks": generate(template, root / "without", "no"),
        }
        spent = in_turn(tasks, rounds)
    rows = [
        {
            "cookiecutter": name,
            "s": round(statistics.median(s.wall for s in found), 2),
            "CPU s": round(statistics.median(s.cpu for s in found), 2),
        }
        for name, found in spent.items()
    ]
    more = statistics.median(
        a.wall - b.wall for a, b in zip(spent["with hooks"], spent["without hooks"], strict=True)
    )
    limit = Limit("seconds more with hooks", round(more, 2), SECONDS)
    return Result("generate", "Generating the default project", rows, [limit])


def clean_template(target: Path) -> Path:
    """Copy the template as it is checked out: cookiecutter copies it whole, with all caches."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "artefacts", ".mlflow")
    for name in ("hooks", "templates", TEMPLATE.name):
        shutil.copytree(REPOSITORY / name, target / name, ignore=ignored)
    shutil.copy(REPOSITORY / "cookiecutter.json", target)
    return target


def generate(template: Path, folder: Path, hooks: str) -> Callable[[], Spent]:
    """A function that generates one project after the other."""
    numbers = itertools.count()
    folder.mkdir()

    def run() -> Spent:
        target = folder / str(next(numbers))
        arguments = ["--no-input", "--default-config", "--accept-hooks", hooks, "-o", str(target)]
        command = [sys.executable, "-m", "cookiecutter", str(template), *arguments]
        return Command(command, folder).spend()

    return run
