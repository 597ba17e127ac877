"""Whatever a notebook holds: it is told in three lines, nothing crashes and none of it is run."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import CodeType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsml.contract.advice import advice
from dsml.contract.cells import read_notebook
from dsml.contract.problem import ProjectError, render
from dsml.contract.register import check_project, write_register
from dsml.contract.spec import read_spec

from . import hostile
from .conftest import cell, document

MANY_NOTEBOOKS = 100_000
MANY_PROJECTS = 2_000
QUICK = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RANDOM = st.randoms(use_true_random=False)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=20,
)
_CELLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "cell_type": st.sampled_from(["code", "markdown", "raw"]) | _JSON,
            "metadata": st.fixed_dictionaries({"tags": st.sampled_from(hostile.TAGS)}) | _JSON,
            "source": st.text(max_size=80) | st.lists(st.text(max_size=40)) | _JSON,
            "outputs": _JSON,
        },
    )
    | _JSON,
    max_size=5,
)


class InMemory(type(Path())):
    """A file whose content is not written first, which would take longer than reading it."""

    raw = b""

    def read_text(self, encoding=None, errors=None):
        return io.TextIOWrapper(io.BytesIO(self.raw), encoding=encoding, errors=errors).read()


class Audit:
    """Notes what code is run, and what is started, while the contract reads a project.

    Python calls an audit hook before each of these; a hook stays for the life of the process.
    """

    STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")

    def __init__(self) -> None:
        self.active = False
        self.noted: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.active:
            return
        code = arguments[0] if event == "exec" else None
        if isinstance(code, CodeType) and code.co_filename in ("<string>", "<unknown>"):
            self.noted.append(f"exec {code.co_filename}")
        elif event in self.STARTS:
            self.noted.append(event)

    @contextmanager
    def nothing_runs(self):
        """Fail where code of a notebook is run inside of the block."""
        self.active = True
        try:
            yield
        finally:
            self.active = False
        assert self.noted == []


@pytest.fixture
def every_problem_is_well_formed():
    """Not here: names that hostile files bring along end as they like."""


@pytest.fixture(scope="module")
def audit():
    return Audit()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in: code of the hostile notebooks would leave a file here."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.rglob(hostile.CANARY))


def told(problems):
    """Hold that each finding has its three lines and can be printed."""
    for problem in problems:
        lines = str(problem).encode("utf-8").decode("utf-8").split("\n")
        assert len(lines) == 3, problem
        assert all(line.strip() for line in lines), problem
    assert render(problems).count("\n\n") == max(len(problems) - 1, 0)


def look_at(file, raw):
    """Read one notebook as `check` does, and hold that what is wrong is told."""
    file = InMemory(file)
    file.touch()
    file.raw = raw
    problems = []
    try:
        notebook = read_notebook(file, "stages/a/b.ipynb")
        spec = read_spec(notebook, problems)
        problems += advice(notebook, spec)
        assert spec is not None or problems
    except ProjectError as error:
        problems += error.problems
    told(problems)


def look_at_project(root):
    """Check a project and register its notebooks, and hold that the register then is right."""
    told(check_project(root).problems)
    try:
        write_register(root)
    except ProjectError as error:
        told(error.problems)
    else:
        assert not write_register(root)
        assert [p for p in check_project(root).errors if p.name == "register"] == []


def empty_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


# --- a few hundred of each, made small where they fail --------------------------------------------


@QUICK
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_told_and_not_run(raw, folder, audit):
    with audit.nothing_runs():
        look_at(folder / "b.ipynb", raw)


@QUICK
@given(made=_JSON | st.fixed_dictionaries({"cells": _CELLS, "nbformat": st.integers(0, 5)}))
def test_any_json_is_told_and_not_run(made, folder, audit):
    with audit.nothing_runs():
        look_at(folder / "b.ipynb", json.dumps(made).encode())


@QUICK
@given(text=st.text(), tag=st.sampled_from(["op_parameters", "parameters", "other"]))
def test_any_text_in_a_tagged_cell_is_told_and_not_run(text, tag, folder, audit):
    made = document(cell("op_parameters = {}", "op_parameters"), {**cell("", tag), "source": text})
    with audit.nothing_runs():
        look_at(folder / "b.ipynb", json.dumps(made).encode())


@QUICK
@given(random=RANDOM)
def test_a_notebook_made_of_hostile_cells_is_told_and_not_run(random, folder, audit):
    with audit.nothing_runs():
        look_at(folder / "b.ipynb", hostile.notebook(random))


@QUICK
@given(random=RANDOM)
def test_a_text_notebook_made_of_hostile_cells_is_told_and_not_run(random, folder, audit):
    with audit.nothing_runs():
        look_at(folder / "b.py", hostile.script(random))


@settings(QUICK, max_examples=150)
@given(random=RANDOM)
def test_a_project_made_of_hostile_files_is_told_and_not_run(random, folder, audit):
    root = empty_folder(folder / "project")
    hostile.project(random, root)
    with audit.nothing_runs():
        look_at_project(root)


# --- very many, as fast as they can be made -------------------------------------------------------


@pytest.mark.slow(minutes=2)
def test_a_hundred_thousand_hostile_notebooks_are_told_and_not_run(folder, audit, record_property):
    start = time.monotonic()
    notebook, script = folder / "b.ipynb", folder / "b.py"
    for number in range(MANY_NOTEBOOKS):
        random = Random(number)
        is_script = number % 10 == 0
        raw = hostile.script(random) if is_script else hostile.notebook(random)
        with audit.nothing_runs(), reported(f"hostile.notebook(Random({number}))"):
            look_at(script if is_script else notebook, raw)
    seconds = time.monotonic() - start
    record_property("fuzz", f"{MANY_NOTEBOOKS:,} notebooks checked in {seconds:.0f} s")


@pytest.mark.slow
def test_thousands_of_hostile_projects_are_told_and_not_run(folder, audit, record_property):
    start = time.monotonic()
    for number in range(MANY_PROJECTS):
        root = empty_folder(folder / "project")
        hostile.project(Random(number), root)
        with audit.nothing_runs(), reported(f"hostile.project(Random({number}), root)"):
            look_at_project(root)
    seconds = time.monotonic() - start
    record_property("fuzz of projects", f"{MANY_PROJECTS:,} projects checked in {seconds:.0f} s")


@contextmanager
def reported(made_by):
    """Say how the input was made that something went wrong with."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the input was made by {made_by}")
        raise


