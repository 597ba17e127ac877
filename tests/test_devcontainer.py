"""The container to work in: what its tools understand, and what the project has."""

from __future__ import annotations

import json
import re

import pytest
from conftest import targets

# Those of https://containers.dev/implementors/json_reference that a container of an image may have.
KEYS = {
    "capAdd",
    "containerEnv",
    "containerUser",
    "customizations",
    "features",
    "forwardPorts",
    "hostRequirements",
    "image",
    "init",
    "initializeCommand",
    "mounts",
    "name",
    "onCreateCommand",
    "otherPortsAttributes",
    "overrideCommand",
    "overrideFeatureInstallOrder",
    "portsAttributes",
    "postAttachCommand",
    "postCreateCommand",
    "postStartCommand",
    "privileged",
    "remoteEnv",
    "remoteUser",
    "runArgs",
    "securityOpt",
    "shutdownAction",
    "updateContentCommand",
    "updateRemoteUserUID",
    "userEnvProbe",
    "waitFor",
    "workspaceFolder",
    "workspaceMount",
}
AUTO_FORWARD = {"notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore"}
VARIABLES = {"devcontainerId", "containerWorkspaceFolder"}


def container_of(project):
    file = project / ".devcontainer" / "devcontainer.json"
    return json.loads(file.read_text(encoding="utf-8"))


def test_its_file_has_only_what_the_tools_document(digits):
    found = container_of(digits)
    assert found.keys() <= KEYS
    assert all(isinstance(port, int) for port in found["forwardPorts"])
    attributes = [*found["portsAttributes"].values(), found["otherPortsAttributes"]]
    assert {each["onAutoForward"] for each in attributes} <= AUTO_FORWARD
    assert set(re.findall(r"\$\{(\w+)\}", json.dumps(found))) <= VARIABLES
    mount = dict(part.split("=", 1) for part in found["mounts"][0].split(","))
    assert mount.keys() == {"source", "target", "type"}


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_its_image_has_a_full_version_and_the_oldest_python_of_the_project(bake, version):
    image = container_of(bake(python_version=version))["image"]
    tag = re.escape(version)
    assert re.fullmatch(rf"mcr\.microsoft\.com/devcontainers/python:\d+\.\d+\.\d+-{tag}-\w+", image)


def test_it_forwards_the_ports_of_dagster_and_jupyter_to_somebody_who_is_not_root(digits):
    found = container_of(digits)
    assert found["forwardPorts"] == [3000, 8888]
    assert found["portsAttributes"].keys() == {"3000", "8888"}
    assert found["remoteUser"] == "vscode"
    assert "port ?= 3000" in (digits / "Makefile").read_text(encoding="utf-8")


def test_it_installs_with_uv_what_make_installs(digits):
    command = container_of(digits)["postCreateCommand"]
    called = re.findall(r"\bmake (\w+)", command)
    assert called == ["install", "doctor"]
    assert set(called) <= targets(digits / "Makefile")
    assert command.index("uv") < command.index("make install")


def test_any_name_of_a_project_fits_into_it(bake):
    name = 'a "quoted" \\ name, 🎉 <b>&amp;</b>'
    project = bake(project_name=name, project_slug="quoted", example="empty")
    assert container_of(project)["name"] == name
