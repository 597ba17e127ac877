"""The values for Dagster's Helm chart, and the pods that they lead to.

The chart itself is not to be had here. What it makes of the values is written down below as its
templates do it; Dagster's own code then builds the pods, and the client of Kubernetes reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import files_of
from dagster import DagsterRun
from dagster._config import process_config
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job, get_user_defined_k8s_config
from kubernetes.client import ApiClient
from runtime.pods import checked, write_kubeconfig

from dsml.contract.needs import Needs
from dsml.contract.spec import StepSpec
from dsml.orchestrate.needs import op_tags

FILES = {
    ".dockerignore",
    "deploy/Dockerfile",
    "deploy/values.yaml",
    "docs/kubernetes.md",
}
DEPLOYMENTS = ("dagsterWebserver", "dagsterDaemon")


@pytest.fixture(scope="module")
def values(clustered) -> Any:
    return yaml.safe_load((clustered / "deploy" / "values.yaml").read_text(encoding="utf-8"))


def code_server(values: Any) -> Any:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    return deployment


def test_a_cluster_adds_exactly_these_files(digits, clustered):
    assert files_of(clustered) - files_of(digits) == FILES


def test_no_container_is_root_or_can_become_it(values):
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    for each in (*(values[name] for name in DEPLOYMENTS), code_server(values), launcher):
        security = each["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == 10001
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_every_container_has_resources_and_the_image_that_was_tested(values):
    for each in (*(values[name] for name in DEPLOYMENTS), code_server(values)):
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in each["resources"]["limits"]
        assert each["image"] == code_server(values)["image"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", each["image"]["tag"])
        assert each["image"]["pullPolicy"] == "IfNotPresent"


def test_nothing_is_reached_from_outside_of_the_cluster(values):
    assert values["dagsterWebserver"]["service"] == {"type": "ClusterIP", "port": 3000}
    assert values["dagsterWebserver"]["readinessProbe"]["httpGet"]["port"] == 3000
    assert values["ingress"] == {"enabled": False}
    assert values["telemetry"] == {"enabled": False}


def test_secrets_are_named_and_none_is_written_down(clustered, values):
    assert values["global"]["postgresqlSecretName"] == "digits-demo-postgresql"
    assert values["generatePostgresqlPasswordSecret"] is False
    assert code_server(values)["envSecrets"] == [{"name": "digits-demo-storage"}]
    text = (clustered / "deploy" / "values.yaml").read_text(encoding="utf-8")
    assert not re.search(r"(?i)^\s*(postgresqlPassword|password):", text, re.MULTILINE)


def test_the_environment_of_the_values_and_the_home_are_those_of_the_image(clustered, values):
    dockerfile = (clustered / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"DAGSTER_HOME={values['global']['dagsterHome']}" in dockerfile
    assert "mkdir --parents /dagster/storage" in dockerfile
    assert "per_run" not in dockerfile
    assert code_server(values)["env"] == [{"name": "DSML_ENV", "value": "prod"}]


# --- pods -----------------------------------------------------------------------------------------


def launcher_config(values: Any) -> dict[str, Any]:
    """What the chart writes into dagster.yaml for its launcher of runs."""
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    return {
        "load_incluster_config": given["loadInclusterConfig"],
        "job_namespace": "default",
        "image_pull_policy": given["imagePullPolicy"],
        "service_account_name": "dagster",
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "security_context": given["securityContext"],
        "run_k8s_config": {
            "pod_spec_config": given["runK8sConfig"]["podSpecConfig"],
            "job_spec_config": given["runK8sConfig"]["jobSpecConfig"],
        },
    }


def container_context(values: Any) -> dict[str, Any]:
    """What the chart tells the code server of the pods of its runs."""
    given = code_server(values)
    return {
        "image_pull_policy": given["image"]["pullPolicy"],
        "env_secrets": [secret["name"] for secret in given["envSecrets"]],
        "resources": given["resources"],
        "namespace": "default",
        "env": given["env"],
    }


@pytest.fixture(scope="module")
def pod_of(values: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The pod of a step with such tags, as Dagster's executor makes it of what the chart tells."""
    file = tmp_path_factory.mktemp("cluster") / "kubeconfig.yaml"
    write_kubeconfig(file, "http://127.0.0.1:9")
    asked = {
        **launcher_config(values),
        "load_incluster_config": False,
        "kubeconfig_file": str(file),
    }
    known = process_config(K8sRunLauncher.config_type(), asked)
    assert known.success, known.errors
    launcher = K8sRunLauncher.from_config_value(None, known.value)
    of_run = K8sContainerContext.create_for_run(DagsterRun("all"), launcher, include_run_tags=False)
    of_code = K8sContainerContext.create_from_config({"k8s": container_context(values)})
    image = code_server(values)["image"]

    def pod(tags: dict[str, str]) -> Any:
        own = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags))
        context = of_run.merge(of_code).merge(own)
        job = construct_dagster_k8s_job(
            context.get_k8s_job_config(f"{image['repository']}:{image['tag']}", launcher),
            ["dagster"],
            "step",
            context.run_k8s_config,
            component="step_worker",
        )
        checked(ApiClient().sanitize_for_serialization(job))
        return job.spec.template.spec

    return pod


def test_a_pod_has_what_its_step_needs_and_else_what_the_values_say(pod_of):
    plain = pod_of({}).containers[0]
    assert plain.resources.limits == {"memory": "4Gi"}
    step = StepSpec("a", "b", "stages/a/b.ipynb", needs=Needs(4, 16 * 2**30, 2))
    large = pod_of(op_tags(step)).containers[0]
    assert large.resources.requests == {"cpu": "4", "memory": str(16 * 2**30)}
    assert large.resources.limits == {"memory": str(16 * 2**30), "nvidia.com/gpu": "2"}


def test_a_pod_is_that_of_a_user_without_rights_and_gets_secrets_by_name(pod_of):
    pod = pod_of({})
    (container,) = pod.containers
    assert container.security_context.run_as_user == 10001
    assert container.security_context.allow_privilege_escalation is False
    assert pod.security_context.run_as_non_root is True
    assert [each.secret_ref.name for each in container.env_from] == ["digits-demo-storage"]
    assert {each.name: each.value for each in container.env}["DSML_ENV"] == "prod"
    assert container.image == "registry.example.org/digits-demo:0.1.0"
