"""Many `dsml register` at once: no entry is lost, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from dsml.contract import lock, register
from dsml.contract.lock import locked
from dsml.contract.problem import ProjectError
from dsml.contract.register import write_register

from .conftest import RUNTIME

A = '{"outs": {"x": "x.txt"}}'


def start(make, *arguments):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=make.root,
        env={"PYTHONPATH": str(RUNTIME), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def hold(make, seconds=60):
    """A process that holds the lock, and has said so."""
    code = (
        "import sys, time; from pathlib import Path; from dsml.contract.lock import locked\n"
        "with locked(Path('catalog.yml').resolve()):\n"
        f"    print('held', flush=True); time.sleep({seconds})"
    )
    process = start(make, "-c", code)
    assert process.stdout.readline() == "held\n"
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_eight_processes_that_register_at_once_lose_no_entry(make):
    names = [f"a.n{i}" for i in range(8)]
    for name in names:
        make.step(name, A)
    make.catalog("version: 1  # first\r\nregister: {}\r\n# last")
    paths = [f"stages/a/n{i}.ipynb" for i in range(8)]
    processes = [start(make, "-m", "dsml", "register", path) for path in paths]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert said == [f"added    {name}\n" for name in names]
    assert sorted(yaml.safe_load(make.text)["register"]) == names
    assert make.text.startswith("version: 1  # first\r\nregister:\r\n")
    assert make.text.endswith("\r\n# last")
    assert make.messages == ""
    assert sorted(path.name for path in make.root.iterdir()) == ["catalog.yml", "stages"]


def test_processes_that_register_again_and_again_lose_no_entry(make):
    """Five notebooks each, without a new interpreter in between: they do meet."""
    for i in range(20):
        make.step(f"a.n{i}", A)
    code = (
        "import sys; from pathlib import Path; from dsml.contract.register import write_register\n"
        "for i in sys.argv[1:]: write_register(Path.cwd(), [f'stages/a/n{i}.ipynb'])"
    )
    processes = [start(make, "-c", code, *map(str, range(first, 20, 4))) for first in range(4)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said == [""] * 4
    assert len(yaml.safe_load(make.text)["register"]) == 20


def test_who_comes_later_waits_for_the_lock(make):
    make.step("a.a", A)
    holder = hold(make, seconds=1)
    began = time.monotonic()
    assert write_register(make.root).added == ("a.a",)
    assert time.monotonic() - began > 0.3
    end(holder)


@pytest.mark.skipif(os.name == "nt", reason="a signal of POSIX")
def test_the_lock_of_a_killed_process_keeps_nobody_out(make):
    make.step("a.a", A)
    holder = hold(make)
    os.kill(holder.pid, signal.SIGKILL)
    end(holder)
    assert (make.root / ".catalog.yml.lock").exists()
    began = time.monotonic()
    assert write_register(make.root).added == ("a.a",)
    assert time.monotonic() - began < 5
    assert not (make.root / ".catalog.yml.lock").exists()


def test_who_waits_too_long_is_told_so(make):
    holder = hold(make)
    with (
        pytest.raises(ProjectError) as caught,
        locked(make.root / "catalog.yml", patience=0.1),
    ):
        pytest.fail("the lock is held by another process")
    end(holder)
    assert str(caught.value) == (
        "catalog.yml\n  another process has been writing it for 0.1 s\n"
        "  wait for it, or end it, and try again"
    )


def test_a_lock_is_given_back_when_something_goes_wrong(make):
    make.step("a.a", '{"inns": {}}')
    make.refused()
    with locked(make.root / "catalog.yml", patience=0.1):
        pass


def test_a_lock_file_that_its_holder_deleted_counts_for_nothing(make, monkeypatch):
    """Two could hold a lock on one name otherwise: one on the deleted file, one on the new one."""
    deleted = []

    def delete_first(descriptor):
        if not deleted:
            deleted.append(descriptor)
            (make.root / ".catalog.yml.lock").unlink()

    monkeypatch.setattr(lock, "_lock", delete_first)
    with locked(make.root / "catalog.yml"):
        assert (make.root / ".catalog.yml.lock").exists()


def test_an_edit_made_in_the_meantime_is_not_lost(make, monkeypatch):
    """An editor knows of no lock."""
    make.step("a.a", A)
    read = register.read_project

    def read_while_somebody_edits(root):
        monkeypatch.setattr(register, "read_project", read)
        project = read(root)
        make.catalog("version: 1\nproject: edited\n")
        return project

    monkeypatch.setattr(register, "read_project", read_while_somebody_edits)
    write_register(make.root)
    assert make.text == (
        "version: 1\nproject: edited\n"
        "register:\n  a.a: {path: stages/a/a.ipynb, outs: {x: x.txt}}\n"
    )


def refuse(*_arguments, **_more):
    raise PermissionError(13, "Permission denied")


def test_a_catalog_that_cannot_be_written_is_told_and_stays(make, monkeypatch):
    before = make.step("a.a", A).text
    monkeypatch.setattr(lock.os, "open", refuse)
    monkeypatch.setattr(register.Path, "write_bytes", refuse)
    with pytest.raises(ProjectError) as caught:
        write_register(make.root)
    assert str(caught.value) == (
        "catalog.yml\n  cannot be written: Permission denied\n"
        "  let the file and its folder be written"
    )
    assert make.text == before


def test_where_nothing_has_to_be_written_it_need_not_be_possible(make, monkeypatch):
    make.step("a.a", A).register()
    monkeypatch.setattr(lock.os, "open", refuse)
    assert not write_register(make.root)


def test_a_write_that_fails_leaves_nothing_behind(make, monkeypatch):
    before = make.step("a.a", A).text
    monkeypatch.setattr(register.Path, "replace", refuse)
    with pytest.raises(ProjectError):
        write_register(make.root)
    assert make.text == before
    assert sorted(path.name for path in make.root.iterdir()) == ["catalog.yml", "stages"]
