"""What a notebook is shown of its context, and what it is told where the context can't be made."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dsml import get_context
from dsml.contract.catalog import read_catalog
from dsml.contract.figures import age, size
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.step.context import Setting
from dsml.step.table import as_html, as_text
from dsml.store import Manifest, StepRun, Store
from dsml.store.manifest import NOTEBOOK_FILE, measure

from .conftest import execute
from .projects import Step, write_project

HOSTILE = """<script>alert("1")</script> & 'quoted' {{x}} \n</table>"""
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MAKE = Step('context.save("x", [n])', outs={"x": "x.json"}, parameters="n: int = 3")
OTHER = Step('context.save("z", 1)', outs={"z": "z.json"})
USE = Step(
    ["context", 'context.save("y", context.load("x"))'],
    ins={"x": "a.make.x", "z": "b.other.z"},
    outs={"y": "y.json"},
    parameters="factor: int = 2\nname: str = 'plain'",
)
STEPS = {"a.make": MAKE, "b.other": OTHER, "c.use": USE}
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"c.use": {"factor": 5}}}}


@pytest.fixture
def small(root):
    return write_project(root, STEPS, experiments=EXPERIMENTS)


def setting(**changed):
    published = (datetime.now(UTC) - timedelta(minutes=3, seconds=5)).isoformat()
    made = Setting(
        step="train.fit",
        run_id="3f2a9c1b-1111-2222",
        experiment="wide",
        partition_key=None,
        retry_number=0,
        config={"n": 500, "name": "x"},
        sources={"n": "experiment", "name": "default"},
        ins={"train": "/store/train.json"},
        outs={"model": "/store/model.joblib"},
        logged="/logged",
        inputs={
            "train": {
                "path": "prepare.split.train",
                "run_id": "9e8d7c6b-1111-2222",
                "file": "train.json",
                "bytes": 12_600,
                "sha256": "0" * 64,
                "published": published,
            }
        },
    )
    return replace(made, **changed)


def publish(root, step, run_id, *, experiment="baseline", minutes=5, **outs):
    store = Store.open(root, read_catalog(root, []))
    address = StepRun(step, experiment, run_id)
    staging = store.stage(address, 1)
    outputs = {}
    for name, value in outs.items():
        file = staging.outs / f"{name}.json"
        file.write_text(json.dumps(value))
        outputs[name] = measure(file)
    ended = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    manifest = Manifest(
        step, run_id, experiment, None, {}, {}, outputs, "", {}, {}, ended, ended, 1, ""
    )
    store.publish(staging, manifest)
    store.unstage(staging)


def context_of(root, step, monkeypatch, **variables):
    """What `get_context` returns in the folder of a step's notebook."""
    file = root / "stages" / Path(*step.split(".")).with_suffix(".ipynb")
    monkeypatch.chdir(file.parent)
    sources = {
        tag: "".join(cell["source"])
        for cell in json.loads(file.read_text())["cells"]
        for tag in cell["metadata"].get("tags", ())
    }
    variables = {"get_context": get_context, **variables}
    exec(sources["op_parameters"], variables)
    return eval("get_context(op_parameters)", variables)


