"""Kill -9 of kernels, workers and runs, at moments that are chosen by what they have done."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.store import Layout, Store

from . import killed
from .projects import (
    Step,
    broken_artefacts,
    kill_group,
    processes_of,
    start,
    wait_until,
    write_project,
)

pytestmark = pytest.mark.slow

OUTS = {"x": "x.json", "y": "y.json"}
SAVE = "context.save('x', 1)\ncontext.save('y', [2] * 1000)"
AGAIN = "context.save('x', context.load('x') + 1)\ncontext.save('y', 3)"


def project(root, kind):
    executor = "multiprocess" if kind == "worker" else "threads"
    retries = {"declared": {"retries": 1}}
    write_project(
        root,
        {
            "a.one": Step(SAVE, outs=OUTS, **retries),
            "a.two": Step(AGAIN, {"x": "a.one.x"}, OUTS, **retries),
        },
        pipelines={"all": {"executor": executor}},
    )


def run(root, *arguments, **environment):
    process = start(root, "run", *arguments, **environment)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        kill_group(process)
    wait_until(lambda: not processes_of(root), seconds=30)
    return process.returncode, out, err


def values(root):
    """What is read of the two steps."""
    folder = root / "artefacts"
    store = Store(UPath(folder), Layout(DEFAULT_PATTERN), folder)
    newest = (store.newest(name, "baseline") for name in ("a.one", "a.two"))
    files = (store.path(found.origin, found.outputs["x"].file) for found in newest)
    return [json.loads(file.read_bytes()) for file in files]


@pytest.mark.parametrize("kind", killed.KINDS)
def test_after_a_kill_nothing_is_half_done_and_the_run_can_be_carried_on(
    tmp_path, kind, record_property
):
    counted = tmp_path / "counted"
    project(counted, kind)
    assert run(counted, **killed.environment(tmp_path, counted, kind, "count"))[0] == 0
    count = killed.changes(tmp_path, kind)
    ended = Counter()
    for turn, number in enumerate(killed.moments(kind, count)):
        root = tmp_path / f"{turn} killed at {number}"
        project(root, kind)
        code, out, err = run(root, **killed.environment(root.parent, root, kind, number))
        assert "Traceback" not in out + err
        assert broken_artefacts(root / "artefacts") == []
        how = carried_on(root, code)
        assert values(root) == [1, 2]
        assert broken_artefacts(root / "artefacts") == []
        if killed.forget(root.parent, kind, number):  # else it has ended before it came so far
            ended[how] += 1
            print(f"KILLED {kind} at {number} of {count}: {how}")
        if ended.total() == killed.MOMENTS:
            break
    record_property(f"{kind}, killed at {killed.MOMENTS} of {count} moments", str(dict(ended)))


def carried_on(root, code):
    """How a run came to its end in spite of a kill."""
    if code == 0:
        return "passed by itself"
    code, out, err = run(root, "--from-failure", "latest")
    if code == 0:
        return "carried on"
    assert "Traceback" not in out + err
    if "has nothing left to do" in err:
        return "had published all"
    assert not list(root.glob("artefacts/.runs/*/begun/*")), err  # no step had begun
    code, out, err = run(root)
    assert code == 0, out + err
    return "begun anew"
