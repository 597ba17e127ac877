"""Notebooks that put out far too much: what is kept, what is told of the rest, what it costs."""

from __future__ import annotations

import json
import resource

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dsml.orchestrate import client, warm
from dsml.orchestrate import saved as saved_text
from dsml.orchestrate.kernel import Execution
from dsml.orchestrate.outputs import CellOutputs, Limits, cut, short
from dsml.orchestrate.saved import Saved
from dsml.step.process import environment_of

from .conftest import execute
from .projects import PROJECT_FOLDER, Step, end_warm, wait_until, write_project

SMALL = Limits(text=10, count=4, size=100)


def picture(data):
    return nbformat.from_dict(
        {"output_type": "display_data", "data": {"text/plain": data}, "metadata": {}}
    )


def texts(kept):
    return [o.get("text") or o.data["text/plain"] for o in kept.outputs()]


def notices(outputs):
    return [o for o in outputs if o.get("name") == "stderr" and "left out here" in o.text]


# --- what is kept ---------------------------------------------------------------------------------


def test_what_is_printed_in_small_pieces_is_one_output():
    kept = CellOutputs()
    for _ in range(1000):
        kept.print("stdout", "x")
    assert texts(kept) == ["x" * 1000]


def test_below_the_limits_everything_stays_in_its_order():
    kept = CellOutputs(SMALL)
    kept.print("stdout", "abcdef")
    kept.add(picture("one"))
    kept.print("stderr", "g")
    kept.print("stdout", "hij")
    kept.add(picture("two"))
    assert texts(kept) == ["abcdef", "one", "g", "hij", "two"]


def test_of_a_long_text_the_beginning_and_the_end_are_kept_and_the_rest_is_counted():
    kept = CellOutputs(SMALL)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        kept.print("stdout", letter)
    first, notice, last = texts(kept)
    assert (first, last) == ("abcde", "vwxyz")
    assert "16 characters are left out here" in notice
    assert "log.txt" in notice


def test_after_the_notice_the_text_goes_on_with_a_whole_line():
    kept = CellOutputs(Limits(text=20))
    kept.print("stdout", "first\n" + "\x1b[31mred\n" * 10 + "one\ntwo\n")
    assert texts(kept)[-1] == "one\ntwo\n"


def test_of_many_outputs_the_first_and_the_last_are_kept():
    kept = CellOutputs(SMALL)
    for number in range(9):
        kept.add(picture(str(number)))
    one, two, notice, *last = texts(kept)
    assert [one, two, *last] == ["0", "1", "7", "8"]
    assert "5 outputs" in notice


def test_outputs_that_are_large_count_by_their_size_and_the_last_is_always_kept():
    kept = CellOutputs(SMALL)
    for letter in "abc":
        kept.add(
            nbformat.from_dict(
                {"output_type": "display_data", "data": {"image/png": letter * 60}, "metadata": {}}
            )
        )
    outputs = kept.outputs()
    assert [o.data["image/png"][0] for o in outputs if "data" in o] == ["c"]
    assert len(notices(outputs)) == 1


def test_one_output_that_is_too_large_is_left_out_with_a_notice():
    output = picture("short")
    output.data["text/html"] = "y" * 200
    cut(output, SMALL)
    assert set(output.data) == {"text/plain"}
    assert "an output of 0.0 MB is left out here" in output.data["text/plain"]


def test_a_short_text_is_left_alone_and_a_long_one_says_what_is_missing():
    assert short("ab", 4) == "ab"
    assert short("a" * 10 + "b" * 10, 4) == "aa\n… 16 characters are left out here …\nbb"


def test_what_is_cleared_is_gone_and_no_longer_counts():
    kept = CellOutputs(SMALL)
    kept.print("stdout", "x" * 100)
    kept.clear()
    kept.print("stdout", "new")
    assert texts(kept) == ["new"]


# --- saving ---------------------------------------------------------------------------------------


def test_the_text_that_is_saved_is_that_of_nbformat():
    cells = [new_markdown_cell("# A\n\nb", id="a"), new_code_cell("x = 1\ny", id="b")]
    cells[1].outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="ü\nb\n"),
        picture("one\ntwo"),
    ]
    notebook = new_notebook(cells=cells, metadata={"title": "ü"})
    assert Saved(notebook).text() == nbformat.writes(notebook) + "\n"
    notebook.cells = []
    assert Saved(notebook).text() == nbformat.writes(notebook) + "\n"