class _Rows(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.cells = set(), []

    def handle_starttag(self, tag, _attrs):
        self.tags.add(tag)
        if tag in ("td", "th", "div"):
            self.cells.append("")

    def handle_data(self, data):
        self.cells[-1] += data


def cells_of(html):
    parser = _Rows()
    parser.feed(html)
    assert parser.tags <= {"div", "table", "tr", "th", "td"}
    return parser.cells


# --- the table ------------------------------------------------------------------------------------


def test_the_text_is_a_table_of_ins_outs_and_parameters():
    assert as_text(setting()).splitlines() == [
        "train.fit, experiment wide, run 3f2a9c1b",
        "",
        "in     artefact             run       age        size",
        "train  prepare.split.train  9e8d7c6b  3 min ago  12.3 KiB",
        "",
        "out    file",
        "model  /store/model.joblib",
        "",
        "parameter  value  source",
        "n          500    experiment",
        "name       'x'    default",
    ]


def test_what_a_step_does_not_have_takes_no_lines():
    bare = setting(ins={}, outs={}, config={}, partition_key="2024-01-01")
    assert as_text(bare) == ("train.fit, experiment wide, partition 2024-01-01, run 3f2a9c1b")
    assert cells_of(as_html(bare)) == [as_text(bare)]


def test_an_in_of_which_nothing_is_recorded_is_shown_by_its_path():
    assert "train  /store/train.json" in as_text(setting(inputs={}))


def test_the_html_holds_the_same_cells_as_the_text():
    cells = cells_of(as_html(setting()))
    words = as_text(setting()).replace("\n", "  ").split("  ")
    assert cells == [word.strip() for word in words if word.strip()]


def test_everything_in_the_html_is_escaped():
    hostile = setting(
        step=HOSTILE,
        experiment=HOSTILE,
        config={HOSTILE: "<img src=x onerror=alert(1)>"},
        sources={HOSTILE: HOSTILE},
        ins={HOSTILE: HOSTILE},
        outs={HOSTILE: HOSTILE},
        inputs={HOSTILE: {"path": HOSTILE, "run_id": "<b>" * 9, "published": HOSTILE, "bytes": 1}},
    )
    cells = cells_of(as_html(hostile))  # no tag but those of the table
    assert cells.count(HOSTILE) == 7
    assert "'<img src=x onerror=alert(1)>'" in cells


def test_long_values_are_shortened():
    text = as_text(setting(config={"n": list(range(1000)), "name": "é" * 500}))
    shown = [
        line.removesuffix(source)[11:].strip()
        for line, source in zip(text.splitlines()[-2:], ("experiment", "default"), strict=True)
    ]
    assert [len(value) for value in shown] == [60, 60]
    assert all(value.endswith("…") for value in shown)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (12, "12 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86400 * 40, "40 d ago"),
    ],
)
def test_ages(seconds, told):
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == told


def test_a_moment_that_is_not_known_or_not_readable():
    assert (age(""), age("yesterday"), age("2026-01-01")) == ("", "yesterday", "2026-01-01")


def test_sizes():
    assert [size(n) for n in (0, 1023, 1024, 5 * 1024**3)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 GiB",
    ]


def test_by_hand_the_table_tells_the_run_and_the_source_of_everything(small, monkeypatch):
    publish(small, "a.make", "11111111-aaaa", experiment="wide", minutes=200, x=[1])
    publish(small, "b.other", "22222222-aaaa", experiment="wide", minutes=4, z=1)
    monkeypatch.setenv("DSML_EXPERIMENT", "wide")
    context = context_of(small, "c.use", monkeypatch, factor=2, name="changed")
    rows = [line.split() for line in repr(context).splitlines()]
    assert rows[0] == ["c.use,", "experiment", "wide,", "run", "scratch"]
    assert ["x", "a.make.x", "11111111", "3", "h", "ago", "3", "B"] in rows
    assert ["z", "b.other.z", "22222222", "4", "min", "ago", "1", "B"] in rows
    assert ["factor", "5", "experiment"] in rows
    assert ["name", "'changed'", "notebook"] in rows
    assert "22222222" in context._repr_html_()


@pytest.mark.slow
def test_in_a_run_the_executed_notebook_holds_the_table(small):
    config = {"ops": {"c__use": {"config": {"name": "given"}}}}
    ran = execute(small, experiment="wide", run_config=config)
    executed = nbformat.read(ran.attempt("c.use", "wide") / NOTEBOOK_FILE, as_version=4)
    (data,) = [o.data for c in executed.cells for o in c.get("outputs", ()) if "data" in o]
    rows = [line.split() for line in data["text/plain"].splitlines()]
    assert rows[0][-1] == ran.run_id[:8]
    found = next(row for row in rows if row[:2] == ["x", "a.make.x"])
    assert found[2] == ran.run_id[:8]
    assert (found[-3] in ("ago", "now"), found[-2:]) == (True, ["7", "B"])
    assert ["factor", "5", "experiment"] in rows
    assert ["name", "'given'", "run"] in rows
    assert ran.run_id[:8] in data["text/html"]
    assert ran.manifest("c.use").inputs["x"].published == ran.manifest("a.make").ended


# --- what to run first ----------------------------------------------------------------------------


def refused(small, monkeypatch, step="c.use"):
    with pytest.raises(ProjectError) as error:
        context_of(small, step, monkeypatch)
    return str(error.value).splitlines()


