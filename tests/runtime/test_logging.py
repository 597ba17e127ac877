"""What `context.log_*` keeps, how much of it, and what is said of values that are none."""

from __future__ import annotations

import logging
import math
import sys
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from conftest import run_command
from matplotlib.figure import Figure
from PIL import Image

from dsml import Context
from dsml.step.context import Setting
from dsml.step.record import Record, record_in
from dsml.step.reported import Reported, entries
from dsml.store.manifest import Curve

from .conftest import execute
from .projects import Step, write_project

PNG = b"\x89PNG"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logged"


@pytest.fixture
def echoed():
    return []


@pytest.fixture
def context(folder, echoed):
    setting = Setting("a.b", "r1", "wide", None, 0, {}, {}, {}, {}, str(folder))
    return Context(setting, logging.getLogger("tests"), Record(folder, echoed.append))


@pytest.fixture
def reported(folder):
    """What the record says, as the runner reads it."""
    return lambda: Reported.read(folder)


# --- metrics --------------------------------------------------------------------------------------


def test_each_metric_is_a_line_with_name_step_value_and_time(context, folder):
    context.log_metric("accuracy", np.float32(0.5), step=np.int64(3))
    context.log_metric("größe", 2)
    first, second = entries(folder / "record.jsonl")
    assert datetime.fromisoformat(first.pop("time")).utcoffset().total_seconds() == 0
    assert first == {"kind": "metric", "name": "accuracy", "step": 3, "value": 0.5}
    assert (second["name"], second["step"], second["value"]) == ("größe", 0, 2.0)


def test_the_value_at_the_highest_step_counts_and_the_curve_is_in_the_order_of_steps(
    context, reported
):
    for step in (3, 1, 2):
        context.log_metric("loss", step / 4, step=step)
    assert reported().points == {"loss": {1: 0.25, 2: 0.5, 3: 0.75}}
    assert reported().metrics == {"loss": 0.75}


def test_of_a_step_that_comes_twice_the_last_value_counts(context, reported):
    for value in (1, 2, 3):
        context.log_metric("loss", value, step=7)
    assert reported().points == {"loss": {7: 3.0}}
    assert reported().curves == {}


def test_without_a_step_the_last_value_counts_and_the_earlier_ones_are_its_curve(context, reported):
    context.log_metric("loss", 3, step=10)
    context.log_metric("loss", 1)
    context.log_metric("loss", 2)
    assert reported().points == {"loss": {10: 3.0, 11: 1.0, 12: 2.0}}
    assert reported().metrics == {"loss": 2.0}
    assert reported().curves == {"loss": Curve(points=3, min=1.0, max=3.0)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_kept_as_text_and_told_once(value, context, reported, caplog):
    context.log_metric("loss", value)
    context.log_metric("loss", value)
    context.log_metric("loss", 0.5)
    assert caplog.messages == [f"metric 'loss' is {value}"]
    assert reported().points == {"loss": {0: str(value), 1: str(value), 2: 0.5}}
    assert reported().curves == {"loss": Curve(3, 0.5, 0.5)}


def test_a_curve_without_a_number_has_no_smallest_and_no_largest(context, reported):
    context.log_metric("loss", math.nan)
    context.log_metric("loss", math.nan)
    assert reported().curves == {"loss": Curve(2, None, None)}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("loss", None), TypeError, "metric 'loss': None is no number"),
        (("loss", "0.5"), TypeError, "metric 'loss': '0.5' is no number"),
        (("loss", [1, 2]), TypeError, "metric 'loss': [1, 2] is no number"),
        (("loss", pd.NA), TypeError, "metric 'loss': <NA> is no number"),
        (("loss", 10**400), TypeError, "is no number"),
        (("loss", 1, 0.5), TypeError, "metric 'loss': step 0.5 is no whole number"),
        (("loss", 1, "3"), TypeError, "metric 'loss': step '3' is no whole number"),
        ((3, 0.5), TypeError, "the name of a metric is text, not 3"),
        ((" ", 0.5), ValueError, "the name of a metric is empty"),
    ],
)
def test_what_is_no_metric_is_refused_by_its_name_and_not_recorded(
    arguments, error, message, context, folder
):
    with pytest.raises(error) as refused:
        context.log_metric(*arguments)
    assert message in str(refused.value)
    assert entries(folder / "record.jsonl") == []