# --- one of each ----------------------------------------------------------------------------------


def test_outputs_of_fifty_megabytes_are_read_past(make):
    image = {"output_type": "display_data", "data": {"image/png": "A" * 1_000_000}, "metadata": {}}
    large = {**cell("1 + 1"), "outputs": [image] * 50}
    make.notebook("a.b", document(cell("op_parameters = {}", "op_parameters"), large))
    assert (make.root / "stages" / "a" / "b.ipynb").stat().st_size > 50_000_000
    start = time.monotonic()
    assert check_project(make.root).errors == []
    assert time.monotonic() - start < 10


def test_a_link_to_the_folder_above_is_not_followed_for_ever(make):
    make.step("a.b")
    (make.root / "stages" / "a" / "loop").symlink_to("..")
    assert list(check_project(make.root).steps) == ["a.b"]


def test_a_link_to_itself_is_told_like_a_file_that_cannot_be_read(make):
    make.step("a.b")
    (make.root / "stages" / "a" / "self.ipynb").symlink_to("self.ipynb")
    (make.root / "stages" / "a" / "gone.ipynb").symlink_to("nowhere.ipynb")
    assert "stages/a/self.ipynb\n  the notebook cannot be read" in make.messages
    assert "stages/a/gone.ipynb\n  the notebook cannot be read" in make.messages


def test_a_link_out_of_the_project_is_read_and_not_written(make, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "b.ipynb"
    make.step("a.b")
    (make.root / "stages" / "a" / "b.ipynb").rename(outside)
    (make.root / "stages" / "a" / "b.ipynb").symlink_to(outside)
    before = outside.read_bytes()
    make.register()
    assert list(check_project(make.root).steps) == ["a.b"]
    assert outside.read_bytes() == before


def test_a_folder_and_a_pipe_with_the_name_of_a_notebook_are_told(make):
    (make.root / "stages" / "a" / "folder.ipynb").mkdir(parents=True)
    os.mkfifo(make.root / "stages" / "a" / "pipe.ipynb")
    assert "stages/a/folder.ipynb\n  the notebook cannot be read" in make.messages
    assert "stages/a/pipe.ipynb\n  the notebook cannot be read: it is no file" in make.messages


def test_a_name_that_is_no_text_is_told_in_characters_that_can_be_printed(make):
    (make.root / "stages" / "a").mkdir(parents=True)
    path = os.fsencode(make.root / "stages" / "a") + b"/\xff.ipynb"
    with suppress(OSError):  # some systems have no such names
        Path(os.fsdecode(path)).write_bytes(b"{}")
        assert "is no Python identifier" in make.messages
        assert make.run("check").returncode == 1


def test_names_that_differ_in_case_are_told_as_one_name(make):
    make.step("a.b")
    try:
        os.link(make.root / "stages" / "a" / "b.ipynb", make.root / "stages" / "a" / "B.ipynb")
    except FileExistsError:
        pytest.skip("this file system does not tell them apart")
    assert "'a.b' and 'a.B' are the same name to Dagster or to a disk" in make.messages


@pytest.mark.parametrize("levels", [500, 990, 5000])
@pytest.mark.parametrize("piece", ["1+", "-", "not ", "lambda: ", "f().", "[", "Optional["])
@pytest.mark.parametrize(
    "place", ["op_parameters = {", "x = {", "x: {", "password = '/home/x' + {"]
)
def test_code_nested_very_deeply_is_told_and_breaks_nothing(place, piece, levels, folder):
    code = place.replace("{", piece * levels + "1" + "]" * levels * (piece[-1] == "["))
    code += " = 1" if place == "x: {" else ""
    cells = [cell("op_parameters = {}", "op_parameters")] * (place[0] != "o")
    tag = "op_parameters" if place[0] == "o" else "parameters" if place[0] == "x" else "other"
    look_at(folder / "b.ipynb", json.dumps(document(*cells, cell(code, tag))).encode())
