"""Kernels, started as any other process is and forked from a warm one: both do the same."""

from __future__ import annotations

import json
import os
import sys
import time

import nbformat
import psutil
import pytest
from conftest import run_command

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.orchestrate import warm
from dsml.step.process import environment_of

from .conftest import execute
from .projects import Step, end_warm, wait_until, write_project

pytestmark = pytest.mark.slow

PLAIN, WARM = "plain", "warm"


@pytest.fixture(params=[PLAIN, WARM])
def kind(request):
    return request.param


@pytest.fixture
def run(kind, root, monkeypatch):
    """Run a project of one step, `a.b`, in a kernel of a kind."""
    monkeypatch.setattr(warm, "_WARM", [])

    def run(*works, outs=(), steps=None, preload=(), **declared):
        one = {"a.b": Step(works, outs={name: f"{name}.json" for name in outs}, declared=declared)}
        write_project(root, steps or one, preload=list(preload))
        if kind == WARM:
            warm.warm_up(load_project(root), "threads")
        return execute(root)

    yield run
    for process in warm._WARM:
        end_warm(process)


def outputs(ran, step="a.b"):
    """The outputs of the last cell of the executed notebook."""
    notebook = nbformat.read(ran.attempt(step) / "executed.ipynb", as_version=4)
    return notebook.cells[-1].outputs


def out(ran, name, step="a.b"):
    folder = ran.root / "artefacts" / "baseline" / "/".join(step.split(".")) / ran.run_id
    return json.loads((folder / f"{name}.json").read_text())


def test_rich_output_is_kept(run):
    (found,) = outputs(run("from IPython.display import HTML\nHTML('<b>bold</b>')"))
    assert found.data["text/html"] == "<b>bold</b>"


@pytest.mark.parametrize("preload", [(), ("matplotlib.pyplot",)])
def test_a_figure_is_shown_below_its_cell(run, preload):
    ran = run("import matplotlib.pyplot as plt\nplt.plot([1, 2])", preload=preload)
    assert "image/png" in outputs(ran)[-1].data


def test_a_cell_may_await(run):
    (found,) = outputs(run("import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')"))
    assert found.text == "awaited\n"


def test_magics_work(run):
    ran = run("found = !echo from the shell", "%env MAGIC=1", "!echo got $MAGIC", "print(found)")
    notebook = nbformat.read(ran.attempt("a.b") / "executed.ipynb", as_version=4)
    said = "".join(o.text for cell in notebook.cells[-2:] for o in cell.outputs)
    assert said.splitlines() == ["got 1", "['from the shell']"]


def test_a_question_is_refused(run):
    ran = run("input('name? ')")
    assert "StdinNotImplementedError" in ran.failure("a.b")


def test_sys_exit_fails_the_step_with_its_code(run):
    ran = run("import sys; sys.exit(3)")
    assert "SystemExit: 3" in ran.failure("a.b")


def test_a_kernel_that_crashes_is_told_with_its_signal(run):
    ran = run("import ctypes; ctypes.string_at(0)")
    assert "the kernel died of signal SIGSEGV" in ran.failure("a.b")


def test_a_kernel_that_leaves_is_told_with_its_code(run):
    ran = run("import os; os._exit(7)")
    assert "the kernel died with exit code 7" in ran.failure("a.b")


def test_a_program_that_is_called_prints_into_the_notebook(run):
    ran = run("!echo from a child\nprint('after')")
    assert "from a child" in outputs(ran)[0].text


def test_processes_of_python_work(run):
    ran = run(
        "%%writefile work.py\ndef double(n):\n    return 2 * n",
        "import multiprocessing, work\n"
        "found = {}\n"
        "for method in ('fork', 'spawn', 'forkserver'):\n"
        "    with multiprocessing.get_context(method).Pool(2) as pool:\n"
        "        found[method] = pool.map(work.double, [1, 2])\n"
        "context.save('found', found)",
        outs=["found"],
    )
    assert out(ran, "found") == {"fork": [2, 4], "spawn": [2, 4], "forkserver": [2, 4]}


def test_an_exit_hook_runs(run, tmp_path):
    file = tmp_path / "left"
    run(f"import atexit, pathlib\natexit.register(pathlib.Path({str(file)!r}).touch)")
    assert file.exists()


def test_100_mb_of_output_arrive(run):
    ran = run("for _ in range(100):\n    print('x' * 1_000_000)")
    assert ran.passed
    assert (ran.attempt("a.b") / "log.txt").stat().st_size > 100_000_000


