"""Each step in a pod of its own, by Dagster's executor for Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from dagster import Executor, InitExecutorContext
from dagster._config import process_config

from dsml.contract.problem import Problem, ProjectError, Where


def k8s_executor(
    init: InitExecutorContext, config: Mapping[str, Any], workers: int | None
) -> Executor:
    """Dagster's executor with ``config``, which is what its own run configuration holds.

    What is left out it takes from the launcher of runs: namespace, image, service account, the
    names of secrets.

    Raises:
        ProjectError: this is no cluster, or the configuration is not one that it takes.
    """
    from dagster_k8s import K8sRunLauncher, k8s_job_executor

    if not isinstance(init.instance.run_launcher, K8sRunLauncher):
        what = "this Dagster starts its runs on this machine, and not in a cluster"
        fix = "start the run where its launcher is K8sRunLauncher, or choose another executor"
        raise ProjectError([Problem(Where("executor: k8s"), what, fix, "no-cluster")])
    given = {**config, **({} if workers is None else {"max_concurrent": workers})}
    known = process_config(k8s_job_executor.config_schema.config_type, given)
    if not known.success or known.value is None:
        what = "; ".join(error.message for error in known.errors or [])
        fix = "look up what it takes: https://docs.dagster.io/api/libraries/dagster-k8s"
        where = Where("run configuration, execution.config.k8s")
        raise ProjectError([Problem(where, what, fix, "wrong-type")])
    make = cast("Callable[[InitExecutorContext], Executor]", k8s_job_executor.executor_creation_fn)
    return make(InitExecutorContext(init.job, k8s_job_executor, known.value, init.instance))
