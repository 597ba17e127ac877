"""Steps by workers of Dask and Ray on this machine: the same artefacts, also if one is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from conftest import BIN, free_port, run_command
from distributed import LocalCluster

from dsml.orchestrate.remote.ray import ALONE
from dsml.orchestrate.remote.worker import Host

from .projects import (
    Step,
    broken_artefacts,
    instance_of,
    kill_group,
    last_run,
    manifests_of,
    start,
    wait_until,
    write_project,
)

pytestmark = pytest.mark.slow

CLUSTERS = ["dask", "ray"]
TOKEN = "0123456789abcdef" * 4
X = {"x": "x.json"}
# The first time it has the worker killed that it runs on, and would then go on for ever.
LOSES_ITS_WORKER = """
import json, os, signal, time
from pathlib import Path
import psutil
lost = Path("lost.json")
if not lost.exists():
    step, host, worker, *above = psutil.Process().parents()
    cluster = next(each for each in above if "python" in each.name())
    listening = []
    for each in [cluster, *cluster.children(recursive=True)]:
        try:
            found = each.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        listening += [c.laddr.ip for c in found if c.status == "LISTEN"]
    known = {"kernel": os.getpid(), "worker": worker.cmdline()[:5], "listening": listening}
    lost.write_text(json.dumps(known))
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(300)
context.save("x", 1)
"""
FLAKY = """
if context.retry_number < 1:
    raise ValueError("not yet")
context.save("x", 2)
"""
MAPPED = "context.save('x', n)"
END = "context.save('x', sum(context.load('all').values()))"
PYTHON = '''"""Adds."""


def step_fn(x, y, *, more: int = 1):
    return {"z": x + y + more}
'''


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler of Dask that is there already, with two workers."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def ray_address(tmp_path_factory):
    """The address of a cluster of Ray that is there already, and asks for a token."""
    port = free_port()
    # the workers of `ray start` never come where the path of the environment has a space
    environment = tmp_path_factory.mktemp("ray") / "environment"
    environment.symlink_to(BIN.parent, target_is_directory=True)
    command = [environment / "bin" / "python", "-m", "ray.scripts.scripts", "start", "--head"]
    command += ["--block", "--num-cpus=2", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    settings = {**os.environ, **ALONE, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    process = subprocess.Popen(
        [*command, "--min-worker-port=0", "--max-worker-port=0"],
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        else:
            pytest.fail("".join(said))
        yield f"127.0.0.1:{port}"
    finally:
        kill_group(process)
        process.communicate(timeout=60)


@pytest.fixture(params=CLUSTERS)
def there(request):
    """The name of a cluster that is there already, and the variable that leads to it."""
    if request.param == "dask":
        return "dask", {"DASK_SCHEDULER_ADDRESS": request.getfixturevalue("scheduler")}
    address = request.getfixturevalue("ray_address")
    return "ray", {"RAY_ADDRESS": address, "RAY_AUTH_TOKEN": TOKEN, **ALONE}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A project with what a pipeline may have, and what its steps publish when threads run it."""
    root = tmp_path_factory.mktemp("clusters") / "a project"
    steps = {
        "a.lost": Step(LOSES_ITS_WORKER, outs=X),
        "a.flaky": Step(FLAKY, outs=X, declared={"retries": 1, "needs": {"cpu": 2}}),
        "a.list": Step("context.save('x', [3, 4])", outs=X),
        "b.mapped": Step(
            MAPPED, parameters="n: int = 1", outs=X, declared={"map": {"n": "a.list.x"}}
        ),
        "b.end": Step(END, ins={"all": "b.mapped.x"}, outs=X),
    }
    ins = {"x": "a.lost.x", "y": "a.flaky.x"}
    wired = {"sum": {"run": "stages/a/add.py", "ins": ins, "outs": ["z.json"]}}
    (root / "stages" / "a").mkdir(parents=True)
    (root / "stages" / "a" / "add.py").write_text(PYTHON)
    write_project(root, steps, pipelines={"all": {"select": "*", "steps": wired}})
    (root / "stages" / "a" / "lost.json").touch()
    run(root, "threads")
    return root, published(root)


def run(root, executor, *arguments, **environment):
    command = (sys.executable, "-m", "dsml", "run", "--executor", executor, "--json", "--force")
    done = run_command(*command, *arguments, cwd=root, **environment)
    return json.loads(done.stdout)