def test_all_missing_inputs_are_told_at_once_with_one_command(small, monkeypatch):
    monkeypatch.setenv("DSML_EXPERIMENT", "wide")
    assert refused(small, monkeypatch) == [
        "stages/c/use.ipynb, cell 2 (op_parameters), line 3",
        "  ins.x: 'a.make.x', ins.z: 'b.other.z' have not been published in experiment 'wide'",
        "  run them first: dsml run --experiment wide --select +a.make,+b.other",
    ]


def test_only_what_is_missing_is_told(small, monkeypatch):
    publish(small, "a.make", "11111111-aaaa", x=[1])
    what, fix = refused(small, monkeypatch)[1:]
    assert what == "  ins.z: 'b.other.z' has not been published in experiment 'baseline'"
    assert fix == "  run it first: dsml run --experiment baseline --select +b.other"


def commands_of(message):
    """The commands after `first: `, as lists of words, for this interpreter."""
    told = message[-1].partition("first: ")[2]
    return [[sys.executable, "-m", *shlex.split(command)] for command in told.split(" && ")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipelines", "drafts", "told"),
    [
        ({}, (), "dsml run --experiment baseline --select +a.make,+b.other"),
        (
            {"last": {"select": "c"}, "both": {"select": ["a", "b"]}},
            (),
            "dsml run both --experiment baseline --select +a.make,+b.other",
        ),
        (
            {"first": {"select": "a"}, "second": {"select": "b"}},
            (),
            (
                "dsml run --experiment baseline --select +a.make"
                " && dsml run second --experiment baseline --select +b.other"
            ),
        ),
        (
            {},
            ("c.use", "a.make"),
            (
                "dsml register stages/a/make.ipynb"
                " && dsml run --experiment baseline --select +a.make,+b.other"
            ),
        ),
    ],
    ids=["one pipeline", "another pipeline", "two pipelines", "a draft"],
)
def test_the_command_that_is_told_works(root, run, monkeypatch, pipelines, drafts, told):
    write_project(root, STEPS, pipelines=pipelines)
    catalog = root / "catalog.yml"
    lines = catalog.read_text().splitlines(keepends=True)
    dropped = tuple(f"  {name}:" for name in drafts)
    catalog.write_text("".join(line for line in lines if not line.startswith(dropped or ("\0",))))
    message = refused(root, monkeypatch)
    assert message[-1] == f"  run them first: {told}"
    for command in commands_of(message):
        run(*command, cwd=root)
    assert context_of(root, "c.use", monkeypatch).load("x") == [3]


def test_an_in_that_no_step_publishes_is_answered_with_the_nearest(small, monkeypatch):
    file = small / "stages" / "c" / "use.ipynb"
    file.write_text(file.read_text().replace("a.make.x", "a.make.xx"))
    assert refused(small, monkeypatch)[1:] == [
        "  ins.x: no step publishes 'a.make.xx'",
        "  did you mean 'a.make.x'?",
    ]


def test_an_upstream_notebook_that_is_broken_is_what_is_told(small, monkeypatch):
    (small / "stages" / "a" / "make.ipynb").write_text("{")
    assert refused(small, monkeypatch)[0] == "stages/a/make.ipynb, line 1"


# --- how it is shown ------------------------------------------------------------------------------


def test_ipython_is_given_the_message_instead_of_a_traceback():
    problem = Problem(Where("catalog.yml", line=3), "is wrong", "mend it", "wrong")
    error = ProjectError([problem, problem])
    assert "\n".join(error._render_traceback_()) == str(error)


@pytest.mark.slow
def test_in_a_kernel_only_the_message_is_shown(small, monkeypatch):
    file = small / "stages" / "c" / "use.ipynb"
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(file.parent)}})
    monkeypatch.setenv("PYTHONPATH", str(small))
    with pytest.raises(CellExecutionError) as failed:
        client.execute()
    (output,) = [o for c in notebook.cells for o in c.get("outputs", ())]
    assert output.output_type == "error"
    shown = "\n".join(output.traceback)
    assert shown == output.evalue
    assert shown.startswith("stages/c/use.ipynb, cell 2 (op_parameters), line 3\n")
    last = "  run them first: dsml run --experiment baseline --select +a.make,+b.other"
    assert str(failed.value).rstrip().splitlines()[-1] == last


