"""A stand-in for a cluster: Kubernetes' API for jobs, and the command of each job as a process.

It speaks as much of the API as Dagster's executor asks for. Every job is read by the client of
Kubernetes, which knows all there may be in one: what it does not know is refused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, V1Job

NAMESPACE = "tests"


def checked(body: Any) -> V1Job:
    """A job as Kubernetes takes it.

    Raises:
        AssertionError: there is something in it that no job has.
    """
    api = ApiClient()
    job = api._ApiClient__deserialize(body, "V1Job")
    assert api.sanitize_for_serialization(job) == body
    return job


@dataclass
class Cluster:
    """The jobs by name, and the processes of those that have been begun."""

    root: Path
    jobs: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def create(self, body: Any) -> Any:
        """Begin a job."""
        name = body["metadata"]["name"]
        (container,) = checked(body).spec.template.spec.containers
        given = {each.name: each.value for each in container.env if each.value is not None}
        self.jobs[name] = body
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", *container.args],
            cwd=self.root,
            env={**os.environ, **given, "PYTHONPATH": str(self.root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return body

    def status(self, name: str) -> Any:
        """How a job is; None: there is none."""
        if name not in self.processes:
            return None
        code = self.processes[name].poll()
        told = {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}
        return {**self.jobs[name], "status": told}

    def delete(self, name: str) -> Any:
        """End a job as Kubernetes does: it is asked to end."""
        self.jobs.pop(name)
        self.processes[name].terminate()
        return {"kind": "Status", "status": "Success"}

    def kill(self, name: str) -> None:
        """Have the pod of a job gone, and all that runs in it."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)


@contextmanager
def cluster(root: Path, home: Path) -> Iterator[Cluster]:
    """A cluster whose pods run in a project; ``home`` gets a launcher of runs that knows it."""
    found = Cluster(root)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, document: Any) -> None:
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document or {"kind": "Status", "code": 404}).encode())

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            body["metadata"].setdefault("namespace", self.path.split("/")[-2])
            self._answer(found.create(body))

        def do_GET(self) -> None:
            name = self.path.removesuffix("/status").rpartition("/")[2]
            self._answer({"items": []} if "/pods" in self.path else found.status(name))

        def do_DELETE(self) -> None:
            self._answer(found.delete(self.path.partition("?")[0].rpartition("/")[2]))

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _write_launcher(home, f"http://127.0.0.1:{server.server_port}")
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        for process in found.processes.values():
            process.kill()
            process.wait()


def write_kubeconfig(file: Path, address: str) -> None:
    """Tell clients of Kubernetes of a cluster."""
    name = "stand-in"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": address}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    file.write_text(yaml.safe_dump(config), encoding="utf-8")


def _write_launcher(home: Path, address: str) -> None:
    file = home / "kubeconfig.yaml"
    write_kubeconfig(file, address)
    launcher = {
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {
                "load_incluster_config": False,
                "kubeconfig_file": str(file),
                "job_namespace": NAMESPACE,
                "job_image": "registry.example.org/small:1.0",
                "service_account_name": "dagster",
                "dagster_home": str(home),
                "instance_config_map": "dagster-instance",
                "postgres_password_secret": "small-postgresql",
            },
        }
    }
    settings = home / "dagster.yaml"
    settings.write_text(settings.read_text() + "\n" + yaml.safe_dump(launcher), encoding="utf-8")