def test_threads_may_log_at_once(context, reported):
    def log(name):
        for step in range(500):
            context.log_metric(name, step, step)

    threads = [threading.Thread(target=log, args=(f"m{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: len(points) for name, points in reported().points.items()} == {
        f"m{number}": 500 for number in range(4)
    }


def test_a_line_that_was_cut_off_is_passed_over(context, folder, reported):
    context.log_metric("loss", 1, step=1)
    with (folder / "record.jsonl").open("ab") as stream:
        stream.write(b'{"kind":"metric","name":"lo\n{"kind":"later","name":"new"}\n')
    context.log_metric("loss", 2, step=2)
    assert reported().points == {"loss": {1: 1.0, 2: 2.0}}


def test_the_record_of_an_attempt_goes_on_when_the_context_is_fetched_again(folder, reported):
    record_in(str(folder)).add_point("loss", 1.0, None)
    record_in(str(folder)).close()
    record_in(str(folder)).add_point("loss", 2.0, None)
    assert reported().points == {"loss": {0: 1.0, 1: 2.0}}


def test_nothing_is_written_where_nothing_is_logged(context, folder, reported):
    assert reported() == Reported()
    assert not folder.exists()


# --- facts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (7, 7),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        ("text", "text"),
        (None, None),
        (False, False),
        ((2, 3), "(2, 3)"),
        (Path("a"), "a"),
    ],
)
def test_a_fact_is_kept_as_what_it_is_else_as_text(value, kept, context, reported):
    context.log_param("fact", value)
    (found,) = reported().params.values()
    assert (found, type(found)) == (kept, type(kept))


def test_a_fact_that_is_nan_is_told_and_kept_as_text(context, reported, caplog):
    context.log_param("rate", math.nan)
    context.log_param("rate", math.nan)
    assert caplog.messages == ["param 'rate' is nan"] * 2
    assert reported().params == {"rate": "nan"}


def test_a_fact_may_be_logged_twice_and_another_value_is_told(context, reported, caplog):
    context.log_param("rows", 7)
    context.log_param("rows", 7)
    assert caplog.messages == []
    context.log_param("rows", 8)
    assert caplog.messages == ["param 'rows' was 7 and is now 8"]
    assert reported().params == {"rows": 8}


# --- texts, figures, files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"), [("note", "note.txt"), ("note.md", "note.md"), ("rate_0.5", "rate_0.5.txt")]
)
def test_a_text_is_kept_under_its_name(name, file, context, folder, reported):
    context.log_text(name, "all is wëll")
    assert (folder / file).read_text(encoding="utf-8") == "all is wëll"
    assert reported().files == {name: file}


def test_what_is_no_text_is_refused(context):
    with pytest.raises(TypeError, match="text 'note' is a NoneType, not text"):
        context.log_text("note", None)


def figures():
    axes = Figure(figsize=(1, 1)).subplots()
    return {
        "matplotlib": axes.figure,
        "axes, as pandas returns them": axes,
        "pil": Image.new("RGB", (2, 2), "red"),
        "pixels": np.zeros((2, 2)),
    }


@pytest.mark.parametrize("kind", figures())
@pytest.mark.parametrize("name", ["curve", "curve.png"])
def test_a_figure_is_kept_as_png(kind, name, context, folder, reported):
    context.log_figure(name, figures()[kind])
    assert (folder / "curve.png").read_bytes().startswith(PNG)
    assert reported().files == {"curve": "curve.png"}


def test_a_dot_in_the_name_of_a_figure_is_no_suffix(context, reported):
    context.log_figure("rate_0.5", Image.new("L", (1, 1)))
    context.log_figure("v1.best", Image.new("L", (1, 1)))
    assert reported().files == {"rate_0.5": "rate_0.5.png", "v1.best": "v1.best.png"}


def test_a_figure_of_plotly_is_a_page_that_needs_no_network(context, folder, reported, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)  # as where it is not installed
    context.log_figure("curve", go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="a </script> b")))
    page = (folder / "curve.html").read_text(encoding="utf-8")
    assert "plotly.js v" in page
    assert "<script src=" not in page
    assert "a </script> b" not in page
    assert reported().files == {"curve": "curve.html"}


