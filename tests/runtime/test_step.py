"""What a notebook sees: its context, its formats, and what the import of all this costs."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dsml import Context
from dsml.step import formats
from dsml.step.context import Setting
from dsml.step.names import Names
from dsml.step.record import Record

from .projects import PROJECT_FOLDER

mpl.use("agg")


@pytest.fixture
def context(tmp_path):
    setting = Setting(
        step="train.fit",
        run_id="r1",
        experiment="wide",
        partition_key=None,
        retry_number=2,
        config={"n_trees": 100, "rate": 0.5},
        sources={"n_trees": "default", "rate": "run"},
        ins={"train": str(tmp_path / "train.json")},
        outs={"model": str(tmp_path / "model.json"), "raw": str(tmp_path / "raw.bin")},
        logged=str(tmp_path / "logged"),
    )
    return Context(setting, logging.getLogger("tests"), Record(tmp_path / "logged"))


# --- the context ----------------------------------------------------------------------------------


def test_the_context_tells_where_it_is(context):
    told = (context.step, context.run_id, context.experiment, context.partition_key)
    assert told == ("train.fit", "r1", "wide", None)
    assert context.retry_number == 2


def test_parameters_and_paths_are_attributes_and_entries(context, tmp_path):
    assert context.config.n_trees == context.config["n_trees"] == 100
    assert context.op_config is context.config
    assert context.ins.train == context.ins["train"] == tmp_path / "train.json"
    assert dict(context.outs) == {"model": tmp_path / "model.json", "raw": tmp_path / "raw.bin"}


def test_an_out_can_be_saved_and_loaded_and_an_in_loaded(context):
    context.ins.train.write_text("[1, 2]")
    context.save("model", {"weights": [0.5]})
    assert context.load("train") == [1, 2]
    assert context.load("model") == {"weights": [0.5]}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda c: c.load("trian"), "the step has no in 'trian'; did you mean 'train'?"),
        (lambda c: c.save("modle", 1), "the step has no out 'modle'; did you mean 'model'?"),
        (lambda c: c.config["ntrees"], "no parameter 'ntrees'; did you mean 'n_trees'?"),
        (lambda c: c.outs["zzz"], "the step has no out 'zzz'; there are: model, raw"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(context, use, message):
    with pytest.raises(KeyError) as refused:
        use(context)
    assert message in str(refused.value)


def test_an_unknown_attribute_is_answered_with_the_nearest(context):
    with pytest.raises(AttributeError, match="the step has no in 'tran'; did you mean 'train'"):
        _ = context.ins.tran


def test_names_can_be_copied_and_pickled_like_a_dict():
    names = Names("in", {"a": 1})
    assert dict(names) == {"a": 1}
    assert "b" not in names
    assert names.get("b") is None
    assert not hasattr(names, "b")
    assert joblib.hash(dict(names)) == joblib.hash({"a": 1})


# --- formats --------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "s": ["a", "ü,\n"]})


@pytest.mark.parametrize("file", ["table.parquet", "table.csv", "table.CSV"])
def test_a_table_is_the_same_after_saving_and_loading(tmp_path, file):
    formats.save(FRAME, tmp_path / file)
    pd.testing.assert_frame_equal(formats.load(tmp_path / file), FRAME)


@pytest.mark.parametrize(
    ("file", "obj"),
    [
        ("data.json", {"a": [1, 2.5, None, True, "ü"], "b": {}}),
        ("data.json", [1, 2]),
        ("model.joblib", {"any": (1, {2})}),
        ("model.pkl", {"any": (1, {2})}),
        ("model.PICKLE", {"any": (1, {2})}),
        ("note.txt", "line\nünd noch eine\n"),
        ("note.md", "# Heading\n"),
        ("report.html", "<p>text</p>"),
    ],
)
def test_an_object_is_the_same_after_saving_and_loading(tmp_path, file, obj):
    formats.save(obj, tmp_path / file)
    assert formats.load(tmp_path / file) == obj


def test_an_array_is_the_same_after_saving_and_loading(tmp_path):
    array = np.arange(6, dtype="uint8").reshape(2, 3)
    formats.save(array, tmp_path / "array.npy")
    loaded = formats.load(tmp_path / "array.npy")
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


def test_a_picture_is_saved_from_an_array_and_from_a_figure(tmp_path):
    formats.save(np.zeros((4, 5, 3)), tmp_path / "array.png")
    assert formats.load(tmp_path / "array.png").shape[:2] == (4, 5)
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    formats.save(figure, tmp_path / "figure.png")
    assert formats.load(tmp_path / "figure.png").shape[:2] == (50, 100)
    formats.save(figure, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "figure.png").read_bytes()


def test_a_series_becomes_a_table_of_one_column(tmp_path):
    formats.save(FRAME["n"], tmp_path / "n.csv")
    assert (tmp_path / "n.csv").read_text() == "n\n1\n2\n"


def test_json_holds_the_numbers_and_arrays_of_numpy(tmp_path):
    formats.save({"n": np.int64(3), "x": np.array([0.5, 1.5])}, tmp_path / "data.json")
    assert formats.load(tmp_path / "data.json") == {"n": 3, "x": [0.5, 1.5]}


def test_an_array_of_objects_is_refused_because_it_would_be_a_pickle(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        formats.save(np.array([{}], dtype=object), tmp_path / "array.npy")


@pytest.mark.parametrize(
    ("file", "obj", "message"),
    [
        ("table.parquet", {"a": 1}, "'table.parquet' holds a DataFrame, not a dict"),
        ("table.csv", [1], "'table.csv' holds a DataFrame, not a list"),
        ("data.json", {"a": object()}, "JSON cannot hold a object"),
        ("note.txt", 3, "'note.txt' holds text, not a int"),
    ],
)
def test_an_object_that_a_format_cannot_hold_is_refused(tmp_path, file, obj, message):
    with pytest.raises(TypeError, match=message):
        formats.save(obj, tmp_path / file)


@pytest.mark.parametrize("file", ["data.xyz", "data"])
def test_an_unknown_suffix_tells_the_known_ones_and_the_way_around(tmp_path, file):
    with pytest.raises(ValueError, match="no reader for") as refused:
        formats.load(tmp_path / file)
    assert "there are .parquet, .csv, .json" in str(refused.value)
    assert "context.outs.<name>" in str(refused.value)


# --- what it costs --------------------------------------------------------------------------------


def seconds(code):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_FOLDER, check=True)
    return time.perf_counter() - started


def test_importing_the_runtime_loads_neither_dagster_nor_pandas(record_property):
    code = "import dsml, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "dsml" in loaded
    heavy = {"dagster", "pandas", "numpy", "IPython", "nbformat", "upath", "fsspec", "yaml"}
    assert loaded & heavy == set()
    pairs = [(seconds("import dsml"), seconds("pass")) for _ in range(7)]
    spent = min(ours for ours, _ in pairs) - min(bare for _, bare in pairs)
    record_property("`import dsml` over a bare interpreter", f"{spent * 1000:.0f} ms")


def test_the_runtime_is_imported_from_where_the_tests_expect_it():
    import dsml

    assert Path(dsml.__file__).parent == PROJECT_FOLDER / "dsml"