def test_a_deadline_ends_the_kernel_and_its_children(run, tmp_path):
    file = tmp_path / "pids"
    work = (
        "import os, pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(file)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    begun = time.monotonic()
    ran = run(work, timeout=3)
    assert time.monotonic() - begun < 30
    assert "the deadline of 3 s has passed" in ran.failure("a.b")
    pids = [int(pid) for pid in file.read_text().split()]
    assert wait_until(lambda: not any(map(is_there, pids)), seconds=5)


def is_there(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_interrupt_ends_the_cell_and_keeps_what_it_had_printed(run):
    ran = run(
        "import os, signal, threading, time\n"
        "print('before', flush=True)\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "time.sleep(60)"
    )
    assert "KeyboardInterrupt" in ran.failure("a.b")
    printed, error = outputs(ran)
    assert printed.text == "before\n"
    assert error.ename == "KeyboardInterrupt"


def test_a_program_that_outlives_the_notebook_is_ended(run, tmp_path):
    file = tmp_path / "pid"
    ran = run(
        "import pathlib, subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=False)\n"
        f"pathlib.Path({str(file)!r}).write_text(str(child.pid))"
    )
    assert ran.passed
    assert wait_until(lambda: not is_there(int(file.read_text())), seconds=5)


def test_an_animation_is_shown_as_a_page_of_its_own(run):
    ran = run(
        "import matplotlib.pyplot as plt\n"
        "from matplotlib.animation import FuncAnimation\n"
        "from IPython.display import HTML\n"
        "figure, axes = plt.subplots(figsize=(1, 1))\n"
        "(line,) = axes.plot([0, 1])\n"
        "moving = FuncAnimation(figure, lambda n: [line.set_ydata([n, 1])], frames=2)\n"
        "shown = HTML(moving.to_jshtml()); plt.close(); shown"
    )
    assert "<script" in outputs(ran)[-1].data["text/html"]


FACTS = """
import os, pathlib, signal, sys, threading
context.save("facts", {
    "folder": str(pathlib.Path.cwd()),
    "path": sys.path,
    "name": __name__,
    "file": "__file__" in globals(),
    "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
    "threads": sorted(thread.name.partition("-")[0] for thread in threading.enumerate()),
    "interrupt": str(signal.getsignal(signal.SIGINT)),
    "sigchld": str(signal.getsignal(signal.SIGCHLD)),
    "main": threading.current_thread() is threading.main_thread(),
    "flags": [str(sys.flags), sys.warnoptions],
    "environment": sorted(name for name in os.environ if not name.startswith("PYDEVD_")),
})
"""


def test_both_kinds_find_the_same_around_them(root, monkeypatch):
    monkeypatch.setattr(warm, "_WARM", [])
    write_project(root, {"a.b": Step(FACTS, outs={"facts": "facts.json"})})
    plain = out(execute(root), "facts")
    warm.warm_up(load_project(root), "threads")
    try:
        forked = out(execute(root), "facts")
    finally:
        end_warm(warm._WARM[0])
    for key, found in plain.items():
        assert forked[key] == found, key


def test_random_numbers_differ_from_kernel_to_kernel(run):
    work = "import random, numpy\ncontext.save('drawn', [random.random(), numpy.random.rand()])"
    drawn = {"drawn": "drawn.json"}
    steps = {"a.b": Step(work, outs=drawn), "a.c": Step(work, outs=drawn)}
    ran = run(steps=steps, preload=["numpy"])
    first, second = (out(ran, "drawn", step) for step in steps)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_a_debugger_can_still_be_imported(run):
    assert run("import debugpy, pdb\ndebugpy.__version__").passed


# --- of the warm ones only ------------------------------------------------------------------------


@pytest.fixture
def process(root, monkeypatch):
    work = "import os; context.save('parent', os.getppid())"
    steps = {"a.b": Step(work, outs={"parent": "parent.json"})}
    write_project(root, steps, preload=["json.tool", "no_such"])
    monkeypatch.setattr(warm, "_WARM", [])
    warm.warm_up(load_project(root), "threads")
    yield warm._WARM[0]
    end_warm(warm._WARM[0])


def test_a_kernel_is_forked(process, root):
    assert out(execute(root), "parent") == process._process.pid


def test_where_the_warm_process_is_gone_kernels_start_as_usual(process, root):
    psutil.Process(process._process.pid).kill()
    assert out(execute(root), "parent") == os.getpid()


def test_kernels_end_with_the_process_that_they_are_forked_from(process, root):
    env = environment_of(root)
    file = root / "connection.json"
    kernel = process.start(["-f", str(file)], env, str(root))
    assert kernel is not None
    assert wait_until(file.exists)
    end_warm(process)
    assert wait_until(lambda: not is_there(kernel.pid), seconds=10)


def test_a_kernel_that_comes_too_late_is_ended(process, root, monkeypatch):
    monkeypatch.setattr(warm, "_FORK_TIMEOUT", 0.1)
    parent = psutil.Process(process._process.pid)
    parent.suspend()
    assert process.start(["-f", str(root / "late.json")], environment_of(root), str(root)) is None
    parent.resume()
    assert wait_until(lambda: not process._late)
    assert wait_until(lambda: not parent.children())


def test_a_kernel_with_other_packages_in_reach_is_not_forked(process, root):
    env = {**os.environ, "PYTHONPATH": "/elsewhere"}
    assert process.start(["-f", "x.json"], env, str(root)) is None


def test_under_multiprocess_nothing_is_warmed_up(root, monkeypatch):
    monkeypatch.setattr(warm, "_WARM", [])
    write_project(root, {"a.b": Step()})
    warm.warm_up(load_project(root), "multiprocess")
    assert warm.warm_process() is None


def test_elsewhere_than_on_linux_nothing_is_warmed_up(root, monkeypatch):
    monkeypatch.setattr(warm, "_WARM", [])
    monkeypatch.setattr(warm.sys, "platform", "darwin")
    write_project(root, {"a.b": Step()})
    warm.warm_up(load_project(root), "threads")
    assert warm.warm_process() is None


def test_a_module_that_is_not_there_is_told(root):
    write_project(root, {"a.b": Step()}, preload=["json.tool", "no_such.module"])
    done = run_command(sys.executable, "-m", "dsml", "run", cwd=root)
    assert done.stderr.strip() == "catalog.yml, preload: there is no module 'no_such.module'"


def test_what_is_no_module_is_a_finding(root):
    with pytest.raises(ProjectError, match="preload: 'import os' is no module"):
        write_project(root, {"a.b": Step()}, preload=["import os"])
