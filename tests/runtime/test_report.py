"""`dsml report`: what the site says, and that only what is new or has changed is written."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import run_command

from dsml.contract.problem import ProjectError
from dsml.evidence.site.build import build
from dsml.evidence.site.curves import curve_svg, thin
from dsml.evidence.site.overview import key_metrics
from dsml.evidence.site.previews import preview
from dsml.store.runs import RUN_FILE, run_path

from .conftest import execute
from .projects import Step, kill_group, start, wait_until, write_project
from .sites import (
    PNG,
    Done,
    Runs,
    address,
    dead_links,
    executed,
    files_of,
    given,
    page,
    run_id_of,
    written,
)

HOSTILE = "<img src=x onerror=alert(1)></script><b>\"'&"


@pytest.fixture
def site(tmp_path):
    return tmp_path / "a site"


def rows(site):
    """The rows of the list of runs, by the id of the run."""
    text = (site / "runs.js").read_text(encoding="utf-8")
    data = json.loads(text.removeprefix("window.dsmlRuns = ").removesuffix(";\n"))
    return {row["id"]: row for row in data["runs"]}


# --- what it says ---------------------------------------------------------------------------------


def test_the_list_says_of_each_run_how_it_ended_whose_it_is_and_its_key_metrics(store, site):
    good = Runs(store).add(1, {"a.b": Done(metrics={"accuracy": [0.1, 0.9]})}, started_by="UI")
    bad = Runs(store).add(2, {"a.b": Done(error="it broke", seconds=90)}, experiment="other")
    written(store, site)
    assert list(rows(site)) == [bad, good]
    row = rows(site)[good]
    assert (row["status"], row["experiment"], row["user"]) == ("passed", "wide", "ada")
    assert (row["pipeline"], row["by"], row["metrics"]) == ("training", "UI", [0.9])
    assert row["started"] == "2026-03-01T13:00:00+00:00"
    row = rows(site)[bad]
    assert (row["status"], row["took"], row["bad"]) == ("failed", "1 min 30 s", ["a.b"])


def test_a_run_shows_graph_parameters_metrics_curves_figures_artefacts_and_lineage(store, site):
    runs = Runs(store)
    before = runs.add(1, {"load.data": Done(outs={"table.csv": b"x,y\n1,2\n"})})
    done = Done(
        parameters={"depth": (7, "experiment"), "seed": 0},
        inputs={"table": given("load.data.table", before)},
        metrics={"loss": [3.0, 2.0, 1.0], "accuracy": 0.75},
        outs={"scores.json": b'{"best": 1}', "plot.png": PNG},
        logged={"curve.png": PNG},
    )
    run = runs.add(2, {"train.fit": done})
    written(store, site)
    shown = page(site, "runs", run, "index.html")
    for text in ("depth 7 experiment", "seed 0 default", "accuracy 0.75", "loss 1", '"best": 1'):
        assert text in shown.text
    titles = [svg.get("class") for svg in shown.all("svg")]
    assert titles == ["dsml-chart", "dsml-chart", "curve"]
    sources = [image["src"] for image in shown.all("img")]
    assert sources[:2] == ["train.fit/logged/curve.png", "train.fit/artefacts/plot.png"]
    assert (site / "runs" / run / sources[0]).read_bytes() == PNG
    assert f"../../runs/{before}/load.data/index.html" in [a.get("href") for a in shown.all("a")]
    assert dead_links(site) == []


def test_a_failed_run_says_what_went_wrong_and_each_attempt_has_its_log_and_its_notebook(
    store, site
):
    kept = {"log.txt": "\x1b[31mred\x1b[0m words\n", "executed.ipynb": executed()}
    error = f"stages/a/b.ipynb, cell 3\n  it broke\n  look at {store.root}/wide/a"
    done = Done(error=error, earlier=("not the first time",), kept=kept)
    run = Runs(store).add(1, {"a.b": done}, planned={"a.b": [], "c.d": ["a.b"]})
    written(store, site)
    shown = page(site, "runs", run, "index.html")
    assert "What went wrong a.b : stages/a/b.ipynb, cell 3: it broke" in shown.text
    assert "c.d ○ not begun" in shown.text
    first, last = (page(site, "runs", run, "a.b", n, "index.html") for n in ("1", "2"))
    assert "not the first time" in first.text
    assert "look at wide/a" in last.text  # and not where that is on this machine
    assert "red words" in last.text
    assert (site / "runs" / run / "a.b" / "2" / "log.txt").read_text() == "red words\n"
    (frame,) = last.all("iframe")
    assert (frame["src"], frame["sandbox"]) == ("notebook.html", "")
    assert dead_links(site) == []


def test_an_instance_has_a_page_of_its_own_below_its_step(store, site):
    steps = {f"a.b[{key}]": Done(metrics={"loss": n}) for n, key in enumerate(("x y", "50%"))}
    run = Runs(store).add(1, steps, planned={"a.b": []})
    written(store, site)
    assert "a.b[x y]" in page(site, "runs", run, "a.b", "index.html").text
    assert "loss 1" in page(site, "runs", run, "a.b[50%]", "index.html").text
    assert dead_links(site) == []


def test_a_record_that_names_a_file_elsewhere_gets_nothing_from_there(new_local, site):
    store = new_local()
    run = Runs(store).add(1, {"a.b": Done(error="x", logged={"good.png": PNG})})
    where = store.attempt_path(address("a.b", run), 1, "logged/record.jsonl")
    (store.root / "secret.png").write_bytes(PNG)
    up = "../" * 7 + "secret.png"
    assert (where.parent / up).is_file()
    line = json.dumps({"kind": "file", "name": "bad", "file": up, "time": ""})
    where.write_text(f"{where.read_text()}{line}\n")
    written(store, site)
    shown = page(site, "runs", run, "index.html")
    assert [image["src"] for image in shown.all("img")] == ["a.b/logged/good.png"]
    assert dead_links(site) == []


@pytest.mark.parametrize("file", ["../" * 6 + "secret.png", "inner/secret.png"])
def test_a_manifest_that_names_a_logged_file_elsewhere_gets_nothing_from_there(
    new_local, site, file
):
    store = new_local()
    run = Runs(store).add(1, {"a.b": Done(logged={"good.png": PNG})})
    where = store.path(address("a.b", run), "manifest.json")
    document = json.loads(where.read_text())
    where.write_text(json.dumps(document | {"files": {**document["files"], "bad": file}}))
    named = store.attempt_path(address("a.b", run), 1, "logged") / file
    named.parent.mkdir(exist_ok=True)
    named.write_bytes(PNG)
    written(store, site)
    shown = page(site, "runs", run, "index.html")
    assert [image["src"] for image in shown.all("img")] == ["a.b/logged/good.png"]
    assert dead_links(site) == []


def test_of_many_instances_the_page_of_the_run_has_the_first(new_local, site):
    steps = {f"a.b[{key}]": Done(metrics={"loss": 1.0}, kept={}) for key in range(60)}
    run = Runs(new_local()).add(1, steps, planned={"a.b": []})
    written(new_local(), site)
    shown = page(site, "runs", run, "index.html")
    links = [a.get("href") for a in shown.all("a")]
    assert "a.b%5B49%5D/index.html" in links
    assert "a.b%5B50%5D/index.html" not in links
    assert "10 more instances are on the pages of their steps" in shown.text
    assert "a.b[59]" in page(site, "runs", run, "a.b", "index.html").text
    assert dead_links(site) == []


def test_an_input_from_a_run_that_is_gone_says_so(store, site):
    Runs(store).add(1, {"a.b": Done(inputs={"x": given("c.d.x", "0000-gone")})})
    written(store, site)
    assert "0000-gon is gone" in page(site, "runs", run_id_of(1), "index.html").text
    assert dead_links(site) == []


def test_markup_in_any_name_or_value_is_shown_as_it_is(new_memory, site):
    store = new_memory()
    name = HOSTILE.replace("/", "_")  # of files and folders, which a slash would lead elsewhere
    done = Done(
        parameters={HOSTILE: (HOSTILE, HOSTILE)},
        metrics={HOSTILE: [1.0, 2.0]},
        inputs={HOSTILE: given(f"c.{name}.x", name)},
        error=HOSTILE,
        earlier=(HOSTILE,),
        kept={"log.txt": HOSTILE},
    )
    run = Runs(store).add(
        1,
        {"a.b": done},
        experiment=name,
        pipeline=HOSTILE,
        user=HOSTILE,
        git={"commit": HOSTILE, "branch": HOSTILE},
        ci={"actor": HOSTILE},
    )
    written(store, site)
    for file in site.rglob("*.html"):
        shown = page(file.parent, file.name)
        kinds = {tag for tag, _ in shown.elements}
        assert not kinds & {"b", "img"}, file
        assert all("onerror" not in attributes for _, attributes in shown.elements)
    assert HOSTILE in page(site, "runs", run, "index.html").text
    assert "</script" not in (site / "runs.js").read_text()
    assert "</script" not in (site / "runs" / run / "data.js").read_text()


def test_the_key_metrics_are_those_that_change_and_that_a_late_step_has_logged():
    each = [
        {"status": "passed", "metrics": {"load.n": 3, "fit[1].x": n, "fit.loss": n, "eval.f1": -n}}
        for n in range(3)
    ]
    each.append({"status": "failed", "metrics": {"load.n": 4, "load.m": 5}})
    assert key_metrics(each) == ["eval.f1", "fit.loss", "load.n", "fit[1].x"]


def test_a_glance_at_a_file_shows_its_beginning(tmp_path):
    import pandas as pd

    def glance(name, content=None):
        if content is not None:
            (tmp_path / name).write_text(content, encoding="utf-8")
        return preview(tmp_path / name)

    pd.DataFrame({f"c{n}": range(20) for n in range(15)}).to_parquet(tmp_path / "t.parquet")
    table = glance("t.parquet")
    assert (len(table.headings), len(table.rows)) == (12, 8)
    assert table.note == "20 rows, 15 columns, 3 more columns"
    assert glance("t.csv", "a,b\n1,2\n").rows == [["1", "2"]]
    assert glance("t.json", '{"é": [1]}').text == '{\n "é": [\n  1\n ]\n}'
    assert glance("t.txt", "x" * 5000).note == "the first 4,000 characters"
    assert glance("t.svg", "<svg/>").address.startswith("data:image/svg+xml;base64,")
    assert glance("broken.json", "{").note.startswith("no preview: JSONDecodeError")


def test_a_curve_of_many_points_keeps_its_peaks():
    points = [(step, 0.0) for step in range(100_000)]
    points[54_321] = (54_321, 9.0)
    assert (54_321, 9.0) in thin(points)
    assert len(thin(points)) <= 320
    assert "100000 points, 0 to 9, at last 0" in curve_svg("m", dict(points))
    assert curve_svg("m", {0: "nan", 1: "inf"}) == ""


# --- only what is new -----------------------------------------------------------------------------


def test_a_second_time_nothing_is_written(store, site):
    for number in range(3):
        Runs(store).add(number)
    assert written(store, site).written == 3
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    built = written(store, site)
    assert (built.written, built.kept, built.removed) == (0, 3, 0)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before


def test_of_a_new_run_only_its_own_pages_and_the_list_are_written(store, site):
    old = Runs(store).add(1)
    written(store, site)
    before = files_of(site)
    new = Runs(store).add(2)
    assert written(store, site).written == 1
    changed = {name for name, content in files_of(site).items() if before.get(name) != content}
    assert {name for name in changed if not name.startswith(f"runs/{new}/")} == {
        ".dsml-site.json",
        "index.html",
        "runs.js",
    }
    assert list(rows(site)) == [new, old]


def test_a_run_under_way_is_written_until_it_has_ended(store, site):
    runs = Runs(store)
    run = runs.add(1, {"a.b": Done(), "c.d": Done()}, status="running")
    assert [written(store, site).written for _ in range(2)] == [1, 1]
    assert rows(site)[run]["status"] == "running"
    assert "c.d ● running" in page(site, "runs", run, "index.html").text
    runs.end(run, 1)
    assert [written(store, site).written for _ in range(2)] == [1, 0]
    assert rows(site)[run]["status"] == "passed"


def test_a_killed_run_is_told_and_not_written_again(store, site):
    run = Runs(store).add(1, status="running", process=gone())
    assert [written(store, site).written for _ in range(2)] == [1, 0]
    assert rows(site)[run]["status"] == "killed"


def gone():
    """The mark of a process that is there no more."""
    from dsml.step.process import mark

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host, _, started = mark().rsplit(":", 2)
    return f"{host}:{process.pid}:{started}"


def test_a_run_that_is_gone_vanishes_and_so_do_the_links_to_it(new_local, site):
    store = new_local()
    first = Runs(store).add(1)
    second = Runs(store).add(2, {"c.d": Done(inputs={"x": given("a.b.x", first)})})
    written(store, site)
    shutil.rmtree(store.root / ".runs" / first)
    built = written(store, site)
    assert (built.written, built.removed) == (1, 1)
    assert list(rows(site)) == [second]
    assert not (site / "runs" / first).exists()
    assert "is gone" in page(site, "runs", second, "index.html").text
    assert dead_links(site) == []


def test_a_run_that_carries_on_another_leads_to_it_as_long_as_it_is_there(new_local, site):
    store = new_local()
    first = Runs(store).add(1, {"a.b": Done(error="x")})
    second = Runs(store).add(2, parent=first)
    written(store, site)
    links = [link.get("href") for link in page(site, "runs", second, "index.html").all("a")]
    assert f"../{first}/index.html" in links
    shutil.rmtree(store.root / ".runs" / first)
    assert written(store, site).written == 1
    assert dead_links(site) == []


def test_a_site_that_grew_is_the_one_that_is_written_at_once(store, site, tmp_path):
    runs = Runs(store)
    first = runs.add(1, {"a.b": Done(metrics={"m": 1.0})})
    written(store, site)
    runs.add(2, {"c.d": Done(inputs={"x": given("a.b.x", first)}, metrics={"m": 2.0})})
    written(store, site)
    runs.add(3, {"a.b": Done(error="x")})
    written(store, site)
    written(store, tmp_path / "another")
    assert files_of(site) == files_of(tmp_path / "another")
    assert written(store, site, everything=True).written == 3
    assert files_of(site) == files_of(tmp_path / "another")


def test_files_that_a_run_has_no_more_are_removed_with_its_next_page(store, site):
    run = Runs(store).add(1, status="running")
    written(store, site)
    (site / "runs" / run / "old" / "file.html").parent.mkdir()
    (site / "runs" / run / "old" / "file.html").touch()
    (site / "runs" / "unknown").mkdir()
    written(store, site)
    assert not (site / "runs" / run / "old").exists()
    assert not (site / "runs" / "unknown").exists()


def test_a_damaged_record_is_told_and_the_other_runs_are_there(store, site):
    good, bad = Runs(store).add(1), Runs(store).add(2)
    store.write(run_path(store, bad, RUN_FILE), "{")
    told = []
    build(store, "small", site, told.append)
    assert [f"run {bad} cannot be read" in text for text in told] == [True]
    assert list(rows(site)) == [good]


def test_a_folder_that_holds_something_else_is_left_alone(store, site):
    site.mkdir()
    (site / "thesis.tex").touch()
    with pytest.raises(ProjectError, match="holds something else than a site"):
        written(store, site)
    assert list(files_of(site)) == ["thesis.tex"]


@pytest.mark.slow
def test_a_site_whose_writing_is_killed_at_any_moment_fits_together(root, site):
    write_project(root, {"a.b": Step()})
    from dsml.contract.catalog import read_catalog
    from dsml.store import Store

    store = Store.open(root, read_catalog(root, []))
    runs = Runs(store)
    kept = {"executed.ipynb": executed({"text/plain": "3"}), "log.txt": "x\n"}
    ids = [runs.add(number, {"a.b": Done(kept=kept)}) for number in range(15)]
    chance = random.Random(3)
    for round_ in range(3):
        runs.add(100 + round_, {"a.b": Done(inputs={"x": given("a.b.x", ids[round_])}, kept=kept)})
        store.root.joinpath(".runs", ids[-1 - round_], RUN_FILE).unlink()
        shutil.rmtree(store.root / ".runs" / ids[-1 - round_])
        begun, enough = time.time(), chance.randrange(1, 45)
        process = start(root, "report", "--all", "--out", str(site))
        wait_until(lambda n=enough, t=begun: written_since(site, t) >= n, poll=0.02)
        kill_group(process)
        for file in site.rglob("*.html"):
            assert file.read_text(encoding="utf-8").endswith(("</html>\n", "</html>"))
        if (site / "index.html").exists():
            for run in rows(site):
                assert (site / "runs" / run / "index.html").exists()
    run_command(sys.executable, "-m", "dsml", "report", "--out", site, cwd=root)
    assert dead_links(site) == []
    assert len(rows(site)) == 15
    fresh = site.with_name("fresh")
    run_command(sys.executable, "-m", "dsml", "report", "--out", fresh, cwd=root)
    assert files_of(site) == files_of(fresh)


def written_since(site, moment):
    """How many pages have been written since a moment."""
    return sum(path.stat().st_mtime > moment for path in site.rglob("[!.]*.html"))


@pytest.mark.slow
def test_a_run_more_among_500_takes_seconds_and_no_page_is_large(new_local, site, record_property):
    store = new_local()
    runs = Runs(store)
    kept = {"executed.ipynb": executed({"text/plain": "3"}), "log.txt": "x\n"}
    for number in range(500):
        metrics = {f"metric_{n}": number / (n + 1) for n in range(8)}
        done = Done(parameters={f"p{n}": n for n in range(12)}, metrics=metrics)
        runs.add(number, {"load.data": Done(), "train.fit": done}, experiment=f"e{number % 7}")
    built, seconds = timed(store, site)
    record_property("site: 500 runs at once", f"{seconds:.1f} s")
    assert built.written == 500
    runs.add(500, {"load.data": Done(), "train.fit": Done(kept=kept)})
    built, seconds = timed(store, site)
    record_property("site: one run more among 500", f"{seconds:.2f} s")
    assert (built.written, built.kept) == (1, 500)
    assert seconds < 10
    _, seconds = timed(store, site)
    record_property("site: nothing new among 501 runs", f"{seconds:.2f} s")
    assert seconds < 3
    largest = max((path.stat().st_size, path.name) for path in site.rglob("*") if path.is_file())
    record_property("site: largest file with 501 runs", f"{largest[0] / 1e3:.0f} kB, {largest[1]}")
    index = sum((site / name).stat().st_size for name in ("index.html", "runs.js"))
    assert max(largest[0], index) < 2e6


def timed(store, site):
    begun = time.monotonic()
    built = written(store, site)
    return built, time.monotonic() - begun


# --- reports for readers --------------------------------------------------------------------------

REPORT = [
    "import sys\nprint('for readers')\nprint('a warning', file=sys.stderr)",
    "from IPython.display import HTML\nHTML('<p>a figure</p><script>document.title=1</script>')",
]


@pytest.mark.slow
def test_a_marked_step_leaves_a_report_without_code_which_the_run_links_first(root, site):
    work = [*REPORT, "context.save('x', {})"]
    steps = {
        "a.plain": Step("context.save('x', 1)", outs={"x": "x.json"}),
        "b.told": Step(work, outs={"x": "x.json"}, declared={"report": True}),
    }
    ran = execute(write_project(root, steps))
    assert ran.passed, ran.log
    text = (ran.attempt("b.told") / "report.html").read_text(encoding="utf-8")
    assert not (ran.attempt("a.plain") / "report.html").exists()
    assert "for readers" in text
    assert "<title>b.told</title>" in text
    for absent in ("get_context", "In [", "Out[", "a warning", "op_parameters"):
        assert absent not in text
    assert "script-src" not in text
    assert "default-src &#39;none&#39;" in text
    assert "@page" in text
    run_command(sys.executable, "-m", "dsml", "report", "--out", site, cwd=root)
    links = [a.get("href") for a in page(site, "runs", ran.run_id, "index.html").all("a")]
    assert next(link for link in links if "b.told" in link) == "b.told/1/report.html"
    assert rows(site)[ran.run_id]["reports"] == [["b.told", "1"]]
    assert (site / "runs" / ran.run_id / "b.told/1/report.html").read_text() == text
    assert dead_links(site) == []


def test_a_step_that_failed_leaves_no_report(run_step):
    ran = run_step(["1 / 0"], declared={"report": True})
    assert not ran.passed
    assert not (ran.attempt("a.b") / "report.html").exists()


def test_cells_that_are_tagged_for_it_are_left_out_of_a_report():
    import nbformat

    from dsml.evidence.site.notebooks import report_page

    notebook = nbformat.reads(
        executed(*({"text/plain": text} for text in ("shown", "hidden", "gone"))), as_version=4
    )
    notebook.cells[2].metadata["tags"] = ["remove-output"]
    notebook.cells[3].metadata["tags"] = ["remove-cell"]
    text = report_page(notebook, address("a.b", run_id_of(1)))
    assert f"a.b, run {run_id_of(1)}" in text
    assert "<title>A title</title>" in text
    assert "shown" in text
    assert "hidden" not in text
    assert "gone" not in text


def test_a_cell_that_other_notebooks_have_too_is_cleaned_once(monkeypatch):
    import nbconvert.filters
    import nbformat

    from dsml.evidence.site import notebooks

    cleaned = []
    clean = nbconvert.filters.clean_html
    monkeypatch.setattr(
        nbconvert.filters, "clean_html", lambda text: cleaned.append(text) or clean(text)
    )
    exporter = notebooks._exporter.__wrapped__()
    monkeypatch.setattr(notebooks, "_exporter", lambda: exporter)
    cells = [nbformat.v4.new_code_cell("1 < 2")]
    page = notebooks.notebook_page(nbformat.v4.new_notebook(cells=cells), "a.b")
    once = len(cleaned)
    assert once
    assert notebooks.notebook_page(nbformat.v4.new_notebook(cells=cells), "a.b") == page
    assert len(cleaned) == once


def test_the_mark_of_a_report_is_true_or_false_and_stands_in_a_notebook(root):
    with pytest.raises(ProjectError, match="report: 'yes' is neither true nor false"):
        write_project(root, {"a.b": Step(declared={"report": "yes"})})
    (root / "stages/a/b.ipynb").unlink()
    (root / "stages/a/b.py").write_text(
        'op_parameters = {"outs": {"x": "x.json"}, "report": True}\n\n\n'
        "def step_fn():\n    return 1\n",
        encoding="utf-8",
    )
    done = run_command(sys.executable, "-m", "dsml", "check", cwd=root, check=False)
    assert "report: a Python step has no texts and figures that readers could be shown" in (
        done.stdout + done.stderr
    )


@pytest.mark.slow
def test_a_step_that_was_unchanged_leads_to_the_run_that_has_its_notebook(root, site):
    steps = {
        "a.b": Step("context.save('x', 1)", outs={"x": "x.json"}),
        "b.c": Step("context.save('y', 1)", ins={"x": "a.b.x"}, outs={"y": "y.json"}),
    }
    write_project(root, steps)
    first, second = (execute(root) for _ in range(2))
    run_command(sys.executable, "-m", "dsml", "report", "--out", site, cwd=root)
    shown = page(site, "runs", second.run_id, "index.html")
    assert f"unchanged since run {first.run_id[:8]}" in shown.text
    assert f"../{first.run_id}/b.c/index.html" in [a.get("href") for a in shown.all("a")]
    assert dead_links(site) == []


@pytest.mark.slow
def test_the_command_says_what_it_has_written_and_where(root):
    ran = execute(write_project(root, {"a.b": Step()}))
    done = run_command(sys.executable, "-m", "dsml", "report", cwd=root)
    assert done.stdout.splitlines() == [
        "1 run written, 0 as before, 0 removed",
        str(Path("site", "index.html")),
    ]
    assert (root / "site" / "runs" / ran.run_id / "index.html").is_file()
    opener = root / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text('#!/bin/sh\necho "$1" > opened\n')
    opener.chmod(0o755)
    path = f"{opener.parent}{os.pathsep}{os.environ['PATH']}"
    run_command(sys.executable, "-m", "dsml", "report", "--open", cwd=root, PATH=path)
    wait_until(lambda: (root / "opened").exists() and (root / "opened").read_text())
    assert (root / "opened").read_text().strip() == str(root / "site" / "index.html")
    done = run_command(
        sys.executable, "-m", "dsml", "report", "--out", "stages", cwd=root, check=False
    )
    assert done.returncode == 1
    assert "'stages' holds something else than a site of dsml report" in done.stderr
