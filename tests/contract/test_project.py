"""Finding a project and its notebooks; names; where register and notebooks disagree."""

from __future__ import annotations

import pytest

from dsml.contract.problem import ProjectError
from dsml.contract.project import find_root, load_project
from dsml.contract.register import check_project, write_register

from .conftest import Maker, step_cells

REGISTER = "version: 1\nregister:\n"


# --- finding


def test_a_project_is_found_from_any_folder_inside_of_it(make):
    make.step("train.fit")
    assert find_root(make.root / "stages" / "train") == make.root


def test_outside_of_a_project_there_is_none(tmp_path):
    with pytest.raises(ProjectError) as caught:
        find_root(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}\n  neither this folder nor one above it has a catalog.yml\n"
        "  go to the folder of your project"
    )


def test_a_project_without_notebooks_is_a_project(make):
    assert (make.project.steps, make.messages, make.notes) == ({}, "", "")


def test_checkpoints_of_jupyter_are_no_notebooks(make):
    make.step("train.fit").file("stages/train/.ipynb_checkpoints/fit-checkpoint.ipynb", "{")
    assert (list(make.project.steps), make.messages) == (["train.fit"], "")


def test_a_project_may_lie_in_a_hidden_folder(make):
    hidden = make.root / ".hidden"
    hidden.mkdir()
    assert list(Maker(hidden).step("train.fit").project.steps) == ["train.fit"]


# --- names


@pytest.mark.parametrize(
    ("path", "name", "fixed"),
    [
        ("stages/train/my-fit.ipynb", "my-fit", "stages/train/my_fit.ipynb"),
        ("stages/train/2 fit.ipynb", "2 fit", "stages/train/_2_fit.ipynb"),
        ("stages/train/Untitled (1).ipynb", "Untitled (1)", "stages/train/untitled_1.ipynb"),
        ("stages/1-train/fit.ipynb", "1-train", "stages/_1_train/fit.ipynb"),
        ("stages/import/fit.ipynb", "import", "stages/import_/fit.ipynb"),
        ("stages/träin/fit.ipynb", "träin", "stages/tr_in/fit.ipynb"),
        ("stages/train/fit.v2.ipynb", "fit.v2", "stages/train/fit_v2.ipynb"),
    ],
)
def test_a_name_that_is_no_identifier_is_refused_with_one_that_is(make, path, name, fixed):
    make.file(path, "{}")
    assert make.messages == f"{path}\n  '{name}' is no Python identifier\n  rename it to {fixed}"


@pytest.mark.parametrize("path", ["stages/fit.ipynb", "stages/train/old/fit.ipynb"])
def test_a_notebook_that_lies_in_no_stage_is_refused(make, path):
    make.file(path, "{}")
    assert make.messages == (
        f"{path}\n  a notebook lies in the folder of its stage\n"
        "  move it to stages/<stage>/fit.ipynb"
    )


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        ("train.Fit", "train.fit", "stages/train/fit.ipynb"),
        ("Train.fit", "train.fit", "stages/train/fit.ipynb"),
        ("a.b__c", "a__b.c", "stages/a__b/c.ipynb"),
    ],
)
def test_names_that_are_the_same_elsewhere_are_refused(make, first, second, where):
    make.step(first).step(second)
    if len(make.project.steps) == 1:
        pytest.skip("this disk takes the two names for one")
    assert make.messages == (
        f"{where}\n  '{second}' and '{first}' are the same name to Dagster or to a disk\n"
        "  rename one of the two"
    )


# --- drafts


def test_a_notebook_that_is_not_registered_is_noted_as_a_draft(make):
    make.step("train.fit")
    assert make.messages == ""
    assert make.notes == (
        "stages/train/fit.ipynb\n"
        "  note: is a draft: it is not registered, so no pipeline runs it\n"
        "  dsml register stages/train/fit.ipynb makes it a step"
    )


def test_a_draft_with_a_mistake_is_told_its_mistake_only(make):
    make.step("train.fit", '{"inns": {}}')
    assert "inns: op_parameters has no such key" in make.messages
    assert make.notes == ""


def test_drafts_do_not_run(make):
    make.step("a.a").register().step("b.b")
    assert list(load_project(make.root).registered) == ["a.a"]


