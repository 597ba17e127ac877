"""Steps in pods: Dagster's executor for Kubernetes, on a stand-in for the cluster."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from conftest import run_command

from .pods import NAMESPACE, cluster
from .projects import Step, manifests_of, wait_until, write_project

X = {"x": "x.json"}
NEEDS = {"cpu": 2, "memory": "4 Gi", "gpu": 1}
FIRST = """
import time
from pathlib import Path
if not Path("begun").exists():
    Path("begun").touch()
    time.sleep(300)
context.save("x", [1, 2])
"""
STEPS = {
    "a.first": Step(FIRST, outs=X, declared={"needs": NEEDS, "retries": 1}),
    "b.second": Step("context.save('x', sum(context.load('x')))", ins={"x": "a.first.x"}, outs=X),
}


@pytest.mark.slow
def test_each_step_has_a_pod_with_what_it_needs_and_one_that_is_lost_is_tried_again(root):
    write_project(root, STEPS, pipelines={"all": {"executor": "k8s"}})
    begun = root / "stages" / "a" / "begun"

    def lose():
        wait_until(begun.exists, 200)
        pods.kill(next(iter(pods.processes)))

    with cluster(root, root / ".dagster") as pods:
        threading.Thread(target=lose, daemon=True).start()
        done = run_command(sys.executable, "-m", "dsml", "run", "--json", cwd=root)
        jobs = list(pods.jobs.values())
    assert json.loads(done.stdout)["status"] == "success"
    assert manifests_of(root)["b.second"].outputs["x"].bytes == len("3\n")
    assert len(jobs) == 3
    first, again, second = [j["spec"]["template"]["spec"] for j in jobs]
    assert first["serviceAccountName"] == "dagster"
    assert first["containers"][0]["image"] == "registry.example.org/small:1.0"
    assert (
        first["containers"][0]["resources"]
        == again["containers"][0]["resources"]
        == {
            "requests": {"cpu": "2", "memory": str(4 * 2**30)},
            "limits": {"memory": str(4 * 2**30), "nvidia.com/gpu": "1"},
        }
    )
    assert not second["containers"][0].get("resources")
    assert {job["metadata"]["labels"]["dagster/op"] for job in jobs} == {"a__first", "b__second"}
    assert {job["metadata"]["namespace"] for job in jobs} == {NAMESPACE}


def test_where_no_runs_are_launched_in_a_cluster_there_are_no_pods(root):
    write_project(root, {"a.b": Step()})
    done = run_command(
        sys.executable, "-m", "dsml", "run", "--executor", "k8s", cwd=root, check=False
    )
    assert done.returncode == 1
    assert "this Dagster starts its runs on this machine, and not in a cluster" in done.stderr
    assert "Traceback" not in done.stderr
