"""What a job of continuous integration says of itself, in its environment."""

from __future__ import annotations

from collections.abc import Mapping

# https://docs.github.com/en/actions/reference/workflows-and-actions/variables
_GITHUB = {
    "commit": "GITHUB_SHA",
    "ref": "GITHUB_REF_NAME",
    "actor": "GITHUB_ACTOR",
    "job": "GITHUB_JOB",
    "run_id": "GITHUB_RUN_ID",
}
# https://docs.gitlab.com/ci/variables/predefined_variables/
_GITLAB = {
    "commit": "CI_COMMIT_SHA",
    "ref": "CI_COMMIT_REF_NAME",
    "actor": "GITLAB_USER_LOGIN",
    "job": "CI_JOB_NAME",
    "run_id": "CI_PIPELINE_ID",
    "run_url": "CI_PIPELINE_URL",
}


def ci_facts(environment: Mapping[str, str]) -> dict[str, str]:
    """System, commit, ref, actor, job, run and its address; nothing outside of such a job."""
    if environment.get("GITHUB_ACTIONS") == "true":
        where = [environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY")]
        run_id = environment.get("GITHUB_RUN_ID", "")
        url = "/".join([*where, "actions", "runs", run_id]) if all([*where, run_id]) else ""
        return {
            "system": "github",
            **_known(environment, _GITHUB),
            **({"run_url": url} if url else {}),
        }
    if environment.get("GITLAB_CI") == "true":
        return {"system": "gitlab", **_known(environment, _GITLAB)}
    return {}


def _known(environment: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {fact: environment[name] for fact, name in names.items() if environment.get(name)}
