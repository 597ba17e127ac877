"""What a step needs of a machine, in the tags that Dagster hands to executors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dsml.contract.needs import Needs
from dsml.contract.spec import StepSpec

NEEDS_TAG = "dsml/needs"
_K8S_TAG = "dagster-k8s/config"
_GPU = "nvidia.com/gpu"  # as the device plugin of the usual ones names it


def op_tags(step: StepSpec) -> dict[str, str]:
    """The tags of a step: what it needs, for executors, and its own, which go before."""
    if not step.needs:
        return dict(step.tags)
    config = {"container_config": {"resources": _resources(step.needs)}}
    needed = {NEEDS_TAG: json.dumps(asdict(step.needs)), _K8S_TAG: json.dumps(config)}
    return {**needed, **step.tags}


def needs_of(tags: Mapping[str, str] | None) -> Needs:
    """What a step with such tags needs."""
    return Needs(**json.loads((tags or {}).get(NEEDS_TAG, "{}")))


def _resources(needs: Needs) -> dict[str, Any]:
    """What Kubernetes reserves for a step, and what it may not exceed.

    A step may use cores that nobody else wants; of memory there is no more than it has asked for.
    """
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if needs.cpu is not None:
        requests["cpu"] = f"{needs.cpu:g}"
    if needs.memory is not None:
        requests["memory"] = limits["memory"] = str(needs.memory)
    if needs.gpu:
        limits[_GPU] = str(needs.gpu)
    return {"requests": requests, "limits": limits}
