"""New notebooks from a skeleton."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest

from dsml.contract.graph import order
from dsml.contract.project import load_project
from dsml.contract.scaffold import notebook, starter_stages

STAGES = ["load", "prepare_data", "train"]


@pytest.fixture
def starters(make):
    """A project of three starter notebooks."""
    return starter_stages(make.root, STAGES)


def test_each_stage_gets_one_notebook(make, starters):
    assert [file.relative_to(make.root).as_posix() for file in starters] == [
        "stages/load/main.ipynb",
        "stages/prepare_data/main.ipynb",
        "stages/train/main.ipynb",
    ]


def test_the_notebooks_are_valid(starters):
    for file in starters:
        nbformat.validate(nbformat.read(file, as_version=nbformat.NO_CONVERT))


def test_the_notebooks_are_of_the_newest_format(starters):
    document = json.loads(starters[0].read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)


def test_nbstripout_leaves_them_byte_for_byte(starters):
    before = [file.read_bytes() for file in starters]
    subprocess.run(
        [sys.executable, "-m", "nbstripout", "--keep-id", *starters], check=True, timeout=60
    )
    assert [file.read_bytes() for file in starters] == before


def test_nbformat_writes_them_back_byte_for_byte(starters):
    for file in starters:
        document = nbformat.read(file, as_version=nbformat.NO_CONVERT)
        assert nbformat.writes(document) + "\n" == file.read_text(encoding="utf-8")


def test_lines_end_in_the_same_way_on_every_system(starters):
    assert all(b"\r" not in file.read_bytes() for file in starters)


def test_each_reads_what_the_one_before_it_wrote(make, starters):
    project = load_project(make.register().root)
    assert make.messages == make.notes == ""
    assert order(project.registered) == [f"{stage}.main" for stage in STAGES]
    assert [dict(step.ins) for step in project.registered.values()] == [
        {},
        {"data": "load.main.data"},
        {"data": "prepare_data.main.data"},
    ]


def test_their_parameters_are_typed_and_described(make, starters):
    parameters = [step.parameters for step in make.project.steps.values()]
    told = [(p.name, str(p.type), p.description) for found in parameters for p in found.values()]
    assert told == [
        ("count", "int", "how many numbers to make"),
        ("factor", "float", "what every number is multiplied by"),
        ("factor", "float", "what every number is multiplied by"),
    ]


def test_a_notebook_that_is_there_is_left_alone(make, starters):
    starters[1].write_text("mine", encoding="utf-8")
    assert starter_stages(make.root, STAGES) == []
    assert starters[1].read_text(encoding="utf-8") == "mine"


def test_no_stages_make_no_notebooks(make):
    assert starter_stages(make.root, []) == []
    assert [path.name for path in make.root.iterdir()] == ["catalog.yml"]


@pytest.mark.parametrize(
    "text", ['it\'s "quoted"', "back\\slash", "größer ✓ 🌲", "two\nlines", "{{ }}", "% $(x)"]
)
def test_any_description_comes_back_as_it_was(spec_of, text):
    made = notebook("# Title", {"description": text, "outs": {}}, "n: int = 1", "print(n)")
    nbformat.validate(nbformat.reads(made, as_version=nbformat.NO_CONVERT))
    spec, message = spec_of(json.loads(made))
    assert (spec.description, message) == (text, "")