def test_saving_again_and_again_makes_each_cell_that_is_done_into_json_once(monkeypatch):
    made = []
    writes = saved_text.v4.writes
    monkeypatch.setattr(saved_text.v4, "writes", lambda n: made.append(len(n.cells)) or writes(n))
    cells = [new_code_cell("x", id=f"c{number}") for number in range(62)]
    notebook = new_notebook(cells=cells)
    saved = Saved(notebook)
    saved.text()
    for number, cell in enumerate(cells):
        cell.outputs = [picture("y" * 300_000)]
        saved.changed(number)
        for _ in range(3):
            saved.text()
    # each of 62 cells before it was run and after; 186 saves of 62 cells would be 11,532
    assert sum(made) == 124, "a save costs more than the cells that have changed"
    assert not saved.is_stale


# --- on kernels -----------------------------------------------------------------------------------


@pytest.fixture
def run_cells(tmp_path):
    """Execute cells in a kernel; the text that they print comes with the execution."""

    def run(*sources):
        notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
        env = environment_of(PROJECT_FOLDER)
        execution = Execution(notebook, tmp_path / "executed.ipynb", tmp_path, env, tmp_path)
        execution.start()
        assert execution.done.wait(120)
        read = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
        return execution, [cell.get("outputs", []) for cell in read.cells]

    return run


def test_an_output_is_updated_in_place_in_this_cell_and_an_earlier_one(run_cells):
    execution, (first, second) = run_cells(
        "from IPython.display import display\nh = display('a', display_id='x')\nh.update('b')",
        "print(1)\ndisplay('other', display_id='x')\nh.update('c')",
    )
    assert execution.failure is None
    assert [o.data["text/plain"] for o in first] == ["'c'"]
    assert second[1].data["text/plain"] == "'c'"


def test_an_output_that_is_cleared_is_gone_at_once_or_when_the_next_one_comes(run_cells):
    _, (at_once, waiting) = run_cells(
        "from IPython.display import clear_output\nprint(1)\nclear_output()\nprint(2)",
        "print(1)\nclear_output(wait=True)\nprint(2)\nclear_output(wait=True)",
    )
    assert [o.text for o in at_once] == ["2\n"]
    assert [o.text for o in waiting] == ["2\n"]


def test_no_message_is_lost_however_fast_they_come(run_cells):
    execution, (outputs,) = run_cells(
        "from IPython.display import display\n"
        "for i in range(5000):\n    print(i, flush=True)\n    display(i)"
    )
    lines = execution.take_output().splitlines()[:5000]
    assert lines == [str(number) for number in range(5000)]
    shown = [o.data["text/plain"] for o in outputs if "data" in o]
    assert shown == [str(n) for n in (*range(100), *range(4900, 5000))]
    (notice,) = notices(outputs)
    assert "4,800 outputs" in notice.text


def test_what_a_kernel_has_sent_before_it_died_is_kept_whole(run_cells):
    execution, (outputs,) = run_cells(
        "import os, sys\nfor i in range(20000):\n    print(i)\n"
        "sys.stdout.flush()\nimport time\ntime.sleep(0.5)\nos._exit(3)"
    )
    assert "exit code 3" in execution.failure.error
    assert outputs[0].text.endswith("19999\n")


def test_an_error_with_an_endless_message_is_cut(run_cells):
    execution, (outputs,) = run_cells("raise ValueError('x' * 5_000_000)")
    assert len(execution.failure.error) < 12_000
    assert len(execution.failure.traceback) < 120_000
    assert len(json.dumps(outputs)) < 200_000


def test_nbclient_still_asks_for_output_where_it_is_taken(run_cells):
    """The private methods that are overridden are still those that nbclient calls."""
    base = client.NotebookClient
    for name in ("_async_poll_output_msg", "_update_display_id", "output", "clear_output"):
        assert callable(getattr(base, name, None)), f"nbclient has no {name} any more"
        assert name in vars(client.Client)