def published(root):
    """The sha256 of every artefact of the newest run of each step."""
    return {
        f"{name}.{out}": output.sha256
        for name, manifest in manifests_of(root).items()
        for out, output in manifest.outputs.items()
    }


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_worker_that_is_killed_in_a_step_costs_nothing_but_time(chain, cluster):
    root, expected = chain
    lost = root / "stages" / "a" / "lost.json"
    lost.unlink(missing_ok=True)
    document = run(root, cluster, "--workers", "2")
    known = json.loads(lost.read_text())
    assert cluster in " ".join(known["worker"])
    assert not psutil.pid_exists(known["kernel"])
    assert document["status"] == "success"
    assert published(root) == expected
    broken = broken_artefacts(root / "artefacts")
    assert all("/b/mapped/" in file for file in broken), broken  # that is a folder, and no file
    told = logged(root)
    assert "The worker that executed a__lost is gone; it is executed again" in told
    # a result that the lost worker had not handed on yet is made once more
    assert [each["number"] for each in attempts(root, "a.flaky")][:2] == [1, 2]
    # the first was lost with its worker
    assert [each["number"] for each in attempts(root, "a.lost")] == [2]
    assert {address.removeprefix("::ffff:") for address in known["listening"]} == {"127.0.0.1"}


def logged(root):
    """The messages of the newest run."""
    found = last_run(root)
    assert found is not None
    with instance_of(root) as instance:
        events = [entry.dagster_event for entry in instance.all_logs(found.run_id)]
    return "\n".join(event.message or "" for event in events if event is not None)


def attempts(root, step):
    """The records of the attempts at a step in the newest run."""
    run_id = manifests_of(root)[step].run_id
    files = root.glob(
        f"artefacts/baseline/{step.replace('.', '/')}/{run_id}/attempts/*/attempt.json"
    )
    return sorted((json.loads(file.read_text()) for file in files), key=lambda each: each["number"])


SLEEP = """
import os, time
from pathlib import Path
print("before", flush=True)
Path("part").write_text(str(os.getpid()))
Path("part").rename("begun")
time.sleep(120)
"""


def test_a_run_that_is_cancelled_ends_its_steps_and_keeps_what_they_had(
    root, there, record_property
):
    name, variable = there
    write_project(root, {"a.sleeps": Step(SLEEP, outs=X), "b.waits": Step(after=["a.sleeps"])})
    begun = root / "stages" / "a" / "begun"
    process = start(root, "run", "--executor", name, "--json", **variable)
    try:
        wait_until(lambda: begun.exists() or process.poll() is not None, 240)
    except AssertionError as error:
        kill_group(process)
        raise AssertionError(f"{error}\n{process.communicate()}\n{logged(root)}") from error
    assert begun.exists(), process.communicate()
    kernel = int(begun.read_text())
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: not psutil.pid_exists(kernel))
    record_property(f"{name}: the kernel is gone after Ctrl-C", f"{time.monotonic() - began:.1f} s")
    out, err = process.communicate(timeout=60)
    assert json.loads(out)["status"] == "canceled", err
    (record,) = [json.loads(f.read_text()) for f in root.rglob("attempts/1/attempt.json")]
    assert record["status"] == "cancelled"
    (notebook,) = root.glob("artefacts/baseline/a/sleeps/*/attempts/1/*.ipynb")
    assert "before" in notebook.read_text()
    (trace,) = root.glob("artefacts/.runs/*/trace.json")
    assert "cancelled" in trace.read_text()


def test_a_step_that_is_stopped_is_seen_to_its_end_however_often_the_worker_is_interrupted(
    monkeypatch,
):
    answers = iter([KeyboardInterrupt, False, KeyboardInterrupt, False, True])

    def is_over(*_):
        answer = next(answers)
        if answer is KeyboardInterrupt:
            raise KeyboardInterrupt
        return answer

    said = []
    monkeypatch.setattr(Host, "_is_over", is_over)
    monkeypatch.setattr(Host, "_say", lambda _, line: said.append(line))
    host = object.__new__(Host)
    host._told, host._under_way = threading.Condition(), {}
    with pytest.raises(KeyboardInterrupt):
        host.run("folder", lambda: False)
    assert next(answers, "none is left") == "none is left"
    assert said == ["folder", "", ""]