@pytest.mark.slow
def test_under_papermill_the_message_comes_last(small, run, tmp_path):
    file = small / "stages" / "c" / "use.ipynb"
    done = run(
        *("papermill", file.name, tmp_path / "executed.ipynb"),
        cwd=file.parent,
        check=False,
        PYTHONPATH=str(small),
    )
    last = "  run them first: dsml run --experiment baseline --select +a.make,+b.other"
    assert done.stderr.rstrip().splitlines()[-1] == last


# --- DSML_RUN -------------------------------------------------------------------------------------


@pytest.fixture
def with_runs(small):
    for number, run_id in enumerate(("aaaa1111-1", "aaaa2222-1", "bbbb3333-1")):
        for step, outs in {"a.make": {"x": [number]}, "b.other": {"z": number}}.items():
            publish(small, step, run_id, minutes=30 - number, **outs)
    publish(small, "a.make", "cccc4444-1", experiment="wide", x=[9])
    publish(small, "b.other", "cccc4444-1", experiment="wide", z=9)
    return small


@pytest.mark.parametrize(
    ("name", "experiment", "x"),
    [
        ("aaaa2222-1", "baseline", [1]),
        ("aaaa2", "baseline", [1]),
        ("b", "baseline", [2]),
        ("cccc", "wide", [9]),  # the experiment is that of the run
        ("", "baseline", [2]),
    ],
)
def test_dsml_run_takes_an_id_or_its_beginning(with_runs, monkeypatch, name, experiment, x):
    monkeypatch.setenv("DSML_RUN", name)
    context = context_of(with_runs, "c.use", monkeypatch)
    assert (context.experiment, context.load("x")) == (experiment, x)
    assert context.config.factor == (5 if experiment == "wide" else 2)


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("aaaa", "'aaaa' begins 2 runs", "give more of the id: aaaa1111-1, aaaa2222-1"),
        (
            "aaab2222-1",
            "no run 'aaab2222-1' has published what c.use reads",
            "did you mean 'aaaa2222-1'?",
        ),
        (
            "zzzz",
            "no run 'zzzz' has published what c.use reads",
            "the newest is 'cccc4444', 5 min ago",
        ),
        (
            "*[a",
            "no run '*[a' has published what c.use reads",
            "the newest is 'cccc4444', 5 min ago",
        ),
    ],
)
def test_an_unknown_run_is_answered_with_the_nearest_or_newest(
    with_runs, monkeypatch, name, what, fix
):
    monkeypatch.setenv("DSML_RUN", name)
    assert refused(with_runs, monkeypatch) == ["DSML_RUN", f"  {what}", f"  {fix}"]


def test_a_run_of_another_experiment_is_not_taken(with_runs, monkeypatch):
    monkeypatch.setenv("DSML_RUN", "aaaa1111-1")
    monkeypatch.setenv("DSML_EXPERIMENT", "wide")
    what = "no run 'aaaa1111-1' has published what c.use reads in experiment 'wide'"
    assert refused(with_runs, monkeypatch)[1:] == [
        f"  {what}",
        "  the newest is 'cccc4444', 5 min ago",
    ]


def test_where_nothing_is_published_no_run_can_be_chosen(small, monkeypatch):
    monkeypatch.setenv("DSML_RUN", "aaaa")
    assert refused(small, monkeypatch)[-1] == "  unset it: nothing has been published yet"


def test_a_run_that_lacks_an_in_does_not_fall_back_to_the_newest(with_runs, monkeypatch):
    publish(with_runs, "a.make", "dddd5555-1", x=[5])
    monkeypatch.setenv("DSML_RUN", "dddd")
    assert refused(with_runs, monkeypatch)[1:] == [
        "  ins.z: 'b.other.z' has not been published in run dddd5555-1",
        "  choose another run with DSML_RUN, or unset it to read the newest artefacts",
    ]


def test_a_step_that_reads_nothing_needs_no_run(small, monkeypatch):
    monkeypatch.setenv("DSML_RUN", "aaaa")
    assert context_of(small, "a.make", monkeypatch).experiment == "baseline"
