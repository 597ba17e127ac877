"""Checks of the machine: Python and packages, git, a kernel, ports, the disk."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import psutil
from jupyter_client.asynchronous.client import AsyncKernelClient
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dsml.contract.figures import size
from dsml.orchestrate.doctor.findings import Patient, Told, check
from dsml.step.facts import git_facts
from dsml.step.tracking import tracking_of

_INSTALL = "make install"
_LOW, _TOO_LOW = 2 * 2**30, 200 * 2**20  # bytes that are free on a disk
_KERNEL = 60  # seconds until a kernel has to answer
_UI, _MLFLOW = 3000, 5000


def _declared(patient: Patient) -> dict[str, Any]:
    """What pyproject.toml says of the project."""
    text = (patient.root / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text).get("project", {})
    return found


@check("python")
def python(patient: Patient) -> Iterator[Told]:
    """The version of Python is one that the project takes."""
    wanted = str(_declared(patient).get("requires-python", ""))
    this = platform.python_version()
    if SpecifierSet(wanted).contains(this, prereleases=True):
        yield "ok", f"{this} in {sys.prefix}", ""
        return
    fix = f"remove .venv, then: make install PYTHON=<a Python {wanted}>"
    yield "broken", f"this is Python {this}, and the project needs {wanted}", fix


@check("packages")
def packages(patient: Patient) -> Iterator[Told]:
    """All dependencies are installed, in versions that the project takes."""
    declared = [Requirement(text) for text in _declared(patient)["dependencies"]]
    wanted = [each for each in declared if each.marker is None or each.marker.evaluate()]
    found = [told for each in wanted if (told := _package(each)) is not None]
    yield from found
    if not found:
        yield "ok", f"all {len(wanted)} are as pyproject.toml asks", ""


def _package(wanted: Requirement) -> Told | None:
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return "broken", f"{wanted.name} is not installed", _INSTALL
    if wanted.specifier.contains(installed, prereleases=True):
        return None
    what = f"{wanted.name} {installed} is installed, and the project needs {wanted.specifier}"
    return "broken", what, _INSTALL


@check("git")
def git(patient: Patient) -> Iterator[Told]:
    """Git is there, and the project is in it: runs note the commit they were made from."""
    told = "runs cannot note which commit they were made from"
    if shutil.which("git") is None:
        yield "warning", f"git is not installed: {told}", "install it: https://git-scm.com"
        return
    git_facts.cache_clear()
    commit = git_facts(patient.root).get("commit")
    if commit is None:
        fix = "git init && git add --all && git commit --message Start"
        yield "warning", f"the project has no commit: {told}", fix
    else:
        yield "ok", f"at commit {str(commit)[:8]}", ""


@check("kernel")
def kernel(_: Patient) -> Iterator[Told]:
    """A kernel starts and answers."""
    try:
        asyncio.run(_start_kernel())
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        fix = f"{_INSTALL}; this shows more: {sys.executable} -m ipykernel"
        yield "broken", f"no kernel starts: {said}{_why()}", fix
    else:
        yield "ok", "an IPython kernel starts and answers", ""


async def _start_kernel() -> None:
    from dsml.orchestrate.client import kernel_manager

    with tempfile.TemporaryDirectory() as folder:
        manager = kernel_manager(Path(folder, "kernel.json"))
        await manager.start_kernel(cwd=folder, stderr=subprocess.DEVNULL)
        client = cast(AsyncKernelClient, manager.client())
        try:
            client.start_channels()
            await client.wait_for_ready(timeout=_KERNEL)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)


def _why() -> str:
    """The last line of what importing a kernel's package says, where that fails."""
    command = [sys.executable, "-c", "import ipykernel.kernelapp"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_KERNEL, check=False)
    lines = done.stderr.strip().splitlines()
    return f" ({lines[-1]})" if done.returncode and lines else ""


@check("ports")
def ports(patient: Patient) -> Iterator[Told]:
    """The ports that `make dagit` and `make mlflow` take are free, or taken by these."""
    wanted = {_UI: "dagit"}
    if tracking_of(patient.root, patient.catalog) is not None:
        wanted[_MLFLOW] = "mlflow"
    for port, target in wanted.items():
        if _is_free(port):
            yield "ok", f"{port} is free for make {target}", ""
            continue
        what = f"{port}, which make {target} takes, is taken{_by(port)}"
        fix = f"if that isn't your make {target}: make {target} port={port + 1}"
        yield "warning", what, fix


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would mean something else
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _by(port: int) -> str:
    """Who listens at a port, as far as that can be known."""
    with contextlib.suppress(psutil.Error):
        for each in psutil.net_connections("tcp"):
            if each.laddr and each.laddr.port == port and each.pid and not each.raddr:
                process = psutil.Process(each.pid)
                return f" by {process.name()} (process {each.pid})"
    return ""


@check("disk")
def disk(patient: Patient) -> Iterator[Told]:
    """There is room where runs are written."""
    places = {"runs": patient.store.work, "temporary files": Path(tempfile.gettempdir())}
    for what, place in places.items():
        there = next(each for each in (place, *place.parents) if each.exists())
        free = shutil.disk_usage(there).free
        told = f"{size(free)} are free for {what} in {there}"
        fix = "make gc removes what is old; dsml gc --dry-run says what that would be"
        if free >= _LOW:
            yield "ok", told, ""
        else:
            yield "broken" if free < _TOO_LOW else "warning", f"only {told}", fix