@pytest.mark.slow
def test_with_kaleido_a_figure_of_plotly_is_a_picture_too(context, folder, reported):
    context.log_figure("curve", go.Figure(go.Scatter(x=[1, 2], y=[3, 4])))
    assert reported().files == {"curve": "curve.html", "curve.png": "curve.png"}
    assert (folder / "curve.png").read_bytes().startswith(PNG)


def test_where_the_picture_cannot_be_made_the_page_is_kept_and_the_reason_told(
    context, reported, caplog
):
    class Broken(go.Figure):
        def write_image(self, *_: object) -> None:
            raise RuntimeError("there is no browser")

    context.log_figure("curve", Broken())
    assert reported().files == {"curve": "curve.html"}
    assert caplog.messages == ["figure 'curve' is kept as HTML only: there is no browser"]


@pytest.mark.parametrize(("figure", "kind"), [(None, "NoneType"), ("a.png", "str"), ({}, "dict")])
def test_what_is_no_figure_is_refused(figure, kind, context):
    with pytest.raises(TypeError, match=f"figure 'curve' is a {kind}; give a figure of matplotlib"):
        context.log_figure("curve", figure)


def test_a_copy_of_any_file_is_kept(context, folder, reported, tmp_path):
    source = tmp_path / "raw.bin"
    source.write_bytes(b"raw")
    context.log_artefact(source)
    context.log_artefact(source, "copy")
    context.log_artefact(str(source), "other.dat")
    assert reported().files == {"raw.bin": "raw.bin", "copy": "copy.bin", "other.dat": "other.dat"}
    assert (folder / "copy.bin").read_bytes() == (folder / "other.dat").read_bytes() == b"raw"


def test_a_file_that_is_logged_again_is_replaced_and_told(context, folder, reported, caplog):
    context.log_text("note", "first")
    context.log_text("note", "second")
    assert (folder / "note.txt").read_text() == "second"
    context.log_text("note.txt", "third")
    assert reported().files == {"note.txt": "note.txt"}
    context.log_text("curve", "a text")
    context.log_figure("curve", Image.new("L", (1, 1)))
    assert reported().files == {"note.txt": "note.txt", "curve": "curve.png"}
    assert {path.name for path in folder.iterdir()} == {"note.txt", "curve.png", "record.jsonl"}
    assert caplog.messages == [
        f"'{name}' was logged before: the file is replaced"
        for name in ("note", "note.txt", "curve")
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../up", "is no file name"),
        ("/etc/passwd", "is no file name"),
        ("a/b", "is no file name"),
        (".hidden", "is no file name"),
        ("", "the name of a text is empty"),
        ("Record.jsonl", "'Record.jsonl' says what has been logged; use another name"),
    ],
)
def test_a_logged_file_stays_in_its_folder_and_beside_the_record(name, message, context):
    with pytest.raises(ValueError, match=message):
        context.log_text(name, "text")


# --- by hand --------------------------------------------------------------------------------------


def test_by_hand_ever_fewer_points_of_a_curve_are_shown(context, echoed, reported):
    for step in range(1, 2001):
        context.log_metric("loss", step / 2, step=step)
    shown = [*range(1, 10), *range(10, 100, 10), *range(100, 1000, 100), 1000, 2000]
    assert echoed == [f"metric loss[{step}] = {step / 2}" for step in shown]
    assert len(reported().points["loss"]) == 2000


def test_by_hand_the_rest_is_shown_as_it_is_logged(context, echoed):
    context.log_metric("accuracy", 0.5)
    context.log_param("rows", 7)
    context.log_text("note", "text")
    assert echoed == ["metric accuracy = 0.5", "param rows = 7", "file note = note.txt"]


BY_HAND = """
from dsml import get_context
op_parameters = {"description": "A step.", "ins": {}, "outs": {}}
context = get_context(op_parameters, step="a.b")
for value in (1, 2):
    context.log_metric("loss", value)
context.log_text("note", "kept")
"""