STORM = "for _ in range(200):\n    print(('x' * 99 + '\\n') * 10_000, end='')\nprint('the end')"
PICTURES = """
from IPython.display import display
class Picture:
    def _repr_mimebundle_(self, **_):
        return {"image/png": "iVBORw0KGgo" * 500, "text/plain": "a picture"}
for _ in range(10_000):
    display(Picture())
"""
BESIDE = "import time\nfor _ in range(20):\n    print('tick')\n    time.sleep(0.1)"


@pytest.mark.slow
def test_a_storm_is_cut_in_the_notebook_and_whole_in_the_log(root):
    steps = {"a.prints": Step(STORM), "a.draws": Step(PICTURES), "a.beside": Step(BESIDE)}
    ran = execute(write_project(root, steps))
    assert ran.passed, ran.log
    kept = (ran.attempt("a.prints") / "log.txt").read_text()
    assert kept.count("\n") > 2_000_000
    assert kept.count("x" * 99) == 2_000_000
    for step, told in (("a.prints", "199,000,"), ("a.draws", "9,800 outputs")):
        file = ran.attempt(step) / "executed.ipynb"
        notebook = nbformat.read(file, as_version=4)
        (notice,) = notices(notebook.cells[-1].outputs)
        assert told in notice.text
        assert file.stat().st_size < 5_000_000
        assert (ran.attempt(step) / "executed.html").stat().st_size < 5_000_000
    record = json.loads((ran.attempt("a.beside") / "attempt.json").read_text())
    assert record["cells"][-1]["seconds"] < 4  # of which it sleeps 2
    assert len(ran.log) < 1_000_000


# --- many at once ---------------------------------------------------------------------------------


def meeting(tmp_path, count, env):
    """Kernels that all wait in their cell until each of them is there."""
    go = tmp_path / "go"
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        source = (
            f"import pathlib, time\npathlib.Path({str(folder / 'here')!r}).touch()\n"
            f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.5)\nprint({number})"
        )
        notebook = new_notebook(cells=[new_code_cell(source)])
        yield Execution(notebook, folder / "executed.ipynb", folder, env, folder)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("warm", 200), ("plain", 16)])
def test_many_kernels_that_are_started_at_once_all_start(tmp_path, monkeypatch, kind, count):
    env = environment_of(PROJECT_FOLDER)
    started = [warm.WarmProcess(env, [])] if kind == "warm" else []
    monkeypatch.setattr(warm, "_WARM", started)
    executions = list(meeting(tmp_path, count, env))
    try:
        for execution in executions:
            execution.start()

        def all_there():
            failed = [e.failure for e in executions if e.failure]
            assert not failed, failed[0]
            return len(list(tmp_path.glob("*/here"))) == count

        wait_until(all_there, seconds=90, poll=0.5)
        forked = [e for e in executions if isinstance(e._process, warm.ForkedKernel)]
        assert len(forked) == (count if started else 0)
        (tmp_path / "go").touch()
        for number, execution in enumerate(executions):
            assert execution.done.wait(60)
            assert execution.failure is None
            assert execution.notebook.cells[0].outputs[0].text == f"{number}\n"
    finally:
        for execution in executions:
            if not execution.done.is_set():
                execution.stop("the test is over")
        for process in started:
            end_warm(process)


def test_a_run_may_have_more_files_open_than_a_shell_usually_grants(run_cells):
    run_cells("1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= min(65_536, hard if hard != resource.RLIM_INFINITY else 65_536) or soft == hard


def test_a_save_while_a_cell_runs_has_what_was_printed_so_far(tmp_path):
    notebook = new_notebook(cells=[new_code_cell("import time\nprint('early')\ntime.sleep(60)")])
    env = environment_of(PROJECT_FOLDER)
    execution = Execution(notebook, tmp_path / "e.ipynb", tmp_path, env, tmp_path)
    execution.start()
    file = tmp_path / "e.ipynb"
    try:
        wait_until(lambda: file.is_file() and "early\\n" in file.read_text(), seconds=20)
    finally:
        execution.stop("enough")
    assert execution.done.wait(10)
    printed, stopped = nbformat.read(file, as_version=4).cells[0].outputs
    assert printed.text == "early\n"
    assert stopped.evalue == "enough"
