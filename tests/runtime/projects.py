"""The smallest projects that show a behaviour, and processes that run in them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRun
from dagster._core.instance.ref import InstanceRef

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.contract.register import write_register
from dsml.contract.scaffold import notebook
from dsml.orchestrate.warm import WarmProcess
from dsml.store import Manifest
from dsml.store.manifest import measure

PROJECT_FOLDER = next(
    Path(__file__).resolve().parents[2].glob("[{][{]cookiecutter.project_slug[}][}]")
)
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """A notebook to be written: what it declares, and the source of its last cells.

    `declared` holds further keys of `op_parameters`.
    """

    work: str | Sequence[str] = ""
    ins: Mapping[str, str] = field(default_factory=dict)
    outs: Mapping[str, Any] = field(default_factory=dict)
    parameters: str = ""
    after: Sequence[str] = ()
    description: str = "A step."
    declared: Mapping[str, Any] = field(default_factory=dict)


def _write_settings(home: Path) -> None:
    home.mkdir(parents=True)
    shutil.copy(PROJECT_FOLDER / ".dagster" / "dagster.yaml", home)
    (home / ".gitignore").write_text("*\n", encoding="utf-8")  # it changes with every run


@functools.cache
def _dagster_home() -> Path:
    """A home of Dagster in which nothing has been run yet."""
    home = Path(tempfile.mkdtemp(prefix="dagster-home-"), ".dagster")
    atexit.register(shutil.rmtree, home.parent, ignore_errors=True)
    _write_settings(home)
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
        instance.get_runs(limit=1)
        instance.all_instigator_state()
        instance.fetch_materializations(AssetKey("none"), limit=1)
    return home


def write_project(
    root: Path,
    steps: Mapping[str, Step],
    *,
    experiments: Mapping[str, Any] | None = None,
    storage: str = "artefacts",
    pipelines: Mapping[str, Any] | None = None,
    pattern: str = DEFAULT_PATTERN,
    with_databases: bool = True,
    **catalog_keys: Any,
) -> Path:
    """Write a project whose notebooks are registered; the runtime is the template's own.

    It has the databases of Dagster already, which take longer to make than a run takes; without
    them it is as somebody has it who has just cloned it.
    """
    if with_databases:
        shutil.copytree(_dagster_home(), root / ".dagster")
    else:
        _write_settings(root / ".dagster")
    shutil.copy(PROJECT_FOLDER / "dag.py", root)
    (root / "dsml").symlink_to(PROJECT_FOLDER / "dsml", target_is_directory=True)
    for name, step in steps.items():
        write_notebook(root, name, step)
    catalog = {
        "version": 1,
        "project": "small",
        "environments": {"dev": {"storage": storage}},
        "paths": {"artefact": pattern},
        "experiments": dict(experiments or {"baseline": {}}),
        "pipelines": dict(pipelines or {"all": {}}),
        **catalog_keys,
        "register": {},
    }
    (root / "catalog.yml").write_text(yaml.safe_dump(catalog, sort_keys=False), encoding="utf-8")
    write_register(root)
    return root


def write_notebook(root: Path, name: str, step: Step) -> Path:
    """Write `stages/<stage>/<notebook>.ipynb`: the cells of the scaffold, the last one repeated."""
    declared = {"description": step.description, "ins": dict(step.ins), "outs": dict(step.outs)}
    if step.after:
        declared["after"] = list(step.after)
    declared |= step.declared
    works = [step.work] if isinstance(step.work, str) else list(step.work)
    document = json.loads(notebook(f"# {name}", declared, step.parameters, works[0]))
    for number, source in enumerate(works[1:]):
        cell = document["cells"][-1] | {"id": f"more-{number}"}
        document["cells"].append(cell | {"source": source.splitlines(keepends=True)})
    file = root / "stages" / Path(*name.split(".")).with_suffix(".ipynb")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return file


# --- processes ------------------------------------------------------------------------------------


def start(root: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m dsml ...` in a project, as the leader of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dsml", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(
    look: Callable[[], T], seconds: float = 30, poll: float = 0.02, otherwise: str = ""
) -> T:
    """Look again and again until there is something to see; its first true value is returned."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, otherwise or f"nothing to see after {seconds} s"
        time.sleep(poll)


def processes_of(root: Path) -> list[psutil.Process]:
    """The processes that work in a project: their folder or command line lies below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ().get("PYTHONPATH", "").split(os.pathsep)
            if str(root) in environment and process.pid != os.getpid():
                found.append(process)
    return found


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a command and everything in its process group, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


# --- what a run left ------------------------------------------------------------------------------


class WarmForAll(WarmProcess):
    """One process that the kernels of all projects are forked from; each finds its own modules."""

    def __init__(self) -> None:
        super().__init__({**os.environ, "PYTHONPATH": str(PROJECT_FOLDER)}, [])

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], *more: Any, **named: Any
    ) -> Any:
        self.env = dict(env)  # a project's own process takes no kernel of another
        folders = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
        line = f"__import__('sys').path[:0] = {folders}"
        arguments = [*arguments, f"--IPKernelApp.exec_lines={line}"]
        return super().start(arguments, env, *more, **named)


def end_warm(process: WarmProcess) -> None:
    """Let the process that kernels are forked from end, and the kernels that are left with it."""
    with contextlib.suppress(OSError):
        process._socket.shutdown(socket.SHUT_RDWR)
    process._process.wait()


def instance_of(root: Path) -> DagsterInstance:
    """The project's Dagster instance, whatever DAGSTER_HOME says."""
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(root / ".dagster")))


def last_run(root: Path) -> DagsterRun | None:
    """The newest run that the project's instance has recorded, once it has been started."""
    # two processes that create the database at the same time would get in each other's way
    if not list(root.glob(".dagster/storage/*/console.log")):
        return None
    with instance_of(root) as instance:
        return next(iter(instance.get_runs(limit=1)), None)


def manifests_of(root: Path) -> dict[str, Manifest]:
    """The manifests in the project's local store by step, of each step the newest."""
    found = [
        Manifest.from_json(p.read_bytes()) for p in (root / "artefacts").rglob("manifest.json")
    ]
    return {manifest.step: manifest for manifest in sorted(found, key=lambda m: m.ended)}


def broken_artefacts(store: Path) -> list[str]:
    """Visible artefacts whose bytes are not those that their manifest tells of."""
    broken = []
    for path in store.rglob("manifest.json"):
        for output in Manifest.from_json(path.read_bytes()).outputs.values():
            file = path.parent / output.file
            if output.parts is not None:  # that of a mapped step: each of them has a manifest
                continue
            if not file.is_file() or measure(file) != output:
                broken.append(str(file))
    return broken


def leftovers(store: Path) -> list[Path]:
    """What is left of attempts that are under way, or should be."""
    return [path for path in store.glob(".staging/**/*") if path.is_file()]
