"""Kill -9 of a process of a run at the n-th change that it makes to a project's files.

Every Python process finds `sitecustomize` and with it a hook that counts: events are the same on a
slow machine, and they are the moments at which something can be left half done.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

# Moments for each kind of process; `make faults` asks for 20.
MOMENTS = int(os.environ.get("FAULT_MOMENTS", "2"))
KINDS = ("kernel", "worker", "run")

HOOK = """
import os, signal, sys
KIND, NUMBER, ROOT, MARK = os.environ["KILL_AT"].split("|")
CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "subprocess.Popen"}
WRITES = os.O_WRONLY | os.O_RDWR
counts, busy = {}, False

def kind():
    if os.path.realpath(sys.orig_argv[0]) != os.path.realpath(sys.executable):
        return ""
    if "DAGSTER_PIPES_CONTEXT" in os.environ:
        return "kernel"
    parent = getattr(sys.modules.get("multiprocessing.process"), "parent_process", None)
    if parent is not None and parent() is not None:
        return "worker"
    return "run" if sys.orig_argv[1:4] == ["-m", "dsml", "run"] else ""

def hook(event, arguments):
    global busy
    if busy:  # with a file of its own
        return
    busy = True
    try:
        take(event, arguments)
    finally:
        busy = False

def take(event, arguments):
    if event == "open":
        path, _, flags = arguments
        # a kernel changes few files: what it reads counts, too
        if KIND != "kernel" and not (isinstance(path, str) and flags & WRITES and ROOT in path):
            return
    elif event not in CHANGES:
        return
    if kind() != KIND:
        return
    pid = os.getpid()
    counts[pid] = counts.get(pid, 0) + 1
    if NUMBER == "count":
        os.close(os.open(f"{MARK}.{pid}", os.O_CREAT | os.O_RDONLY))
        os.truncate(f"{MARK}.{pid}", counts[pid])
    elif counts[pid] == int(NUMBER):
        try:
            os.close(os.open(MARK, os.O_CREAT | os.O_EXCL | os.O_RDONLY))
        except FileExistsError:
            return
        os.kill(pid, signal.SIGKILL)

sys.addaudithook(hook)
"""


def environment(folder: Path, root: Path, kind: str, number: int | str) -> dict[str, str]:
    """What has the first process of a kind killed at its n-th change; `count` only counts them."""
    hooks = folder / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(HOOK)
    mark = folder / f"{kind}-{number}"
    at = "|".join((kind, str(number), str(root), str(mark)))
    return {"KILL_AT": at, "PYTHONPATH": os.pathsep.join((str(root), str(hooks)))}


def forget(folder: Path, kind: str, number: int) -> bool:
    """Whether there was a kill; the same can be had once more."""
    mark = folder / f"{kind}-{number}"
    there = mark.exists()
    mark.unlink(missing_ok=True)
    return there


def changes(folder: Path, kind: str) -> int:
    """How many changes a process of a kind has made at most, where they were counted."""
    return max((mark.stat().st_size for mark in folder.glob(f"{kind}-count.*")), default=0)


def moments(kind: str, count: int) -> Iterator[int]:
    """Changes at which to kill, without end: chosen by chance, the same in each session."""
    drawn = random.Random(f"{kind} of this version")
    while True:
        yield drawn.randint(1, count)