def test_a_notebook_that_is_run_by_hand_logs_into_its_scratch_folder_anew_each_time(root):
    write_project(root, {"a.b": Step()})
    for _ in range(2):
        done = run_command(sys.executable, "-c", BY_HAND, cwd=root)
        assert done.stdout.splitlines() == [
            "INFO metric loss = 1.0",
            "INFO metric loss[1] = 2.0",
            "INFO file note = note.txt",
        ]
    logged = root / "artefacts" / ".scratch" / "baseline" / "a.b" / "logged"
    assert Reported.read(logged).points == {"loss": {0: 1.0, 1: 2.0}}
    assert (logged / "note.txt").read_text() == "kept"


# --- in a run -------------------------------------------------------------------------------------

MANY = """
import os, time
before, wall = time.process_time(), time.monotonic()
for step in range(100_000):
    context.log_metric("loss", 1 / (1 + step), step=step)
context.log_param("seconds", time.process_time() - before)
context.log_param("wall", time.monotonic() - wall)
context.log_metric("same", 1)
"""


def test_100_000_points_cost_less_than_2_seconds_and_are_complete(root, record_property):
    ran = execute(write_project(root, {"a.b": Step(MANY)}))
    assert ran.passed, ran.log
    manifest = ran.manifest("a.b")
    record_property("100,000 metric points, wall seconds", round(manifest.logged["wall"], 2))
    assert manifest.logged["seconds"] < 2
    assert manifest.metrics == {"loss": 1e-5, "same": 1.0}
    assert manifest.curves == {"loss": Curve(100_000, 1e-5, 1.0)}
    points = Reported.read(ran.attempt("a.b") / "logged").points["loss"]
    assert list(points) == list(range(100_000))
    assert points[77] == 1 / 78
    assert len(manifest.to_json()) < 5_000


KILLED = """
import os, signal
for step in range(1000):
    context.log_metric("loss", step, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_that_was_logged_is_lost_when_the_kernel_is_killed(root):
    ran = execute(write_project(root, {"a.b": Step(KILLED)}))
    assert not ran.passed
    assert list(Reported.read(ran.attempt("a.b") / "logged").points["loss"]) == list(range(1000))


FORKED = """
import os
child = os.fork()
for step in range(200):
    context.log_metric("child" if child == 0 else "parent", step, step=step)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_process_may_log_too(root):
    ran = execute(write_project(root, {"a.b": Step(FORKED)}))
    assert ran.passed, ran.log
    assert ran.manifest("a.b").curves == {
        "parent": Curve(200, 0.0, 199.0),
        "child": Curve(200, 0.0, 199.0),
    }


def metadata_of(ran):
    (event,) = ran.result.get_asset_materialization_events()
    return event.step_materialization_data.materialization.metadata


ALIKE = """
from PIL import Image
for value in (0.25, 0.75):
    context.log_metric("accuracy", value)
    context.log_metric("seconds", value)
context.log_param("accuracy", "high")
context.log_figure("accuracy", Image.new("L", (1, 1)))
"""


def test_the_ui_is_told_the_last_value_as_a_number_and_where_the_points_are(root):
    ran = execute(write_project(root, {"a.b": Step(ALIKE)}))
    shown = metadata_of(ran)
    assert shown["accuracy"].value == 0.75
    assert shown["curves"].value == {
        "accuracy": {"points": 2, "min": 0.25, "max": 0.75},
        "seconds": {"points": 2, "min": 0.25, "max": 0.75},
    }
    points = Path(shown["points of the curves"].value)
    assert len(entries(points)) == 6


def test_what_has_the_name_of_something_else_is_shown_beside_it(root):
    shown = metadata_of(execute(write_project(root, {"a.b": Step(ALIKE)})))
    assert shown["seconds"].value > 0
    assert shown["seconds (logged)"].value == 0.75
    assert shown["accuracy (logged fact)"].value == "high"
    assert shown["accuracy (logged file)"].value.startswith("![accuracy](data:image/png")


def test_what_was_logged_before_a_failure_is_in_the_failure_in_dagster(run_step):
    ran = run_step("context.log_metric('loss', 0.5)\ncontext.log_param('rows', 3)\n1 / 0")
    (event,) = ran.result.get_step_failure_events()
    metadata = event.event_specific_data.user_failure_data.metadata
    assert metadata["loss (logged)"].value == 0.5
    assert metadata["rows (logged)"].value == "3"
