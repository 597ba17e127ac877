"""`dsml new`: the notebook that it writes, and the requests that it refuses."""

from __future__ import annotations

import json

import nbformat
import pytest

from dsml.contract.new import PLACEHOLDERS, new_notebook
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.step import formats

OUTS = [f"o{i}=file{suffix}" for i, suffix in enumerate([*formats.FORMATS, ".xlsx"])]


@pytest.fixture
def source(make):
    """A project whose registered step publishes a table and a file of a format of its own."""
    return make.step("load.raw", '{"outs": {"t": "t.parquet", "z": "z.zip"}}').register()


def refused(make, step, *more, **options):
    before = sorted(p for p in make.root.rglob("*"))
    text = make.text
    with pytest.raises(ProjectError) as caught:
        new_notebook(make.root, step, *more, **options)
    assert sorted(p for p in make.root.rglob("*")) == before
    assert make.text == text
    return str(caught.value)


@pytest.mark.parametrize("text", [False, True])
def test_it_is_registered_and_checked(source, text):
    ins, outs = ["table=load.raw.t", "z=load.raw.z"], ["model=model.joblib"]
    spec = new_notebook(source.root, "train/fit", ins, outs, text=text)
    assert spec.path == f"stages/train/fit.{'py' if text else 'ipynb'}"
    step = load_project(source.root).registered["train.fit"]
    assert dict(step.ins) == {"table": "load.raw.t", "z": "load.raw.z"}
    assert dict(step.outs) == {"model": "model.joblib"}
    assert (source.messages, source.notes) == ("", "stages/load/raw.ipynb" and source.notes)
    assert "stages/train" not in source.notes


def test_both_kinds_hold_the_same_cells(source):
    new_notebook(source.root, "a/n", ["t=load.raw.t"], OUTS)
    new_notebook(source.root, "b/n", ["t=load.raw.t"], OUTS, text=True)
    steps = load_project(source.root).registered
    assert steps["a.n"].code == steps["b.n"].code


def test_there_is_a_placeholder_for_every_format():
    assert PLACEHOLDERS.keys() == formats.FORMATS.keys()


def test_each_in_is_loaded_or_its_path_is_named(source):
    new_notebook(source.root, "train/fit", ["t=load.raw.t", "z=load.raw.z", "np=load.raw.t"])
    cells = json.loads((source.root / "stages/train/fit.ipynb").read_text())["cells"]
    assert "".join(cells[3]["source"]).split("\n")[3:] == [
        't = context.load("t")',
        "z = context.ins.z  # the path of a file that you read yourself",
        'np_in = context.load("np")',
    ]


def test_it_is_a_valid_notebook(source):
    new_notebook(source.root, "train/fit", outs=OUTS)
    read = nbformat.read(source.root / "stages/train/fit.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(read)


@pytest.mark.parametrize(
    ("step", "what", "fix"),
    [
        (
            "fit",
            "'fit' names no stage and notebook",
            "write it as STAGE/NAME, for instance train/fit",
        ),
        (
            "a/b/c",
            "'a/b/c' names no stage and notebook",
            "write it as STAGE/NAME, for instance train/fit",
        ),
        ("../x", "'..' is no Python identifier", "write name/x"),
        ("train/my fit", "'my fit' is no Python identifier", "write train/my_fit"),
        ("class/fit", "'class' is no Python identifier", "write class_/fit"),
        (
            "load/raw",
            "stages/load/raw.ipynb is there already",
            "choose another name; nothing is overwritten",
        ),
        (
            "load/RAW",
            "stages/load/raw.ipynb is there already",
            "choose another name; nothing is overwritten",
        ),
    ],
)
def test_a_name_that_cannot_be_is_refused(source, step, what, fix):
    assert refused(source, step) == f"dsml new\n  {what}\n  {fix}"


def test_the_other_kind_of_the_same_name_is_not_shadowed(source):
    source.file("stages/load/helpers.py", "def f(): ...\n")
    assert "stages/load/helpers.py is there already" in refused(source, "load/helpers")


def test_all_mistakes_are_told_at_once(source):
    ins = ["t=load.raw.tt", "u", "v=load", "1x=load.raw.t", "t=load.raw.t"]
    said = refused(source, "train/fit", ins, ["m=manifest.json", "a=x.csv", "b=X.csv"])
    assert said.split("\n\n") == [
        (
            "dsml new\n  --in u: is no pair\n"
            "  write --in name=value, where the value is the catalog path of an artefact"
        ),
        "dsml new\n  --in t=load.raw.t: 't' is given twice\n  give each its own name",
        "dsml new\n  ins.1x: the name is no identifier\n  name it '_1x'",
        (
            "dsml new\n  ins.v: 'load' is no catalog path of an artefact\n"
            "  write it as 'stage.notebook.artefact'"
        ),
        (
            "dsml new\n  outs.m: 'manifest.json' is a name of the store's own\n"
            "  give a plain file name with a suffix, such as 'model.joblib'"
        ),
        "dsml new\n  outs.b: 'X.csv' is also the file of outs.a\n  give each out a file of its own",
        "dsml new\n  ins.t: no step publishes 'load.raw.tt'\n  did you mean 'load.raw.t'?",
    ]


def test_it_does_not_read_from_a_draft(source):
    source.step("load.draft", '{"outs": {"d": "d.json"}}')
    assert refused(source, "train/fit", ["d=load.draft.d"]) == (
        "dsml new\n  it needs 'load.draft', which is a draft\n"
        "  run: dsml register stages/load/draft.ipynb"
    )


def test_a_project_that_is_broken_stays_as_it_is(source):
    source.step("load.raw", '{"inns": {}}')
    assert "inns: op_parameters has no such key" in refused(source, "train/fit")


# --- the command


def test_the_command_says_what_it_made(source):
    done = source.run("new", "train/fit", "--in", "t=load.raw.t", "--out", "m=m.joblib", "--text")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "stages/train/fit.py is the step train.fit; it is checked and registered\n"
        "run it: dsml run --select +train.fit\n"
    )


def test_the_command_refuses_with_the_message(source):
    done = source.run("new", "train/fit", "--in", "t=load.raw.x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dsml new\n  ins.t: no step publishes 'load.raw.x'\n")