def test_a_registered_step_that_needs_a_draft_is_refused(make):
    make.step("a.draft", '{"outs": {"x": "x.txt"}}').step("b.b", '{"ins": {"x": "a.draft.x"}}')
    make.catalog(REGISTER + "  b.b: {path: stages/b/b.ipynb, ins: {x: a.draft.x}}\n")
    assert make.messages == (
        "catalog.yml, line 3\n  register.b.b: it needs 'a.draft', which is a draft\n"
        "  run: dsml register stages/a/draft.ipynb"
    )


# --- register and notebooks


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (
            "{path: stages/b/b.ipynb, ins: {x: a.a.x}, after: [a.a]}",
            "outs: the register says {}, stages/b/b.ipynb says {y: y.txt}",
        ),
        (
            "{path: stages/b/b.ipynb, ins: {x: a.a.x}, outs: {y: old.txt}, after: [a.a]}",
            "outs: the register says {y: old.txt}, stages/b/b.ipynb says {y: y.txt}",
        ),
        (
            "{path: stages/b/b.ipynb, ins: {z: a.a.x, x: a.a.x}, outs: {y: y.txt}, after: [a.a]}",
            "ins: the register says {z: a.a.x, x: a.a.x}, stages/b/b.ipynb says {x: a.a.x}",
        ),
        (
            "{path: stages/b/b.ipynb, ins: {x: a.a.x}, outs: {y: y.txt}}",
            "after: the register says [], stages/b/b.ipynb says [a.a]",
        ),
        (
            "{path: stages/b/c.ipynb, ins: {x: a.a.x}, outs: {y: y.txt}, after: [a.a]}",
            "path: the register says stages/b/c.ipynb, stages/b/b.ipynb says stages/b/b.ipynb",
        ),
    ],
)
def test_where_register_and_notebook_disagree_both_sides_are_named(make, entry, what):
    make.step("a.a", '{"outs": {"x": "x.txt"}}')
    make.step("b.b", '{"ins": {"x": "a.a.x"}, "outs": {"y": "y.txt"}, "after": ["a.a"]}')
    make.catalog(
        f"{REGISTER}  a.a: {{path: stages/a/a.ipynb, outs: {{x: x.txt}}}}\n  b.b: {entry}\n"
    )
    assert make.messages == f"catalog.yml, line 4\n  register.b.b.{what}\n  run: dsml register"


def test_the_order_of_ins_and_outs_is_no_disagreement(make):
    make.step("a.a", '{"outs": {"x": "x.txt", "y": "y.txt"}}')
    make.catalog(REGISTER + "  a.a: {outs: {y: y.txt, x: x.txt}, path: stages/a/a.ipynb}\n")
    assert make.messages == ""


def test_an_entry_without_its_notebook_is_refused(make):
    make.catalog(REGISTER + "  a.a: {path: stages/a/a.ipynb}\n")
    assert make.messages == (
        "catalog.yml, line 3\n  register.a.a: there is no notebook 'stages/a/a.ipynb'\n"
        "  restore the file, or run: dsml register"
    )


def test_an_entry_whose_notebook_is_broken_is_not_told_twice(make):
    make.catalog(REGISTER + "  a.a: {path: stages/a/a.ipynb}\n")
    make.file("stages/a/a.ipynb", "{}")
    assert make.messages.startswith("stages/a/a.ipynb\n  the notebook has no list of cells")
    assert "\n\n" not in make.messages


def test_a_project_with_errors_is_not_loaded(make):
    make.step("a.a").register().notebook("a.a", step_cells("{'inns': 1}"))
    with pytest.raises(ProjectError) as caught:
        load_project(make.root)
    assert str(caught.value) == make.messages


def test_a_broken_draft_stops_no_registered_step(make):
    make.step("train.fit").register().file("stages/train/draft.ipynb", "{")
    assert list(load_project(make.root).registered) == ["train.fit"]
    assert [problem.where.path for problem in check_project(make.root).errors] == [
        "stages/train/draft.ipynb"
    ]


def test_a_broken_draft_does_not_keep_another_notebook_from_being_registered(make):
    make.file("stages/train/draft.ipynb", "{").step("train.fit")
    assert write_register(make.root, ["stages/train/fit.ipynb"]).added == ("train.fit",)


def test_a_broken_registered_notebook_stops_the_run(make):
    make.step("train.fit").register().file("stages/train/fit.ipynb", "{")
    with pytest.raises(ProjectError, match="is no JSON"):
        load_project(make.root)
