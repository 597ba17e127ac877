"""What is measured side by side: the same notebooks, run by this runtime and by its peers."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.projects import (
    APART,
    CHAIN,
    REPOSITORY,
    SOURCE,
    TEMPLATE,
    bare_notebooks,
    steps,
    write_project,
)
from benchmarks.run_without import FORKS
from benchmarks.timing import Command

HERE = Path(__file__).resolve().parent
PLOOMBER = REPOSITORY / "build" / "bench" / "ploomber"
_PLOOMBER_NEEDS = ("ploomber>=0.23,<0.24", "ipykernel")


@dataclass(frozen=True)
class Job:
    """Notebooks to be run: how many, in which shape, so many at once, and what each of them does.

    ``shape`` is ``chain``, each after the one before it, or ``apart``.
    """

    number: int
    shape: str = CHAIN
    workers: int = 1
    work: str = SOURCE


@dataclass(frozen=True)
class Contender:
    """One way to run notebooks; ``command`` writes what it needs into a folder."""

    name: str
    command: Callable[[Path, Job], Command]
    slow: bool = False  # is measured on fewer notebooks, so that the whole doesn't take an hour


def dsml(root: Path, *arguments: str, without: str = "") -> Command:
    """A command of a project, ``without`` a part that ``run_without.py`` knows."""
    called = [str(HERE / "run_without.py"), without] if without else ["-m", "dsml"]
    return Command([sys.executable, *called, *arguments], root, {"PYTHONPATH": str(root)})


def _ours(
    executor: str = "threads", *, without: str = "", tracked: bool = False
) -> Callable[[Path, Job], Command]:
    def command(root: Path, job: Job) -> Command:
        environment = {"mlflow": ".mlflow"} if tracked else None
        made = steps(job.number, job.shape, job.work)
        write_project(root, made, environment, executor=executor, workers=job.workers)
        return dsml(root, "run", "--force", without=without)

    return command


def _papermill(root: Path, job: Job) -> Command:
    return _papermill_on(bare_notebooks(root, job.number, job.work), root, job.workers)


def _papermill_on_ours(root: Path, job: Job) -> Command:
    write_project(root, steps(job.number, job.shape, job.work))
    return _papermill_on(sorted(root.glob("stages/a/*.ipynb")), root, job.workers)


def _papermill_on(files: Sequence[Path], root: Path, workers: int) -> Command:
    script = str(HERE / "papermill_loop.py")
    command = [sys.executable, script, str(workers), *map(str, files)]
    return Command(command, root, {"PYTHONPATH": str(root)})


def _stock(executor: str) -> Callable[[Path, Job], Command]:
    def command(root: Path, job: Job) -> Command:
        files = bare_notebooks(root, job.number, job.work)
        limit = job.workers if job.shape == APART else None
        told = {
            "files": [str(file) for file in files],
            "chain": job.shape == CHAIN,
            "executor": executor,
            "limit": limit,
        }
        return dagster_job(root, HERE / "stock_job.py", "stock", BENCH_STOCK=json.dumps(told))

    return command


def dagster_job(root: Path, file: Path, name: str, **env: str) -> Command:
    """`dagster job execute`, with the settings of an instance that our projects have."""
    home = root / "home"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATE / ".dagster" / "dagster.yaml", home)
    return Command(
        [sys.executable, "-m", "dagster", "job", "execute", "-f", str(file), "-j", name],
        root,
        {"DAGSTER_HOME": str(home), "PYTHONPATH": str(TEMPLATE), **env},
    )


def _ploomber(root: Path, job: Job) -> Command:
    files = bare_notebooks(root, job.number, job.work)
    tasks: list[dict[str, Any]] = [
        {"source": file.name, "name": file.stem, "product": f"executed/{file.name}"}
        for file in files
    ]
    if job.shape == CHAIN:
        for before, task in itertools.pairwise(tasks):
            task["upstream"] = [before["name"]]
    parallel = {"dotted_path": "ploomber.executors.Parallel", "processes": job.workers}
    pipeline = {
        "meta": {"extract_upstream": False, "extract_product": False},
        "executor": parallel if job.workers > 1 else "serial",
        "tasks": tasks,
    }
    # YAML takes JSON
    (root / "pipeline.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    scripts = PLOOMBER / "bin"
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", "")])
    env = {"PATH": path, "PLOOMBER_STATS_ENABLED": "false"}
    return Command([str(scripts / "ploomber"), "build", "--force"], root, env)


def has_ploomber() -> bool:
    """Whether Ploomber can be run; it is installed if it can be, apart from everything else."""
    script = PLOOMBER / "bin" / "ploomber"
    if not script.exists():
        tool = REPOSITORY / "tools" / "environment.py"
        command = [sys.executable, str(tool), str(PLOOMBER), *_PLOOMBER_NEEDS]
        subprocess.run(command, check=False, stdout=sys.stderr)
    return script.exists()


OURS = Contender("ours", _ours())
TRACKED = Contender("ours, tracked in MLflow", _ours(tracked=True))
PLAIN = Contender("ours, kernels not forked", _ours(without=FORKS), slow=True)
MULTIPROCESS = Contender("ours, executor multiprocess", _ours("multiprocess"), slow=True)
PAPERMILL = Contender("papermill alone", _papermill)
PAPERMILL_ON_OURS = Contender("papermill alone, on our notebooks", _papermill_on_ours, slow=True)
STOCK = Contender("dagstermill, multiprocess", _stock("multiprocess"), slow=True)
STOCK_ONE = Contender("dagstermill, in process", _stock("in_process"), slow=True)
PLOOMBER_ALONE = Contender("Ploomber", _ploomber, slow=True)
