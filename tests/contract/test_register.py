"""Validating a project and writing its register."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.contract.register import RegisterChange, check_project, write_register

from .conftest import RUNTIME

A = '{"outs": {"x": "x.txt"}}'
B = '{"ins": {"x": "a.a.x"}, "outs": {"y": "y.txt"}, "after": ["a.a"]}'


def test_all_notebooks_are_registered_with_what_they_declare(make):
    change = write_register(make.step("b.b", B).step("a.a", A).root)
    assert change == RegisterChange(added=("a.a", "b.b"))
    assert make.text == (
        "version: 1\n"
        "register:\n"
        "  a.a: {path: stages/a/a.ipynb, outs: {x: x.txt}}\n"
        "  b.b: {path: stages/b/b.ipynb, ins: {x: a.a.x}, outs: {y: y.txt}, after: [a.a]}\n"
    )
    assert make.messages == make.notes == ""


def test_a_second_time_nothing_is_changed_or_touched(make):
    file = make.step("a.a", A).register().root / "catalog.yml"
    before = (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino)
    assert not write_register(make.root)
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_only_the_named_notebooks_are_registered(make):
    make.step("a.a", A).step("b.b", B)
    assert write_register(make.root, ["stages/a/a.ipynb"]).added == ("a.a",)
    assert list(load_project(make.root).registered) == ["a.a"]


def test_other_entries_are_brought_up_to_date(make):
    make.step("a.a", A).step("b.b").register()
    make.step("a.a", '{"outs": {"z": "z.txt"}}').step("c.c")
    assert write_register(make.root, ["stages/c/c.ipynb"]) == RegisterChange(
        added=("c.c",), changed=("a.a",)
    )
    assert make.messages == ""


def test_with_no_paths_at_all_no_draft_is_registered(make):
    make.step("a.a", A).register().step("b.b", B)
    assert not write_register(make.root, [])


def test_an_entry_whose_notebook_is_gone_is_taken_out(make):
    make.step("a.a", A).step("b.b").register()
    (make.root / "stages/b/b.ipynb").unlink()
    assert write_register(make.root) == RegisterChange(removed=("b.b",))
    assert "b.b" not in make.text


def test_an_invalid_project_is_not_written(make):
    make.step("a.a", A).step("b.b", '{"inns": {}}')
    before = make.text
    assert make.refused() == (
        "stages/b/b.ipynb, cell 1 (op_parameters), line 1\n"
        "  inns: op_parameters has no such key\n  did you mean 'ins'?"
    )
    assert make.text == before


def test_a_notebook_that_is_not_there_cannot_be_registered(make):
    with pytest.raises(ProjectError) as caught:
        write_register(make.root, ["stages/a/b.ipynb", "dag.py"])
    fix = "name a notebook below stages/, as stages/<stage>/<notebook>.ipynb"
    assert str(caught.value) == (
        f"dag.py\n  there is no such notebook\n  {fix}\n\n"
        f"stages/a/b.ipynb\n  there is no such notebook\n  {fix}"
    )


def test_a_notebook_that_is_broken_is_not_said_to_be_missing(make):
    make.file("stages/a/a.ipynb", "{}")
    with pytest.raises(ProjectError) as caught:
        write_register(make.root, ["stages/a/a.ipynb"])
    assert str(caught.value) == (
        "stages/a/a.ipynb\n  the notebook has no list of cells\n"
        "  restore the file from git, or save it again from Jupyter"
    )


@pytest.mark.parametrize(
    "catalog",
    [
        "version: 1\nexperiments: &e {}\nregister: *e\n",
        "version: 1\nregister:\n  a.a: &a {path: old.ipynb}\n  b.b: *a\n  c.c: *a\n",
        "version: 1\nregister:\n  x.x: &x {path: old.ipynb}\n  b.b: *x\n  z.z: {<<: *x}\n",
        "version: 1\nregister: {x.x: &x {path: old.ipynb}, b.b: *x}\n",
    ],
)
def test_entries_by_alias_are_brought_up_to_date(make, catalog):
    make.catalog(catalog).step("a.a", A).step("b.b").register()
    assert make.messages == make.notes == ""


@pytest.mark.parametrize(
    "register",
    [
        "  x.x: &x {path: stages/b/b.ipynb}\n  b.b: *x\n",
        "  <<: {x.x: {path: stages/x/x.ipynb}}\n",
    ],
)
def test_a_register_that_cannot_be_edited_in_place_is_left_alone(make, register):
    catalog = f"version: 1\nregister:\n{register}"
    make.catalog(catalog).step("b.b")
    assert make.refused() == (
        "catalog.yml, line 2\n"
        "  register: it is written in a way that cannot be edited in place\n"
        "  write register: {} and run dsml register again"
    )
    assert make.text == catalog
    assert sorted(path.name for path in make.root.iterdir()) == ["catalog.yml", "stages"]


def test_the_mode_of_the_catalog_is_kept(make):
    file = make.step("a.a").root / "catalog.yml"
    file.chmod(0o640)
    make.register()
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_catalog_behind_a_symbolic_link_stays_behind_it(make):
    file, real = make.root / "catalog.yml", make.root / "shared.yml"
    file.rename(real)
    file.symlink_to(real.name)
    make.step("a.a").register()
    assert file.is_symlink()
    assert "a.a" in real.read_text(encoding="utf-8")


def test_nothing_is_left_beside_the_catalog(make):
    make.step("a.a").register()
    assert sorted(path.name for path in make.root.iterdir()) == ["catalog.yml", "stages"]


def test_who_reads_while_registers_are_written_sees_a_whole_catalog(make):
    names = [f"a.n{i}" for i in range(40)]
    for name in names:
        make.step(name)
    code = (
        "import sys; from pathlib import Path; from dsml.contract.register import write_register\n"
        "for i in sys.argv[1:]: write_register(Path(), [f'stages/a/n{i}.ipynb'])"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, range(start, 40, 2))],
            cwd=make.root,
            env={"PYTHONPATH": str(RUNTIME)},
        )
        for start in (0, 1)
    ]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        seen = yaml.safe_load(make.text)
        assert seen["version"] == 1
        assert all(seen["register"].values() if "register" in seen else [True])
        reads += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert reads > 0
    assert make.messages == ""


def test_checking_a_project_that_cannot_be_read_gives_its_one_problem(tmp_path):
    checked = check_project(tmp_path)
    assert [problem.what for problem in checked.errors] == ["is missing"]
    assert (checked.steps, checked.catalog) == ({}, None)
